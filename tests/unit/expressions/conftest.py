"""Rows with everything that is awkward in a name or a type."""

from __future__ import annotations

import pyarrow as pa
import pytest


@pytest.fixture
def schema() -> pa.Schema:
    """Columns with capitals, dots and quotes in their names."""
    return pa.schema(
        [
            pa.field("auction", pa.int64()),
            pa.field("price", pa.int64()),
            pa.field("dateTime", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("a.b", pa.string()),
            pa.field('say "hi"', pa.float64()),
        ]
    )


@pytest.fixture
def batch(schema: pa.Schema) -> pa.RecordBatch:
    """Six rows, one of nulls wherever there may be."""
    columns = [
        pa.array([123, 246, 7, None, 369, 8]),
        pa.array([100, 200, 300, None, 500, 600]),
        pa.array([1, 2, 3, 4, 5, 6], pa.timestamp("us", tz="UTC")),
        pa.array(["x", "y", "x", None, "z", "x"]),
        pa.array([0.5, float("nan"), -0.0, None, 2.5, 1e300]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
