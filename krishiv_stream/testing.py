"""Testing pipelines: feed rows, move time, crash at a named step, restart, and compare with a run that never crashed.

::

    with ks.testing.run(pipeline) as test:
        test.feed([{"auction": 1, "price": 5, "date_time": at(1)}])
        test.crash_at("after_prepare")
        test.feed([{"auction": 1, "price": 7, "date_time": at(2)}])
        test.checkpoint()                # crashes on the way
        test.restart()
        test.expect_exactly_once()

The pipeline's sources are replaced by ones that give what was fed, its sinks by transactional ones in memory; the
rest is the pipeline itself, on the real engine, with the real checkpoint protocol.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow as pa

from krishiv_checkpoint import FailpointError, MemoryStore, arm, disarm
from krishiv_connectors import MemorySink, Reader, Source, Split
from krishiv_guarantees import ConfigurationError, KrishivError, SourceCapabilities
from krishiv_stream._plan.identity import operator_ids
from krishiv_stream._plan.nodes import SinkNode, SourceNode
from krishiv_stream._plan.pipeline import Pipeline
from krishiv_stream._session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from krishiv_connectors import SourceContext
    from krishiv_stream._job import JobHandle
    from krishiv_stream._plan.nodes import Node

__all__ = ["STEPS", "PipelineTest", "run"]

STEPS: Mapping[str, str] = {
    "before_prepare": "prepare.before",
    "after_prepare": "prepare.after",
    "before_ack": "ack.before",
    "after_ack": "ack.after",
    "before_manifest": "manifest.before",
    "after_manifest": "manifest.after",
    "before_commit": "commit.before",
    "after_commit": "commit.after",
}
"""Where `PipelineTest.crash_at` can crash."""

_PATIENCE = 30.0


def run(pipeline: Pipeline, *, parallelism: int = 1, **settings: Any) -> PipelineTest:
    """Return a test of `pipeline`; use it as a context manager.

    Parameters
    ----------
    parallelism : int
        Subtasks per operator.
    **settings
        Further settings of the session.
    """
    return PipelineTest(pipeline, parallelism=parallelism, **settings)


class PipelineTest:
    """A pipeline under test. Every method returns once what it asks for has happened."""

    def __init__(self, pipeline: Pipeline, **settings: Any) -> None:
        self._pipeline = pipeline
        self._settings = settings
        ids = operator_ids(pipeline)
        self._feeds = {ids[node]: _Feed(node.schema) for node in pipeline.sources}
        self._job = _Job(pipeline, self._feeds, settings)

    def feed(self, rows: Iterable[Mapping[str, object]] | pa.Table, source: str | None = None) -> Self:
        """Give `rows` to a source; with one source in the pipeline its name may be left out."""
        self._feed_of(source).append_rows(rows)
        return self

    def advance_watermark(self, time: datetime, source: str | None = None) -> Self:
        """Tell that no row before `time` (UTC) will come any more."""
        self._feed_of(source).append_watermark(round(time.timestamp() * 1_000_000))
        return self

    def checkpoint(self) -> Self:
        """Read everything fed so far and take a checkpoint; returns when it is complete, or when the job crashed."""
        self._job.checkpoint()
        return self

    def crash_at(self, step: str) -> Self:
        """Crash at the next pass of `step`, one of `STEPS`: the job's threads end, what is in memory is gone."""
        if step not in STEPS:
            raise ConfigurationError(f"there is no step {step!r} to crash at", hint=f"one of {', '.join(STEPS)}")
        arm(STEPS[step], "raise")
        return self

    def restart(self) -> Self:
        """Start again from the last checkpoint, as a new process would."""
        disarm()
        self._job.restart()
        return self

    def finish(self) -> Self:
        """End every source and wait until everything is committed."""
        disarm()
        self._job.finish()
        return self

    def output(self, sink: str | None = None) -> pa.Table:
        """Return what a sink has committed so far."""
        return self._job.output(sink)

    def expect_exactly_once(self) -> None:
        """Finish, and raise `AssertionError` unless every sink holds what a run without crashes gives."""
        self.finish()
        reference = _Job(self._pipeline, self._feeds, self._settings)
        try:
            reference.finish()
            for name in self._job.sinks:
                _expect_equal(name, reference.output(name), self._job.output(name))
        finally:
            reference.close()

    def close(self) -> None:
        """End the job."""
        disarm()
        self._job.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _feed_of(self, source: str | None) -> _Feed:
        if source is None and len(self._feeds) == 1:
            return next(iter(self._feeds.values()))
        if source not in self._feeds:
            names = ", ".join(map(repr, self._feeds))
            raise ConfigurationError(f"there is no source {source!r} to feed", hint=f"name one of {names}")
        return self._feeds[source]


class _Feed:
    """What was fed to one source, in order: batches and watermarks."""

    def __init__(self, schema: pa.Schema) -> None:
        self.items: list[pa.RecordBatch | int] = []
        self.schema = schema

    def append_rows(self, rows: Iterable[Mapping[str, object]] | pa.Table) -> None:
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=self.schema)
        self.items.extend(table.cast(self.schema).to_batches())

    def append_watermark(self, time: int) -> None:
        self.items.append(time)


class _FeedSource(Source[int]):
    """Gives the items of a feed; ends once `ended` is set and all have been given."""

    def __init__(self, feed: _Feed) -> None:
        self.feed = feed
        self.ended = threading.Event()
        self.given = threading.Condition()
        self.position = 0

    def schema(self) -> pa.Schema:
        return self.feed.schema

    def splits(self) -> Sequence[Split]:
        return [Split("feed")]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        return _FeedReader(self, position or 0, ctx)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)

    def advance(self, position: int) -> None:
        with self.given:
            self.position = position
            self.given.notify_all()

    def wait_until_given(self, over: Callable[[], bool]) -> None:
        """Wait until everything fed so far has been given, or the job is over."""
        with self.given:
            while self.position < len(self.feed.items) and not over():
                self.given.wait(0.01)


class _FeedReader(Reader[int]):
    def __init__(self, source: _FeedSource, position: int, ctx: SourceContext) -> None:
        self._source = source
        self._next = position
        self._columns = source.schema().names if ctx.columns is None else list(ctx.columns)
        self._watermark: int | None = None
        source.advance(position)

    def read(self) -> pa.RecordBatch | None:
        items = self._source.feed.items
        self._source.advance(self._next)
        if self._next >= len(items):
            return None
        item = items[self._next]
        self._next += 1
        if isinstance(item, pa.RecordBatch):
            return item.select(self._columns)
        self._watermark = item
        return None

    def watermark(self) -> int | None:
        return self._watermark

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._source.ended.is_set() and self._next >= len(self._source.feed.items)


class _Job:
    """The pipeline with its ends replaced, as one job whose checkpoints outlive its crashes."""

    def __init__(self, pipeline: Pipeline, feeds: Mapping[str, _Feed], settings: Mapping[str, Any]) -> None:
        ids = operator_ids(pipeline)
        self._sources = {ids[node]: _FeedSource(feeds[ids[node]]) for node in pipeline.sources}
        self.sinks = {ids[node]: MemorySink() for node in pipeline.sinks}
        self._session = Session(
            profile="dev-local", checkpoint_interval=None, restart_attempts=0, linger=0, **cast("Any", dict(settings))
        )
        self._pipeline = _with_ends(pipeline, ids, self._sources, self.sinks)
        self._store = MemoryStore()
        self._tick = threading.Event()
        self._handle = self._start()

    def checkpoint(self) -> None:
        for source in self._sources.values():
            source.wait_until_given(lambda: self._handle.done)
        if self._handle.done:
            return
        with contextlib.suppress(FailpointError, KrishivError):
            epoch = self._handle.checkpoint()
            while not self._handle.done and self._handle.status().epoch_committed < epoch:
                self._tick.wait(0.002)

    def restart(self) -> None:
        if not self._handle.done:
            self._handle.cancel()
        self._handle = self._start()

    def finish(self) -> None:
        for source in self._sources.values():
            source.ended.set()
        if self._handle.done:
            self.restart()
        self._handle.wait(_PATIENCE)

    def output(self, sink: str | None) -> pa.Table:
        if sink is None and len(self.sinks) == 1:
            return next(iter(self.sinks.values())).table()
        if sink not in self.sinks:
            raise ConfigurationError(f"there is no sink {sink!r}", hint=f"one of {', '.join(map(repr, self.sinks))}")
        return self.sinks[sink].table()

    def close(self) -> None:
        self._session.close()

    def _start(self) -> JobHandle:
        return self._session.start_in(self._store, self._pipeline, job="test")


def _with_ends(
    pipeline: Pipeline, ids: Mapping[Node, str], sources: Mapping[str, _FeedSource], sinks: Mapping[str, MemorySink]
) -> Pipeline:
    """Return the same plan with other sources and sinks, under the names it had."""
    made: dict[Node, Node] = {}
    for node in pipeline.nodes:
        inputs = tuple(made[upstream] for upstream in node.inputs)
        match node:
            case SourceNode():
                made[node] = replace(node, source=sources[ids[node]], name=ids[node], max_rate=None, on_bad_row="fail")
            case SinkNode():
                made[node] = replace(node, inputs=inputs, sink=sinks[ids[node]], name=ids[node])
            case _:
                made[node] = replace(node, inputs=inputs)
    return Pipeline([node for node in map(made.__getitem__, pipeline.sinks) if isinstance(node, SinkNode)])


def _expect_equal(name: str, expected: pa.Table, actual: pa.Table) -> None:
    wanted, found = (Counter(map(repr, table.to_pylist())) for table in (expected, actual))
    lost, extra = wanted - found, found - wanted
    if lost or extra:
        example = next(iter(lost or extra))
        raise AssertionError(
            f"sink {name!r}: {lost.total()} rows lost, {extra.total()} doubled or made up; for example {example}"
        )
