"""From a logical plan to tasks: where chains begin and end, how many subtasks there are, and who feeds whom.

A chain begins at a source, at a union, at a windowed aggregate and at a sink; everything between is called directly.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_connectors import SinkContext
from krishiv_stream._engine.inbox import Inbox
from krishiv_stream._engine.key_hash import key_group_owners, key_group_range, key_groups
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.operators.exchange import Forward, HashExchange
from krishiv_stream._engine.operators.sink import SinkWriter
from krishiv_stream._engine.operators.stateless import MapBatches, MapRows, Steps
from krishiv_stream._engine.operators.window import WindowOperator
from krishiv_stream._engine.sources.assigner import SplitAssigner
from krishiv_stream._engine.sources.bad_rows import BadRows
from krishiv_stream._engine.sources.limiter import RateLimiter
from krishiv_stream._engine.sources.open_split import SplitClock
from krishiv_stream._engine.sources.source_time import SourceTime
from krishiv_stream._engine.sources.task import SourceHead, SourceOptions, SourceTask
from krishiv_stream._engine.state.blocks import MemoryBlocks, RocksBlocks
from krishiv_stream._engine.state.panes import Panes
from krishiv_stream._engine.task import Task
from krishiv_stream._expressions.compiled import compile_aggregation, compile_steps
from krishiv_stream._plan.nodes import (
    FilterNode,
    MapBatchesNode,
    MapRowsNode,
    Node,
    ProjectNode,
    SideOutputNode,
    SinkNode,
    SourceNode,
    UnionNode,
    WindowNode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from krishiv_checkpoint import CheckpointStore, OperatorSnapshot
    from krishiv_stream._engine.control import Control
    from krishiv_stream._engine.metrics import JobMetrics
    from krishiv_stream._engine.operators.exchange import Target
    from krishiv_stream._engine.snapshots import SnapshotWriter
    from krishiv_stream._engine.state.blocks import BlockStore

__all__ = ["Graph", "GraphSettings", "JobIdentity", "build"]


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """How a plan is spread over tasks.

    Parameters
    ----------
    memory_budget : int
        Bytes of window rows that stay in memory, over all subtasks; only RocksDB state goes beyond.
    state_directory : Path or None
        Where RocksDB keeps what exceeds it; None: everything stays in memory.
    channel_bytes : int
        Bytes after which a channel between two tasks is full.
    """

    parallelism: int
    max_key_groups: int
    batch_rows: int
    linger: float
    memory_budget: int
    state_directory: Path | None
    channel_bytes: int = 16 << 20


@dataclass(frozen=True, kw_only=True)
class JobIdentity:
    """Who the attempt is: what sinks and snapshots are named by."""

    job: str
    lineage: str
    token: int
    committed_through: Mapping[str, Mapping[str, int]]


@dataclass
class Graph:
    """The tasks of one attempt."""

    tasks: list[Task] = field(default_factory=list)
    sources: list[SourceTask] = field(default_factory=list)
    inboxes: dict[str, Inbox] = field(default_factory=dict)
    stores: list[BlockStore] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The ids of all tasks: those that acknowledge each epoch."""
        return [task.id for task in (*self.sources, *self.tasks)]

    def close(self) -> None:
        """Let go of all state, also of tasks that never ran. Idempotent."""
        for blocks in self.stores:
            blocks.close()


Ends = list[list[Operator]]
"""Per subtask, the list of outputs that what comes next is added to."""


def build(
    nodes: Sequence[Node],
    ids: Mapping[Node, str],
    columns: Mapping[Node, tuple[str, ...]],
    *,
    settings: GraphSettings,
    identity: JobIdentity,
    snapshots: Sequence[OperatorSnapshot],
    store: CheckpointStore,
    control: Control,
    writer: SnapshotWriter,
    metrics: JobMetrics,
) -> Graph:
    """Make the tasks of a plan, restored from `snapshots`.

    Parameters
    ----------
    nodes : sequence of Node
        Every node of the plan, inputs before what they feed.
    ids : mapping
        The stable operator id of each node.
    columns : mapping
        For each source, the columns that the plan uses.
    """
    builder = _Builder(ids, columns, settings, identity, snapshots, store, control, writer, metrics)
    builder.count_consumers(nodes)
    try:
        for node in nodes:
            builder.add(node)
    except BaseException:  # damaged state, a source that is not there: no task will ever close what is open already
        builder.graph.close()
        raise
    return builder.graph


class _Builder:
    def __init__(
        self,
        ids: Mapping[Node, str],
        columns: Mapping[Node, tuple[str, ...]],
        settings: GraphSettings,
        identity: JobIdentity,
        snapshots: Sequence[OperatorSnapshot],
        store: CheckpointStore,
        control: Control,
        writer: SnapshotWriter,
        metrics: JobMetrics,
    ) -> None:
        self.graph = Graph()
        self._ids = ids
        self._columns = columns
        self._settings = settings
        self._identity = identity
        self._snapshots = snapshots
        self._store = store
        self._control = control
        self._writer = writer
        self._metrics = metrics
        self._ends: dict[Node, Ends] = {}
        self._consumers: dict[Node, list[Node]] = {}
        self._side: dict[Node, Ends] = {}
        self._windows = 1

    def count_consumers(self, nodes: Sequence[Node]) -> None:
        """Note who consumes each node, and how many share the memory budget."""
        for node in nodes:
            for upstream in node.inputs:
                self._consumers.setdefault(upstream, []).append(node)
        keyed = sum(self._settings.parallelism if node.keys else 1 for node in nodes if isinstance(node, WindowNode))
        self._windows = max(1, keyed)

    def add(self, node: Node) -> None:
        """Add `node`'s operators, after those of its inputs."""
        match node:
            case SourceNode():
                self._add_source(node)
            case FilterNode() | ProjectNode():
                self._add_step(node)
            case MapBatchesNode():
                self._chain(node, lambda: MapBatches(node.function, node.schema))
            case MapRowsNode():
                self._chain(node, lambda: MapRows(node.function, node.schema, flat=node.flat))
            case UnionNode():
                self._add_union(node)
            case WindowNode():
                self._add_window(node)
            case SideOutputNode():
                self._ends[node] = self._side[node.inputs[0]]
            case SinkNode():
                self._add_sink(node)
            case _:
                raise TypeError(f"the engine does not know {type(node).__name__}")

    # --- chained operators

    def _chain(self, node: Node, make: Callable[[], Operator]) -> None:
        ends: Ends = []
        for outputs in self._ends[node.inputs[0]]:
            operator = make()
            outputs.append(operator)
            ends.append(operator.outputs)
        self._ends[node] = ends

    def _add_step(self, node: FilterNode | ProjectNode) -> None:
        consumers = self._consumers.get(node, [])
        if len(consumers) == 1 and isinstance(consumers[0], FilterNode | ProjectNode):
            return  # the last step of a run is compiled for all of them
        run: list[FilterNode | ProjectNode] = [node]
        while isinstance(run[0].inputs[0], FilterNode | ProjectNode) and run[0].inputs[0] not in self._ends:
            run.insert(0, run[0].inputs[0])
        upstream = run[0].inputs[0]
        schema = self._schema_of(upstream)
        ends: Ends = []
        for outputs in self._ends[upstream]:
            operator = Steps(compile_steps(run, schema))
            outputs.append(operator)
            ends.append(operator.outputs)
        self._ends[node] = ends

    def _schema_of(self, node: Node) -> pa.Schema:
        """Return the schema of the batches that `node` gives: a source gives only the columns in use."""
        if isinstance(node, SourceNode):
            return pa.schema([node.schema.field(name) for name in self._columns[node]])
        return node.schema

    # --- sources

    def _add_source(self, node: SourceNode) -> None:
        id = self._ids[node]
        timed = node.event_time if node.watermark is not None else None
        assigner = SplitAssigner(node.source, timed, self._settings.parallelism)
        finished = assigner.restore([s for s in self._snapshots if s.operator == id])
        if assigner.drained:
            self._control.draining.set()
        time = SourceTime(self._settings.parallelism, assigner.restored_time)
        limiter = None if node.max_rate is None else RateLimiter(node.max_rate)
        heads = [SourceHead() for _ in range(self._settings.parallelism)]
        for subtask, head in enumerate(heads):
            done = finished if subtask == 0 else frozenset[str]()
            self.graph.sources.append(self._source_task(node, id, subtask, head, assigner, time, limiter, done))
        self._ends[node] = [head.outputs for head in heads]
        self._side[node] = [head.letters for head in heads]

    def _source_task(
        self,
        node: SourceNode,
        id: str,
        subtask: int,
        head: SourceHead,
        assigner: SplitAssigner,
        time: SourceTime,
        limiter: RateLimiter | None,
        finished: frozenset[str],
    ) -> SourceTask:
        counters = self._metrics.operator(id, subtask)
        unit = None if node.event_time is None else node.schema.field(node.event_time).type.unit
        send = head.send_letters if not isinstance(node.on_bad_row, str) else None
        return SourceTask(
            f"{id}#{subtask}",
            head,
            self._control,
            self._writer,
            self._metrics.task(f"{id}#{subtask}"),
            source=node.source,
            assigner=assigner,
            clock=SplitClock(node.watermark, node.event_time, unit),
            time=time,
            options=SourceOptions(
                operator_id=id,
                subtask=subtask,
                columns=self._columns[node],
                schema=node.schema,
                batch_rows=self._settings.batch_rows,
                linger=self._settings.linger,
            ),
            counters=counters,
            bad_rows=BadRows(id, counters, fail=node.on_bad_row == "fail", letters=send),
            limiter=limiter,
            finished=finished,
        )

    # --- stages

    def _stage(self, id: str, subtask: int, senders: int) -> Inbox:
        inbox = Inbox(senders, self._settings.channel_bytes)
        self.graph.inboxes[f"{id}#{subtask}"] = inbox
        return inbox

    def _task(
        self, id: str, subtask: int, head: Operator, inbox: Inbox, channels: int, watermark: int | None = None
    ) -> None:
        name = f"{id}#{subtask}"
        metrics = self._metrics.task(name)
        task = Task(
            name,
            head,
            self._control,
            self._writer,
            metrics,
            inbox=inbox,
            channels=channels,
            restored_watermark=watermark,
        )
        self.graph.tasks.append(task)

    def _add_union(self, node: UnionNode) -> None:
        id = self._ids[node]
        senders = [outputs for upstream in node.inputs for outputs in self._ends[upstream]]
        width = min(self._settings.parallelism, len(senders))
        channels = [senders[subtask::width] for subtask in range(width)]
        ends: Ends = []
        for subtask, outputs_of in enumerate(channels):
            inbox = self._stage(id, subtask, len(outputs_of))
            for channel, outputs in enumerate(outputs_of):
                outputs.append(Forward((inbox, channel)))
            head = Operator()
            self._task(id, subtask, head, inbox, len(outputs_of))
            ends.append(head.outputs)
        self._ends[node] = ends

    def _add_window(self, node: WindowNode) -> None:
        id = self._ids[node]
        width = self._settings.parallelism if node.keys else 1
        senders = self._ends[node.inputs[0]]
        inboxes = [self._stage(id, subtask, len(senders)) for subtask in range(width)]
        schema = self._schema_of(node.inputs[0])
        for channel, outputs in enumerate(senders):
            targets: list[Target] = [(inbox, channel) for inbox in inboxes]
            outputs.append(self._exchange(node, targets, schema))
        operators = [self._window(node, id, subtask, width, schema) for subtask in range(width)]
        for subtask, operator in enumerate(operators):
            self._task(id, subtask, operator, inboxes[subtask], len(senders), operator.restored_watermark)
        self._ends[node] = [operator.outputs for operator in operators]
        self._side[node] = [operator.late for operator in operators]

    def _exchange(self, node: WindowNode, targets: list[Target], schema: pa.Schema) -> Operator:
        if len(targets) == 1:
            return Forward(targets[0])
        owners = key_group_owners(len(targets), self._settings.max_key_groups)
        return HashExchange(targets, self._group_rows(node, schema), owners)

    def _group_rows(self, node: WindowNode, schema: pa.Schema) -> Callable[[pa.RecordBatch], NDArray[np.int64]]:
        groups = self._settings.max_key_groups
        keys = ProjectNode(schema=pa.schema(list(node.schema)[: len(node.keys)]), columns=node.keys)
        compiled = compile_steps([keys], schema)

        def group_rows(batch: pa.RecordBatch) -> NDArray[np.int64]:
            parts = compiled.apply(batch)
            keyed = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
            return key_groups(keyed.columns, groups)

        return group_rows

    def _window(self, node: WindowNode, id: str, subtask: int, width: int, schema: pa.Schema) -> WindowOperator:
        groups = self._settings.max_key_groups
        aggregation = compile_aggregation(node.keys, node.aggregates, schema, node.input_event_time)
        operator = WindowOperator(
            node,
            operator_id=id,
            subtask=subtask,
            key_groups=key_group_range(subtask, width, groups),
            panes=Panes(self._blocks(id, subtask)),
            aggregation=aggregation,
            metrics=self._metrics.operator(id, subtask),
            batch_rows=self._settings.batch_rows,
        )
        kept = pa.schema([schema.field(name) for name in aggregation.required_columns])
        group_rows = self._group_rows(node, kept) if node.keys else None
        operator.restore([s for s in self._snapshots if s.operator == id], self._store, group_rows)
        return operator

    def _blocks(self, id: str, subtask: int) -> BlockStore:
        directory, budget = self._settings.state_directory, self._settings.memory_budget // self._windows
        blocks = MemoryBlocks() if directory is None else RocksBlocks(directory / f"{id}-{subtask}", budget)
        self.graph.stores.append(blocks)
        return blocks

    def _add_sink(self, node: SinkNode) -> None:
        id = self._ids[node]
        upstream = node.inputs[0]
        committed = self._identity.committed_through.get(id, {})
        for slot, outputs in enumerate(self._ends[upstream]):
            inbox = self._stage(id, slot, 1)
            outputs.append(Forward((inbox, 0)))
            context = self._sink_context(id, slot, node.schema)
            writer = SinkWriter(
                copy.copy(node.sink), context, committed.get(str(slot), 0), self._metrics.operator(id, slot)
            )
            self._task(id, slot, writer, inbox, 1)

    def _sink_context(self, id: str, slot: int, schema: pa.Schema) -> SinkContext:
        identity = self._identity
        return SinkContext(
            job=identity.job,
            lineage=identity.lineage,
            sink_id=id,
            slot=slot,
            token=identity.token,
            schema=schema,
            store=self._store,
        )
