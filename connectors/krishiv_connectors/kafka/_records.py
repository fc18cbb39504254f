"""Messages to rows: their values decoded, and beside them what Kafka keeps of a record."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors.kafka._errors import BadKafkaRecord
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from krishiv_connectors.codecs import BadValue, Decoder
    from krishiv_guarantees import SkippableError

__all__ = ["METADATA", "Records", "metadata_fields"]

METADATA = pa.schema(
    [
        pa.field("_key", pa.binary()),
        pa.field("_topic", pa.string()),
        pa.field("_partition", pa.int32()),
        pa.field("_offset", pa.int64()),
        pa.field("_timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("_headers", pa.map_(pa.string(), pa.binary())),
    ]
)
"""What can be had of a record beside its value. A record without a timestamp has null there."""

_value = methodcaller("value")
_NO_TIMESTAMP = 0


def metadata_fields(wanted: bool | Sequence[str], columns: pa.Schema) -> list[pa.Field]:
    """Return the fields of the metadata `wanted`: True: all, or names with or without the underscore.

    Raises
    ------
    ConfigurationError
        If there is no such metadata, or a column of the value has its name.
    """
    names = METADATA.names if wanted is True else [name if name[:1] == "_" else f"_{name}" for name in wanted or ()]
    for name in names:
        if name not in METADATA.names:
            raise ConfigurationError(
                f"a record has no {name[1:]!r}", hint=f"metadata: {', '.join(each[1:] for each in METADATA.names)}"
            )
        if name in columns.names:
            raise ConfigurationError(
                f"column {name!r} of the value is in the way of the record's {name[1:]}",
                hint="leave that out of metadata=, or that column out of the schema",
            )
    return [METADATA.field(name) for name in names]


class Records:
    """Turns the messages of one partition into batches.

    Parameters
    ----------
    columns : collection of str
        The columns wanted, of the value and of the metadata.
    bad : callable or None
        Takes the records that cannot be decoded; None: they are raised.
    """

    def __init__(
        self, decoder: Decoder, columns: Collection[str], bad: Callable[[SkippableError], None] | None
    ) -> None:
        self._decoder = decoder
        self._values = [name for name in decoder.columns().names if name in columns]
        # Whether a value is a row must not depend on what is wanted of it.
        self._decoded = self._values or decoder.columns().names[:1]
        self._metadata = [name for name in METADATA.names if name in columns]
        self._bad = bad

    def batch(self, messages: list[Any]) -> pa.RecordBatch | None:
        """Return the rows of `messages`; None if there are none."""
        decoded = self._decoder.decode(list(map(_value, messages)), self._decoded)
        if decoded.bad:
            self._report(messages, decoded.bad)
            bad = {each.index for each in decoded.bad}
            messages = [message for index, message in enumerate(messages) if index not in bad]
        if not messages:
            return None
        if not self._metadata and self._values == self._decoded:
            return decoded.batch
        columns = [decoded.batch.column(name) for name in self._values]
        columns += [_MAKE[name](messages) for name in self._metadata]
        fields = [decoded.batch.schema.field(name) for name in self._values]
        return pa.RecordBatch.from_arrays(
            columns, schema=pa.schema([*fields, *(METADATA.field(name) for name in self._metadata)])
        )

    def _report(self, messages: Sequence[Any], bad: Iterable[BadValue]) -> None:
        for each in bad:
            message = messages[each.index]
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            error = BadKafkaRecord(
                f"topic {topic!r}, partition {partition}, offset {offset}: {each.error}",
                hint='mend what writes it; or pass over such records with on_bad_row="drop" or a sink for them',
                place=f"{topic}/{partition}@{offset}",
                topic=topic,
                partition=partition,
                offset=offset,
                raw=message.value(),
            )
            if self._bad is None:
                raise error
            self._bad(error)


def _timestamps(messages: Iterable[Any]) -> pa.Array:
    known = ((kind, time) for kind, time in (message.timestamp() for message in messages))
    return pa.array([time if kind != _NO_TIMESTAMP else None for kind, time in known], pa.int64()).cast(
        METADATA.field("_timestamp").type
    )


def _headers(messages: Iterable[Any]) -> pa.Array:
    return pa.array([message.headers() or [] for message in messages], METADATA.field("_headers").type)


_MAKE: dict[str, Callable[[list[Any]], pa.Array]] = {
    "_key": lambda messages: pa.array([m.key() for m in messages], pa.binary()),
    "_topic": lambda messages: pa.array([m.topic() for m in messages], pa.string()),
    "_partition": lambda messages: pa.array([m.partition() for m in messages], pa.int32()),
    "_offset": lambda messages: pa.array([m.offset() for m in messages], pa.int64()),
    "_timestamp": _timestamps,
    "_headers": _headers,
}
