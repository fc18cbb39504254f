"""DataFusion plans that are planned once and run again and again, over other rows each time.

A plan reads from a `pyarrow.dataset.Dataset` of ours, which DataFusion asks for its batches anew at every execution;
the batches are exchanged in between. Found by trying with DataFusion 55: plans with a hash join or a repartition
break when run again, so there are no joins here and one partition; filters pushed down to the dataset would be
evaluated by Python, so that rule is off.

This module and those beside it are the only ones that touch DataFusion's planner.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset
from datafusion import SessionConfig, SessionContext, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from datafusion import DataFrame
    from datafusion.plan import ExecutionPlan, LogicalPlan

__all__ = ["ReusedPlan", "Relation"]


class Relation(pyarrow.dataset.Dataset):  # type: ignore[misc]  # pyarrow is untyped
    """A table whose rows can be exchanged; it plays dataset, fragment and scanner for DataFusion."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self.batches: Iterable[pa.RecordBatch] = ()

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return self._schema

    def get_fragments(self, filter: object = None) -> list[Relation]:
        """Return the one fragment: all rows."""
        return [self]

    def scanner(self, *_: object, columns: list[str] | None = None, **__: object) -> _Scan:
        """Return a view of some columns."""
        return _Scan(self, self._schema.names if columns is None else columns)


class _Scan:
    def __init__(self, relation: Relation, columns: list[str]) -> None:
        self._relation = relation
        self._columns = columns
        self.projected_schema = pa.schema([relation.schema.field(name) for name in columns])

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        return (batch.select(self._columns) for batch in self._relation.batches)


class ReusedPlan:
    """One query over rows of one schema.

    Not safe for use by several threads at once.

    Parameters
    ----------
    schema : pa.Schema
        Columns of the input.
    query : callable
        From the table of all rows to the result.
    batch_rows : int
        Rows in a batch of the result, at most about this many.
    """

    def __init__(self, schema: pa.Schema, query: Callable[[DataFrame], DataFrame], *, batch_rows: int) -> None:
        self._relation = Relation(schema)
        self._context = _context(batch_rows)
        self._query = query
        self.replan()

    def replan(self) -> None:
        """Plan, or plan again: the value of `now` and the like is a constant of a plan."""
        self._frame = self._query(self._context.read_table(Table(self._relation)))
        self._plan: ExecutionPlan = self._frame.execution_plan()

    @property
    def schema(self) -> pa.Schema:
        """Columns of the result."""
        return self._frame.schema()

    @property
    def logical(self) -> LogicalPlan:
        """The optimised logical plan: types coerced, projections merged."""
        return self._frame.optimized_logical_plan()

    def run(self, batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Return the result over `batches`, in as many batches as DataFusion gives; it may be none."""
        self._relation.batches = batches
        try:
            return [batch.to_pyarrow() for batch in self._context.execute(self._plan, 0)]
        finally:
            self._relation.batches = ()


@functools.cache
def _context(batch_rows: int) -> SessionContext:
    context = SessionContext(SessionConfig().with_target_partitions(1).with_batch_size(batch_rows))
    if not context.remove_optimizer_rule("push_down_filter"):
        raise RuntimeError("DataFusion no longer knows the optimiser rule push_down_filter")
    return context
