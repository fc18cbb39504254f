"""What the engine runs: consecutive filters and projections as one step over batches, and windowed aggregates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeGuard

import pyarrow as pa

from krishiv_stream._errors import ExpressionFailed
from krishiv_stream._expressions.aggregation import CompiledAggregation, compile_aggregation
from krishiv_stream._expressions.analysis import Volatility, columns_of, volatility_of
from krishiv_stream._expressions.columns import plain_column
from krishiv_stream._expressions.kernels import kernels_for
from krishiv_stream._expressions.reused import ReusedPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datafusion import DataFrame
    from datafusion.expr import Expr

    from krishiv_stream._expressions.kernels import Kernels

__all__ = ["CompiledAggregation", "CompiledSteps", "compile_aggregation", "compile_steps"]

SMALL_BATCH_ROWS = 65_536
"""Up to this many rows Arrow kernels are used where they can be."""

_BATCH_ROWS = 65_536


class FilterStep(Protocol):
    """A step that keeps the rows where `predicate` is true."""

    @property
    def location(self) -> str: ...

    @property
    def predicate(self) -> Expr: ...


class ProjectStep(Protocol):
    """A step that gives `columns`, of types that `schema` states."""

    @property
    def location(self) -> str: ...

    @property
    def columns(self) -> tuple[tuple[str, Expr], ...]: ...

    @property
    def schema(self) -> pa.Schema: ...


Step = FilterStep | ProjectStep


def compile_steps(steps: Sequence[Step], schema: pa.Schema) -> CompiledSteps:
    """Fuse `steps` into one.

    Parameters
    ----------
    steps : sequence of FilterNode or ProjectNode
        In order; already checked against their schemas.
    schema : pa.Schema
        The columns of the batches that come in: those of the first step's input, or as many of them as are used.
    """
    return CompiledSteps(steps, schema)


class CompiledSteps:
    """Filters and projections, ready to run. One per thread.

    Attributes
    ----------
    output_schema : pa.Schema
        Columns of every batch that `apply` returns, exactly.
    required_columns : tuple of str
        Columns of the input that it reads, in the order of the schema.
    """

    def __init__(self, steps: Sequence[Step], schema: pa.Schema) -> None:
        self.output_schema = _output_schema(steps, schema)
        self._location = ", ".join(dict.fromkeys(step.location for step in steps if step.location))
        self._selection = _selection(steps, schema)
        self._kernels: Kernels | None = None
        if self._selection is not None:
            self.required_columns = tuple(name for name in schema.names if name in self._selection)
            return
        self._plan = ReusedPlan(schema, lambda table: _query(table, steps), batch_rows=_BATCH_ROWS)
        self._timeless = all(volatility_of(expression) is not Volatility.STABLE for expression in _expressions(steps))
        if self._timeless:  # else the optimised plan holds the time of planning as a constant
            self._kernels = kernels_for(self._plan.logical, schema)
        self.required_columns = _required(steps, schema)

    def apply(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """Return what becomes of the rows of `batch`, in order; never a batch without rows.

        Raises
        ------
        ExpressionFailed
            If an expression fails on a row (division by zero, a cast that does not fit).
        """
        if not batch.num_rows:
            return []
        if self._selection is not None:
            return [self._batch([batch.column(name) for name in self._selection])]
        if self._kernels is not None and batch.num_rows <= SMALL_BATCH_ROWS:
            result = self._batch(self._kernels.run(batch))
            return [result] if result.num_rows else []
        return self.apply_plan(batch)

    @property
    def runs_kernels(self) -> bool:
        """Whether small batches are left to Arrow kernels."""
        return self._kernels is not None

    def apply_plan(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """Do as `apply` does, by the DataFusion plan whatever the size of `batch`."""
        try:
            if not self._timeless:
                self._plan.replan()
            parts = self._plan.run((batch,))
        except Exception as error:  # DataFusion raises bare Exception
            raise ExpressionFailed(
                f"an expression failed on the data: {error}",
                hint="guard it, for example with ks.functions.nullif(divisor, ks.lit(0)) or .try_cast(...)",
                location=self._location,
            ) from error
        return [self._batch(part.columns) for part in parts if part.num_rows]

    def _batch(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(columns, schema=self.output_schema)


def _is_filter(step: Step) -> TypeGuard[FilterStep]:
    return hasattr(step, "predicate")


def _is_project(step: Step) -> TypeGuard[ProjectStep]:
    return not _is_filter(step)


def _output_schema(steps: Sequence[Step], schema: pa.Schema) -> pa.Schema:
    for step in steps:
        if _is_project(step):
            schema = step.schema
    return schema


def _selection(steps: Sequence[Step], schema: pa.Schema) -> tuple[str, ...] | None:
    """Return the input columns that are the output, if `steps` only choose, order and rename; else None."""
    sources = {name: name for name in schema.names}
    for step in steps:
        if not _is_project(step):
            return None
        chosen = [(name, plain_column(expression)) for name, expression in step.columns]
        if any(column is None for _, column in chosen):
            return None
        sources = {name: sources[column] for name, column in chosen if column is not None}
    return tuple(sources.values())


def _expressions(steps: Sequence[Step]) -> list[Expr]:
    expressions: list[Expr] = []
    for step in steps:
        if _is_filter(step):
            expressions.append(step.predicate)
        elif _is_project(step):
            expressions.extend(expression for _, expression in step.columns)
    return expressions


def _query(table: DataFrame, steps: Sequence[Step]) -> DataFrame:
    for step in steps:
        if _is_filter(step):
            table = table.filter(step.predicate)
        elif _is_project(step):
            table = table.select(*(expression.alias(name) for name, expression in step.columns))
    return table


def _required(steps: Sequence[Step], schema: pa.Schema) -> tuple[str, ...]:
    """Return the input columns that `steps` read, walking from the last step up."""
    needed: frozenset[str] | None = None  # None: all
    for step in reversed(steps):
        if _is_filter(step):
            needed = None if needed is None else needed | columns_of(step.predicate)
        elif _is_project(step):
            needed = frozenset[str]().union(*(columns_of(expression) for _, expression in step.columns))
    return tuple(name for name in schema.names if needed is None or name in needed)
