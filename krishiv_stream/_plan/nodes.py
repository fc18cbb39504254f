"""The nodes of a logical plan: immutable, each knowing its inputs, its schema and its event-time column.

The DSL makes them (already checked: every expression has been planned against the schema of its input), `explain`
draws them, the engine turns them into tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa
    from datafusion import Expr

    from krishiv_connectors import Sink, Source
    from krishiv_stream._plan.aggregates import Aggregate
    from krishiv_stream._plan.watermarks import WatermarkStrategy
    from krishiv_stream._plan.windows import Window

__all__ = [
    "FilterNode",
    "MapBatchesNode",
    "MapRowsNode",
    "Node",
    "ProjectNode",
    "SideOutputNode",
    "SinkNode",
    "SourceNode",
    "UnionNode",
    "WindowNode",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A step of the plan.

    Parameters
    ----------
    inputs : tuple of Node
        What feeds it.
    schema : pa.Schema
        The columns it gives.
    event_time : str or None
        Which of them is the event time, if one is.
    name : str or None
        The user's `name=`; None if not given.
    location : str
        Where in the user's code it was written (``"pipeline.py:12"``), for error messages.
    """

    inputs: tuple[Node, ...] = ()
    schema: pa.Schema
    event_time: str | None = None
    name: str | None = None
    location: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceNode(Node):
    """Rows enter. `on_bad_row` is ``"fail"``, ``"drop"`` or a sink for dead letters; `max_rate` is rows per second."""

    source: Source[Any]
    watermark: WatermarkStrategy | None = None
    max_rate: float | None = None
    on_bad_row: str | Sink = "fail"


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterNode(Node):
    """Keeps the rows where `predicate` is true."""

    predicate: Expr


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectNode(Node):
    """Gives the columns `columns`, each an expression over the input, in order."""

    columns: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class MapBatchesNode(Node):
    """Calls a Python function per batch. It must return a batch (or table) of `schema`."""

    function: Callable[[pa.RecordBatch], pa.RecordBatch | pa.Table]
    deterministic: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class MapRowsNode(Node):
    """Calls a Python function per row: the slow path. With `flat` it gives any number of rows per row."""

    function: Callable[[dict[str, object]], Mapping[str, object] | Iterable[Mapping[str, object]]]
    flat: bool = False
    deterministic: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class UnionNode(Node):
    """All rows of all inputs; their schemas are equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowNode(Node):
    """Aggregates per key and window; its schema is keys, window_start, window_end, aggregates. `lateness` is in µs.

    Its event time is ``window_start``. With no keys it is one global window series.
    """

    keys: tuple[tuple[str, Expr], ...]
    window: Window
    aggregates: tuple[tuple[str, Aggregate], ...]
    lateness: int = 0
    input_event_time: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SideOutputNode(Node):
    """A side output of its input, by tag. ``"late"``: the rows that came too late, with the window's input schema."""

    tag: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SinkNode(Node):
    """Rows leave; `schema` is that of its input."""

    sink: Sink
    diagnostic: bool = field(default=False)
