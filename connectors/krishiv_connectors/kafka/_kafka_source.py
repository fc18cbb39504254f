"""Topics as a source: exact offsets, partitions assigned by the job, group offsets only for others to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from krishiv_connectors._source import Reader, Source, Split
from krishiv_connectors.codecs import format_of
from krishiv_connectors.kafka._client import CLIENT_LIBRARY, Clients
from krishiv_connectors.kafka._errors import SchemaDrift
from krishiv_connectors.kafka._fetching import Fetcher
from krishiv_connectors.kafka._records import Records, metadata_fields
from krishiv_connectors.kafka._sampling import infer_schema
from krishiv_connectors.kafka._starts import beginnings, check_start, start_offsets
from krishiv_connectors.kafka._topic_ids import check_topic_id
from krishiv_connectors.kafka._topics import describe_topics, list_offsets
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_connectors._source import SourceContext
    from krishiv_connectors.codecs import Decoder, Format
    from krishiv_connectors.kafka._fetching import PartitionQueue
    from krishiv_connectors.kafka._starts import Start
    from krishiv_connectors.kafka._topics import Partition, Topic

__all__ = ["KafkaSource"]

Isolation = Literal["read_committed", "read_uncommitted"]


class KafkaSource(Source[int]):
    """Records of one or several topics.

    A split is a partition, a position the offset of its next record. The job assigns partitions to its subtasks
    itself; no consumer group is joined. New partitions are found while it runs and read from their beginning.

    Parameters
    ----------
    brokers : str or sequence of str
        ``host:port``, one or several.
    topics : str or sequence of str
        What is read.
    format : str or Format
        How values are decoded: ``"json"``, ``"raw"``, ``"string"``, ``"csv"`` or a format with options.
    schema : pa.Schema, optional
        Columns of the value. None, for JSON: inferred from the first records, once; a job that is restored when they
        would give another schema is refused with `SchemaDrift`.
    start : "earliest", "latest", "group", datetime or mapping
        Where a job begins that has no checkpoint: at the oldest record, behind the newest, where `group` has come to,
        at the first record since a moment, or at offsets by partition (or by topic and partition).
    until : None or "latest"
        ``"latest"``: the source is bounded, and ends where the partitions ended when the job first started.
    group : str, optional
        Consumer group under whose name positions are published after their epoch is committed, for other tools to see.
    metadata : bool or sequence of str
        Columns beside the value's: ``key`` (as column ``_key``, binary), ``topic``, ``partition``, ``offset``,
        ``timestamp`` (ms, UTC; use ``event_time="_timestamp"``), ``headers``. True: all.
    isolation : "read_committed" or "read_uncommitted"
        Whether records of open and aborted transactions are seen.
    discovery_interval : float
        Seconds between two looks for new partitions.
    client : mapping
        librdkafka's client properties: security, timeouts, fetch sizes. Passwords may be `Secret`.

    Raises
    ------
    ConfigurationError, BadClientProperty
        If the arguments do not fit together.
    """

    client_libraries = (CLIENT_LIBRARY,)

    def __init__(
        self,
        brokers: str | Sequence[str],
        topics: str | Sequence[str],
        *,
        format: str | Format = "json",
        schema: pa.Schema | None = None,
        start: Start = "earliest",
        until: Literal["latest"] | None = None,
        group: str | None = None,
        metadata: bool | Sequence[str] = False,
        isolation: Isolation = "read_committed",
        discovery_interval: float = 10.0,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self._clients = Clients(brokers, client)
        self.topics = _names(topics)
        self._format = format_of(format).for_subject(f"{self.topics[0]}-value")
        self._inferred = schema is None and format == "json"
        self._given = schema
        self._start, self._until, self._group = start, until, group
        self._metadata = metadata
        self._isolation = isolation
        self.discovery_interval = discovery_interval
        self._decoder: Decoder | None = None
        self._check()

    def _check(self) -> None:
        if self._until not in (None, "latest"):
            raise ConfigurationError(f"until={self._until!r}", hint='None: it never ends; "latest": bounded')
        if self._isolation not in ("read_committed", "read_uncommitted"):
            raise ConfigurationError(f"isolation={self._isolation!r}", hint='"read_committed" or "read_uncommitted"')
        check_start(self._start, self.topics, self._group)
        if not self._inferred:
            self.schema()

    # ---------------------------------------------------------------- what the engine asks

    def schema(self) -> pa.Schema:
        """Return the columns of the value, then those of the metadata."""
        columns = self._decoding().columns()
        return pa.schema([*columns, *metadata_fields(self._metadata, columns)])

    def splits(self) -> Sequence[Split]:
        """Return a split for each partition, with where it begins and, if bounded, ends."""
        topics = describe_topics(self._clients, self.topics)
        partitions = _partitions(topics)
        starts = start_offsets(self._clients, self._start, partitions, group=self._group, committed=self._committed)
        return self._splits_of(topics, starts)

    def later_splits(self) -> Sequence[Split]:
        """Return a split for each partition, as it is to be read if it is new: from its beginning."""
        topics = describe_topics(self._clients, self.topics)
        return self._splits_of(topics, beginnings(self._clients, _partitions(topics)))

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        """Begin to fetch a partition.

        Raises
        ------
        TopicRecreated
            If the topic is another one than when the split was found.
        SchemaDrift
            If the schema was inferred, and is another one now.
        OffsetGone
            By the reader, if the records at `position` have been deleted.
        """
        topic, number = split.payload["topic"], split.payload["partition"]
        columns = self.schema().names if ctx.columns is None else ctx.columns
        fetcher = self._fetcher(ctx, columns)
        check_topic_id(topic, split.payload["id"], fetcher.topics[topic].id)
        self._check_drift(topic, split.payload["schema"])
        at = split.start if position is None else position
        records = Records(self._decoding(), columns, ctx.bad_rows)
        queue = fetcher.add((topic, number), at)
        return _PartitionReader(queue, records, at, split.payload["end"], ctx.batch_rows)

    def committed(self, positions: Mapping[str, int], ctx: SourceContext) -> None:
        """Commit `positions` to the group."""
        fetcher = ctx.shared.get("kafka")
        if self._group is None or not isinstance(fetcher, Fetcher):
            return
        places = {_partition_of(split): offset for split, offset in positions.items() if offset >= 0}
        if places:
            fetcher.publish(places)

    def capabilities(self) -> SourceCapabilities:
        """Replayable from exact offsets, each partition in its order."""
        return SourceCapabilities(
            bounded=self._until is not None,
            replayable=True,
            exact_positions=True,
            ordered_replay=True,
            discovers_splits=self._until is None,
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Whether it ends, and which records it sees. A format decides what a row is, not how often it comes."""
        return {"bounded": self._until is not None, "isolation": self._isolation}

    # ---------------------------------------------------------------- inside

    @property
    def _committed(self) -> bool:
        return self._isolation == "read_committed"

    def _decoding(self) -> Decoder:
        if self._decoder is None:
            schema = infer_schema(self._clients, self.topics) if self._inferred else self._given
            self._decoder = self._format.decoder(schema)
        return self._decoder

    def _splits_of(self, topics: Mapping[str, Topic], starts: Mapping[Partition, int]) -> list[Split]:
        ends: Mapping[Partition, int] = {}
        if self._until is not None:
            ends = list_offsets(self._clients, starts, lambda spec: spec.latest(), committed=self._committed)
        return [self._split(topics, each, starts[each], ends.get(each)) for each in _partitions(topics)]

    def _split(self, topics: Mapping[str, Topic], partition: Partition, start: int, end: int | None) -> Split:
        topic, number = partition
        payload = {
            "topic": topic,
            "partition": number,
            "id": topics[topic].id,
            "end": end,
            "schema": str(self._decoding().columns()) if self._inferred else None,
        }
        return Split(f"{topic}-{number}", payload, start)

    def _fetcher(self, ctx: SourceContext, columns: Sequence[str]) -> Fetcher:
        fetcher = ctx.shared.get("kafka")
        if not isinstance(fetcher, Fetcher):
            topics = describe_topics(self._clients, self.topics)
            fetcher = Fetcher(
                self._clients,
                topics,
                group=self._group,
                committed=self._committed,
                metadata=columns,
                gauge=ctx.gauge,
            )
            ctx.shared["kafka"] = fetcher
        return fetcher

    def _check_drift(self, topic: str, pinned: str | None) -> None:
        if pinned is not None and self._inferred and pinned != str(self._decoding().columns()):
            raise SchemaDrift(
                f"the schema inferred from topic {topic!r} is not the one that the job began with",
                hint=f"give the schema: schema=pa.schema(...) with these columns:\n{pinned}",
                topic=topic,
            )


class _PartitionReader(Reader[int]):
    """Reads one partition, up to `end` if it has one."""

    def __init__(self, queue: PartitionQueue, records: Records, position: int, end: int | None, most: int) -> None:
        self._queue = queue
        self._records = records
        self._position = position
        self._end = end
        self._most = most
        self._finished = end == 0 or (end is not None and position >= end)

    def read(self) -> pa.RecordBatch | None:
        """Return the next records."""
        if self._finished:
            return None
        fetched = self._queue.take(self._most)
        if fetched is None:
            if self._queue.end is not None:
                self._pass_to(self._queue.end)
            return None
        last, end = fetched.offsets[-1], self._end
        wanted = fetched if end is None or last < end else fetched.cut(end)
        batch = None if wanted is None else self._records.batch(wanted)
        self._pass_to(last + 1)
        return batch

    def position(self) -> int:
        """Return the offset of the next record, in the topic that the job began with.

        Raises
        ------
        TopicRecreated, TopicMissing
        """
        self._queue.confirm()
        return self._position

    @property
    def finished(self) -> bool:
        """Whether the end of a bounded partition has been reached."""
        return self._finished

    def close(self) -> None:
        """Stop fetching it."""
        self._queue.close()

    def _pass_to(self, offset: int) -> None:
        # Behind the last record there may be marks of transactions, which are no records but have offsets.
        self._position = max(self._position, offset)
        if self._end is not None and self._position >= self._end:
            self._position, self._finished = self._end, True


def _names(topics: str | Sequence[str]) -> tuple[str, ...]:
    names = (topics,) if isinstance(topics, str) else tuple(topics)
    if not names:
        raise ConfigurationError("a Kafka source without topics", hint="name one or several")
    return names


def _partitions(topics: Mapping[str, Topic]) -> list[Partition]:
    return [(topic.name, number) for topic in topics.values() for number in topic.partitions]


def _partition_of(split: str) -> Partition:
    topic, _, number = split.rpartition("-")
    return topic, int(number)
