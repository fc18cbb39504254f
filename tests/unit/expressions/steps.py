"""Plan nodes for tests of what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_stream._expressions.planning import plan_columns
from krishiv_stream._plan.nodes import FilterNode, ProjectNode

if TYPE_CHECKING:
    import pyarrow as pa
    from datafusion.expr import Expr


def keeping(predicate: Expr, schema: pa.Schema) -> FilterNode:
    """Return a filter over rows of `schema`."""
    return FilterNode(schema=schema, predicate=predicate, location="pipeline.py:7")


def giving(schema: pa.Schema, columns: dict[str, Expr]) -> ProjectNode:
    """Return a projection over rows of `schema`, by output name."""
    settled, planned = plan_columns(tuple(columns.items()), schema)
    return ProjectNode(schema=planned, columns=settled, location="pipeline.py:8")
