"""The fluent API: a `Stream` is a node of a plan; each method returns a new one and checks at once what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datafusion import functions, lit

from krishiv_connectors import Sink
from krishiv_stream._errors import InvalidArgument, SchemaMismatch
from krishiv_stream._expressions.columns import as_expression, col, output_name, plain_column
from krishiv_stream._expressions.key_types import require_key_type
from krishiv_stream._expressions.planning import plan_columns, plan_predicate, require_column
from krishiv_stream._location import user_location
from krishiv_stream._plan.arguments import require_instance, require_name
from krishiv_stream._plan.collecting import collect
from krishiv_stream._plan.keyed import KeyedStream
from krishiv_stream._plan.nodes import (
    FilterNode,
    MapBatchesNode,
    MapRowsNode,
    Node,
    ProjectNode,
    SideOutputNode,
    SinkNode,
    UnionNode,
    WindowNode,
)
from krishiv_stream._plan.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from datafusion.expr import Expr

    from krishiv_stream._durations import Duration
    from krishiv_stream._plan.keyed import WindowedStream
    from krishiv_stream._plan.windows import Window

__all__ = ["Stream"]

Columns = tuple[tuple[str, "Expr"], ...]


class Stream:
    """Rows on their way from sources to sinks. Immutable; made by `read` and by the methods of other streams.

    Wherever a method takes a column it takes the column's name or an expression.
    """

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def node(self) -> Node:
        """The node of the plan that gives these rows."""
        return self._node

    @property
    def schema(self) -> pa.Schema:
        """The columns of every row."""
        return self._node.schema

    @property
    def event_time(self) -> str | None:
        """The name of the event-time column, if the stream has one."""
        return self._node.event_time

    # --- one row at a time

    def filter(self, predicate: str | Expr) -> Stream:
        """Keep the rows where `predicate` is true; where it is null they go.

        Raises
        ------
        UnknownColumn, WrongType, NotRowWise
        """
        condition = as_expression(predicate)
        plan_predicate(condition, self.schema)
        return Stream(FilterNode(**self._following(), predicate=condition))

    def select(self, *columns: str | Expr, **named: str | Expr) -> Stream:
        """Give exactly these columns, in this order; `named` ones are called by their keyword.

        Raises
        ------
        UnknownColumn, WrongType, NotRowWise, DuplicateColumn
        """
        return self._project((*_positional(columns), *_keywords(named)))

    def with_columns(self, *columns: str | Expr, **named: str | Expr) -> Stream:
        """Give all columns and these; one of the same name is replaced where it stands.

        Raises
        ------
        UnknownColumn, WrongType, NotRowWise, DuplicateColumn
        """
        added = (*_positional(columns), *_keywords(named))
        plan_columns(added, self.schema)
        replaced = dict(added)
        kept = [(name, replaced.pop(name, col(name))) for name in self.schema.names]
        return self._project((*kept, *replaced.items()))

    def drop(self, *columns: str) -> Stream:
        """Give all columns but these.

        Raises
        ------
        UnknownColumn
        """
        for name in columns:
            require_column(name, self.schema)
        return self._project(tuple((name, col(name)) for name in self.schema.names if name not in columns))

    def rename(self, names: Mapping[str, str]) -> Stream:
        """Give the same columns under new names: ``{old: new}``.

        Raises
        ------
        UnknownColumn, DuplicateColumn
        """
        for name in names:
            require_column(name, self.schema)
        return self._project(tuple((names.get(name, name), col(name)) for name in self.schema.names))

    # --- Python functions

    def map_batches(
        self,
        function: Callable[[pa.RecordBatch], pa.RecordBatch | pa.Table],
        *,
        schema: pa.Schema | None = None,
        deterministic: bool = False,
    ) -> Stream:
        """Call `function` per batch. How rows are cut into batches is not defined and changes from run to run.

        Parameters
        ----------
        function : callable
            From a `pyarrow.RecordBatch` to one, or to a table, of exactly `schema`.
        schema : pa.Schema, optional
            The columns that it returns; None: the same as it gets.
        deterministic : bool
            Whether it gives the same rows again for the same rows. Side effects are outside every guarantee.
        """
        return Stream(MapBatchesNode(**self._mapped(function, schema), function=function, deterministic=deterministic))

    def map_rows(
        self,
        function: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        schema: pa.Schema | None = None,
        deterministic: bool = False,
    ) -> Stream:
        """Call `function` per row, as a dict. The slow path: some 100 times slower than expressions.

        Parameters are those of `map_batches`.
        """
        return Stream(MapRowsNode(**self._mapped(function, schema), function=function, deterministic=deterministic))

    def flat_map_rows(
        self,
        function: Callable[[dict[str, Any]], Iterable[Mapping[str, Any]]],
        *,
        schema: pa.Schema | None = None,
        deterministic: bool = False,
    ) -> Stream:
        """Call `function` per row, which gives any number of rows for it. The slow path, as `map_rows`."""
        return Stream(
            MapRowsNode(**self._mapped(function, schema), function=function, deterministic=deterministic, flat=True)
        )

    # --- several streams, keys, windows

    def union(self, *others: Stream) -> Stream:
        """Give the rows of all these streams, in no defined order. Columns and event time must be the same.

        Raises
        ------
        SchemaMismatch
        """
        nodes = [self._node, *(_node_of(other) for other in others)]
        schema = _common_schema([node.schema for node in nodes])
        if len({node.event_time for node in nodes}) > 1:
            times = " and ".join(repr(node.event_time) for node in nodes)
            raise SchemaMismatch(
                f"the streams have different event times: {times}", hint="rename or drop columns until they agree"
            )
        location = user_location()
        inputs = tuple(_nullable_as(node, schema, location) for node in nodes)
        return Stream(UnionNode(inputs=inputs, schema=schema, event_time=self._node.event_time, location=location))

    def key_by(self, *keys: str | Expr, **named: str | Expr) -> KeyedStream[Stream]:
        """Group rows by `keys`; `named` ones are called by their keyword, others by alias, column or text.

        Raises
        ------
        UnknownColumn, WrongType, NotRowWise, DuplicateColumn
        """
        columns = (*_positional(keys), *_keywords(named))
        if not columns:
            raise InvalidArgument("key_by() needs a key", hint="for one window over all rows call window(...) directly")
        _, schema = plan_columns(columns, self.schema)
        for field in schema:
            require_key_type(field.name, field.type)
        settled, _ = plan_columns(_canonical_floats(columns, schema), self.schema)
        return KeyedStream(self._node, settled, Stream)

    def window(self, window: Window, *, allowed_lateness: Duration = 0) -> WindowedStream[Stream]:
        """Cut the whole stream into windows, without keys; one subtask does all the work. See `KeyedStream.window`."""
        return KeyedStream(self._node, (), Stream).window(window, allowed_lateness=allowed_lateness)

    def side_output(self, tag: str) -> Stream:
        """Give a side output of the operator that this stream comes from.

        Parameters
        ----------
        tag : str
            ``"late"``, of a windowed aggregate: the rows that came too late, as they entered it.
        """
        node = self._node
        if tag != "late" or not isinstance(node, WindowNode):
            raise InvalidArgument(
                f"there is no side output {tag!r} here",
                hint='side_output("late") is called on what aggregate(...) of a window returned',
            )
        late = SideOutputNode(
            inputs=(node,),
            schema=node.inputs[0].schema,
            event_time=node.input_event_time,
            location=user_location(),
            tag=tag,
        )
        return Stream(late)

    # --- ends

    def write(self, sink: Sink, *, name: str | None = None, diagnostic: bool = False) -> Pipeline:
        """Write every row to `sink`.

        Parameters
        ----------
        sink : Sink
        name : str, optional
            Stable name of the sink: what it has written is found again under it.
        diagnostic : bool
            True: only people look at it, and `require` does not cover it.

        Returns
        -------
        Pipeline
            Join several with `Pipeline.of`.
        """
        require_instance(sink, Sink, "sink", "for example ks.ParquetSink(path)")
        require_name(name)
        node = SinkNode(**self._following(name=name), sink=sink, diagnostic=diagnostic or sink.diagnostic)
        return Pipeline([node])

    def collect(self, session: Any | None = None) -> pa.Table:
        """Run this stream to its end and return its rows, in no defined order.

        Parameters
        ----------
        session : Session, optional
            Where to run it; by default a dev-local session of its own.

        Raises
        ------
        UnboundedCollect
            If a source never ends.
        """
        return collect(self._node, session)

    def __repr__(self) -> str:
        columns = ", ".join(f"{field.name}: {field.type}" for field in self.schema)
        return f"Stream({columns})"

    # --- building nodes

    def _following(self, **other: Any) -> dict[str, Any]:
        """Return the fields of a node after this one; what `other` does not say stays as it is."""
        node = self._node
        common = {"schema": node.schema, "event_time": node.event_time}
        return {"inputs": (node,), "location": user_location(), **common, **other}

    def _project(self, columns: Columns) -> Stream:
        if not columns:
            raise InvalidArgument("no column is left", hint="name at least one")
        settled, schema = plan_columns(columns, self.schema)
        event_time = _event_time_after(settled, self._node.event_time)
        return Stream(ProjectNode(**self._following(schema=schema, event_time=event_time), columns=settled))

    def _mapped(self, function: object, schema: pa.Schema | None) -> dict[str, Any]:
        if not callable(function):
            raise InvalidArgument(f"{function!r} cannot be called", hint="pass a function")
        if schema is None:
            return self._following()
        if not isinstance(schema, pa.Schema):
            raise InvalidArgument(f"schema={schema!r} is no schema", hint='write pa.schema({"x": pa.int64(), ...})')
        time = self._node.event_time
        kept = time in schema.names and schema.field(time).type == self.schema.field(time).type
        return self._following(schema=schema, event_time=time if kept else None)


def _positional(columns: tuple[str | Expr, ...]) -> Columns:
    expressions = [as_expression(column) for column in columns]
    return tuple((output_name(expression), expression) for expression in expressions)


def _keywords(named: Mapping[str, str | Expr]) -> Columns:
    return tuple((name, as_expression(column)) for name, column in named.items())


def _event_time_after(columns: Columns, event_time: str | None) -> str | None:
    """Return under which name the event time goes on; None if it is dropped or computed anew."""
    names = [name for name, expression in columns if event_time is not None and plain_column(expression) == event_time]
    return event_time if event_time in names else next(iter(names), None)


def _canonical_floats(columns: Columns, schema: pa.Schema) -> Columns:
    """Make one key of 0.0 and -0.0, and one of all NaN: rows are sent by hash, and hashes go by bits."""
    return tuple(
        (name, _canonical_float(expression, field.type) if pa.types.is_floating(field.type) else expression)
        for (name, expression), field in zip(columns, schema, strict=True)
    )


def _canonical_float(expression: Expr, kind: pa.DataType) -> Expr:
    zero, nan = (lit(pa.scalar(value, kind)) for value in (0.0, float("nan")))
    return functions.nanvl(expression + zero, nan)


def _node_of(stream: object) -> Node:
    if not isinstance(stream, Stream):
        raise InvalidArgument(f"{stream!r} is no stream", hint="union takes streams: a.union(b, c)")
    return stream.node


def _common_schema(schemas: list[pa.Schema]) -> pa.Schema:
    """Return the schema of all, a column being nullable if it is in any."""
    first = schemas[0]
    for number, other in enumerate(schemas[1:], start=2):
        if [(field.name, field.type) for field in other] != [(field.name, field.type) for field in first]:
            raise SchemaMismatch(
                f"stream {number} of the union has other columns: {_difference(first, other)}",
                hint="make them equal with select(...), rename(...) or .cast(...)",
            )
    columns = zip(*schemas, strict=True)
    return pa.schema([fields[0].with_nullable(any(field.nullable for field in fields)) for fields in columns])


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    ours, theirs = ({field.name: str(field.type) for field in schema} for schema in (first, other))
    parts = [f"{name} is missing" for name in ours if name not in theirs]
    parts += [f"{name} is only there" for name in theirs if name not in ours]
    parts += [f"{name} is {theirs[name]}, not {kind}" for name, kind in ours.items() if theirs.get(name, kind) != kind]
    return "; ".join(parts) or f"their order is {', '.join(theirs)}, not {', '.join(ours)}"


def _nullable_as(node: Node, schema: pa.Schema, location: str) -> Node:
    """Return `node`, with the nullability of `schema`: batches of a union all have one schema."""
    if node.schema.equals(schema):
        return node
    columns = tuple((name, col(name)) for name in schema.names)
    return ProjectNode(inputs=(node,), schema=schema, event_time=node.event_time, location=location, columns=columns)
