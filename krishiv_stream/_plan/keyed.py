"""Streams grouped by key, and cut into windows: what lies between `key_by` or `window` and `aggregate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import pyarrow as pa

from krishiv_stream._durations import microseconds
from krishiv_stream._errors import (
    ChangelogInput,
    InvalidArgument,
    InvalidEventTime,
    InvalidWindow,
    NoEventTime,
)
from krishiv_stream._expressions.aggregation import compile_aggregation
from krishiv_stream._expressions.planning import plan_columns, plan_predicate, require_distinct
from krishiv_stream._location import user_location
from krishiv_stream._plan.aggregates import Aggregate
from krishiv_stream._plan.arguments import require_instance, require_name
from krishiv_stream._plan.nodes import Node, WindowNode
from krishiv_stream._plan.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from datafusion.expr import Expr

    from krishiv_stream._durations import Duration

__all__ = ["KeyedStream", "WindowedStream", "require_event_time_type"]

S = TypeVar("S")
"""The class of the stream that an aggregate gives; `Stream` puts itself here, which it imports these modules for."""

_TICK = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""Microseconds in a tick of each timestamp unit, at least one."""
_UTC = frozenset({None, "UTC", "Etc/UTC", "+00:00", "Z"})


@dataclass(frozen=True, eq=False)
class KeyedStream(Generic[S]):
    """A stream whose rows belong to keys. Null is a key like any other.

    Made by `Stream.key_by`.
    """

    _node: Node
    _keys: tuple[tuple[str, Expr], ...]
    _stream: Callable[[Node], S]

    def window(self, window: Window, *, allowed_lateness: Duration = 0) -> WindowedStream[S]:
        """Cut the rows of each key into windows of event time.

        Parameters
        ----------
        window : Window
            `tumble(...)` or `hop(...)`.
        allowed_lateness : duration
            How long after its end, in event time, a window waits for late rows before it gives its result.

        Raises
        ------
        NoEventTime
            If the stream has no event-time column.
        InvalidWindow
            If the window is finer than the unit of the event-time column.
        """
        require_instance(window, Window, "window", 'write ks.tumble("10s") or ks.hop("1m", every="10s")')
        lateness = microseconds(allowed_lateness)
        _require_event_time(self._node)
        _require_resolution(self._node, window, lateness)
        return WindowedStream(self._node, self._keys, window, lateness, self._stream)

    def __repr__(self) -> str:
        return f"KeyedStream({', '.join(name for name, _ in self._keys)})"


@dataclass(frozen=True, eq=False)
class WindowedStream(Generic[S]):
    """A stream cut into windows of event time, per key if it has keys.

    Made by `KeyedStream.window` and `Stream.window`.
    """

    _node: Node
    _keys: tuple[tuple[str, Expr], ...]
    _window: Window
    _lateness: int
    _stream: Callable[[Node], S]

    def aggregate(self, *, name: str | None = None, **aggregates: Aggregate) -> S:
        """Give one row per key and window once the watermark passes its end plus the allowed lateness.

        Parameters
        ----------
        name : str, optional
            Name of the operator: its state is found again under it when the pipeline has changed.
        **aggregates
            The aggregates, by the names of their columns.

        Returns
        -------
        Stream
            The keys, ``window_start``, ``window_end`` (exclusive), then the aggregates. Its event time is
            ``window_start``.

        Raises
        ------
        UnknownColumn, WrongType, DuplicateColumn, ChangelogInput, InvalidArgument
        """
        if isinstance(name, Aggregate):
            raise InvalidArgument("`name` names the operator, not an aggregate", hint="call the aggregate otherwise")
        require_name(name)
        event_time = _require_event_time(self._node)
        items = tuple(_checked(column, aggregate, self._node.schema) for column, aggregate in aggregates.items())
        if not items:
            raise InvalidArgument("aggregate() computes nothing", hint="for example aggregate(rows=ks.count())")
        schema = _schema(self._keys, items, self._node.schema, event_time)
        node = WindowNode(
            inputs=(self._node,),
            schema=schema,
            event_time="window_start",
            name=name,
            location=user_location(),
            keys=self._keys,
            window=self._window,
            aggregates=items,
            lateness=self._lateness,
            input_event_time=event_time,
        )
        return self._stream(node)

    def __repr__(self) -> str:
        return f"WindowedStream({self._window}, keys=[{', '.join(name for name, _ in self._keys)}])"


def require_event_time_type(column: str, kind: pa.DataType) -> None:
    """Raise InvalidEventTime unless `kind` is a timestamp in UTC, or without a zone, which is taken as UTC."""
    if not pa.types.is_timestamp(kind):
        raise InvalidEventTime(
            f"the event time {column!r} is {kind}, not a timestamp",
            hint="name a timestamp column, or give the source a schema in which it is one",
            column=column,
            type=kind,
        )
    if kind.tz not in _UTC:
        raise InvalidEventTime(
            f"the event time {column!r} is in the time zone {kind.tz!r}; event time is UTC",
            hint=f'store it as timestamp("{kind.unit}", tz="UTC"): the instants stay the same',
            column=column,
            type=kind,
        )


def _require_event_time(node: Node) -> str:
    if node.event_time is not None:
        return node.event_time
    lost = node
    while lost.inputs and lost.inputs[0].event_time is None:
        lost = lost.inputs[0]
    if not lost.inputs:
        hint = f'name its timestamp column where it is read ({lost.location}): ks.read(..., event_time="...")'
    else:
        hint = f"{lost.inputs[0].event_time!r} was dropped or recomputed at {lost.location}; keep it there"
    raise NoEventTime("a window needs event time, and this stream has no event-time column", hint=hint)


def _require_resolution(node: Node, window: Window, lateness: int) -> None:
    kind = node.schema.field(node.event_time).type
    tick = _TICK[kind.unit]
    if any(part % tick for part in (window.size, window.every, window.offset, lateness)):
        raise InvalidWindow(
            f"{window} with lateness {lateness / 1e6:g}s is finer than the event time {node.event_time!r}, {kind}",
            hint=f"use multiples of {tick / 1e6:g}s, or a finer timestamp",
        )


def _checked(column: str, aggregate: object, schema: pa.Schema) -> tuple[str, Aggregate]:
    if not isinstance(aggregate, Aggregate):
        raise InvalidArgument(
            f"{column}={aggregate!r} is no aggregate", hint='for example ks.sum("price") or ks.count()'
        )
    if aggregate.where is not None:
        plan_predicate(aggregate.where, schema)
    if aggregate.argument is None:
        return column, aggregate
    ((_, argument),), _ = plan_columns([(column, aggregate.argument)], schema)
    return column, Aggregate(aggregate.function, argument, aggregate.where)


def _schema(
    keys: tuple[tuple[str, Expr], ...], aggregates: tuple[tuple[str, Aggregate], ...], schema: pa.Schema, time: str
) -> pa.Schema:
    if "_op" in schema.names:
        raise ChangelogInput(
            "this stream carries changes (it has a column '_op'), which aggregates do not take back yet",
            hint='filter(ks.col("_op") == ks.lit("+I")) and drop("_op") if it only ever inserts',
        )
    bounds = [pa.field(name, schema.field(time).type, nullable=False) for name in ("window_start", "window_end")]
    require_distinct(name for name, *_ in (*keys, *((bound.name,) for bound in bounds), *aggregates))
    fields = list(compile_aggregation(keys, aggregates, schema, time).output_schema)
    return pa.schema([*fields[: len(keys)], *bounds, *fields[len(keys) :]])
