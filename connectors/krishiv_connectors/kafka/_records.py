"""Messages to rows: their values decoded, and beside them what Kafka keeps of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors.kafka._errors import BadKafkaRecord
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from krishiv_connectors.codecs import BadValue, Decoder
    from krishiv_connectors.kafka._fetched import Fetched
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
    """Turns the records of one partition into batches.

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

    def batch(self, fetched: Fetched) -> pa.RecordBatch | None:
        """Return the rows of `fetched`; None if there are none."""
        decoded = self._decoder.decode(fetched.values, self._decoded)
        good: Fetched | None = fetched
        if decoded.bad:
            self._report(fetched, decoded.bad)
            good = fetched.without({each.index for each in decoded.bad})
        if good is None:
            return None
        if not self._metadata and self._values == self._decoded:
            return decoded.batch
        columns = [decoded.batch.column(name) for name in self._values]
        columns += [_MAKE[name](good) for name in self._metadata]
        fields = [decoded.batch.schema.field(name) for name in self._values]
        return pa.RecordBatch.from_arrays(
            columns, schema=pa.schema([*fields, *(METADATA.field(name) for name in self._metadata)])
        )

    def _report(self, fetched: Fetched, bad: Iterable[BadValue]) -> None:
        topic, partition = fetched.partition
        for each in bad:
            offset = fetched.offsets[each.index]
            error = BadKafkaRecord(
                f"topic {topic!r}, partition {partition}, offset {offset}: {each.error}",
                hint='mend what writes it; or pass over such records with on_bad_row="drop" or a sink for them',
                place=f"{topic}/{partition}@{offset}",
                topic=topic,
                partition=partition,
                offset=offset,
                raw=fetched.values[each.index],
            )
            if self._bad is None:
                raise error
            self._bad(error)


def _column(name: str, parts: Iterable[Any]) -> pa.Array:
    return pa.array(parts, METADATA.field(name).type)


def _timestamps(fetched: Fetched) -> pa.Array:
    known = [time if kind != _NO_TIMESTAMP else None for kind, time in fetched.metadata["_timestamp"]]
    return pa.array(known, pa.int64()).cast(METADATA.field("_timestamp").type)


_MAKE: dict[str, Callable[[Fetched], pa.Array]] = {
    "_key": lambda fetched: _column("_key", fetched.metadata["_key"]),
    "_topic": lambda fetched: pa.repeat(fetched.partition[0], len(fetched)),
    "_partition": lambda fetched: pa.repeat(pa.scalar(fetched.partition[1], pa.int32()), len(fetched)),
    "_offset": lambda fetched: _column("_offset", fetched.offsets),
    "_timestamp": _timestamps,
    "_headers": lambda fetched: _column("_headers", [each or [] for each in fetched.metadata["_headers"]]),
}
