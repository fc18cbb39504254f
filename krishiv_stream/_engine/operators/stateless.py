"""Operators without state: fused expressions, and the user's Python functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_stream._engine.errors import WrongFunctionOutput
from krishiv_stream._engine.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from krishiv_stream._expressions.compiled import CompiledSteps

__all__ = ["MapBatches", "MapRows", "Steps"]


class Steps(Operator):
    """Filters and projections, fused into one compiled plan."""

    def __init__(self, steps: CompiledSteps) -> None:
        super().__init__()
        self._steps = steps

    def process(self, batch: pa.RecordBatch) -> None:
        """Apply the plan and hand on its rows, in order."""
        for part in self._steps.apply(batch):
            self.emit(part)


class MapBatches(Operator):
    """A Python function from batch to batch."""

    def __init__(self, function: Callable[[pa.RecordBatch], pa.RecordBatch | pa.Table], schema: pa.Schema) -> None:
        super().__init__()
        self._function = function
        self._schema = schema

    def process(self, batch: pa.RecordBatch) -> None:
        """Call the function and check what it returns."""
        result = self._function(batch)
        if isinstance(result, pa.Table):
            parts = result.to_batches()
        elif isinstance(result, pa.RecordBatch):
            parts = [result]
        else:
            raise WrongFunctionOutput(
                f"the function given to map_batches returned {type(result).__name__}",
                hint="return a pyarrow RecordBatch or Table of the schema given as schema=",
            )
        if not result.schema.equals(self._schema):
            raise WrongFunctionOutput(
                f"the function given to map_batches returned columns {_columns(result.schema)}, "
                f"not {_columns(self._schema)}",
                hint="return exactly the columns and types given as schema=",
            )
        for part in parts:
            self.emit(part)


class MapRows(Operator):
    """A Python function from row to row, or to any number of rows: the slow path."""

    def __init__(
        self,
        function: Callable[[dict[str, object]], Mapping[str, object] | Iterable[Mapping[str, object]]],
        schema: pa.Schema,
        *,
        flat: bool,
    ) -> None:
        super().__init__()
        self._function = function
        self._schema = schema
        self._flat = flat

    def process(self, batch: pa.RecordBatch) -> None:
        """Call the function for every row of `batch` and make one batch of what it returns."""
        results = [self._function(row) for row in batch.to_pylist()]
        self.emit(self._batch([row for part in results for row in part] if self._flat else results))

    def _batch(self, rows: list[Any]) -> pa.RecordBatch:
        try:
            unknown = set[str]().union(*rows).difference(self._schema.names)
            made = pa.RecordBatch.from_pylist(rows, schema=self._schema)
        except (pa.ArrowException, AttributeError, OverflowError, TypeError) as error:
            raise self._wrong(f"values that do not fit {_columns(self._schema)}: {error}") from error
        if unknown:
            raise self._wrong(f"columns {sorted(map(str, unknown))}, which are not among {_columns(self._schema)}")
        return made

    def _wrong(self, what: str) -> WrongFunctionOutput:
        return WrongFunctionOutput(
            f"the row function returned {what}",
            hint="return dicts with the column names and types given as schema=",
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
