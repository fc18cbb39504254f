"""Small batches: the same optimised plan, worked off by Arrow kernels, where both are known to agree.

Running a DataFusion plan costs about 0.1 ms whatever the number of rows; an Arrow kernel costs a few µs. The two do
not agree on everything (``NaN > 1``, ``round(2.5)``, division by zero), so only what `_BINARY` and `_WIDENING` list,
on the types listed there, is done here; a test compares the two on random plans. One thing that is not listed, and
the whole plan is DataFusion's: a result never depends on the size of a batch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from datafusion import expr as nodes
from datafusion.expr import Expr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from datafusion.plan import LogicalPlan

__all__ = ["Kernels", "kernels_for"]

Columns = dict[str, pa.Array]


class _NotCovered(Exception):
    """The plan holds something that is left to DataFusion."""


@dataclass(frozen=True)
class _Kernel:
    evaluate: Callable[[Columns], pa.Array | pa.Scalar]
    type: pa.DataType
    constant: pa.Scalar | None = None


@dataclass(frozen=True)
class _Filter:
    predicate: Callable[[Columns], pa.Array | pa.Scalar]

    def apply(self, columns: Columns, rows: int) -> tuple[Columns, int]:
        kept = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)).filter(self.predicate(columns))
        return dict(zip(columns, kept.columns, strict=True)), kept.num_rows


@dataclass(frozen=True)
class _Project:
    columns: tuple[tuple[str, _Kernel], ...]

    def apply(self, columns: Columns, rows: int) -> tuple[Columns, int]:
        return {name: _array(kernel.evaluate(columns), rows) for name, kernel in self.columns}, rows


class Kernels:
    """A chain of filters and projections, as Arrow kernels."""

    def __init__(self, inputs: Sequence[str], steps: Sequence[_Filter | _Project]) -> None:
        self._inputs = tuple(inputs)
        self._steps = tuple(steps)

    def run(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """Return the columns of the result over `batch`, in order."""
        columns = {name: batch.column(name) for name in self._inputs}
        rows = batch.num_rows
        for step in self._steps:
            columns, rows = step.apply(columns, rows)
        return list(columns.values())


def kernels_for(plan: LogicalPlan, schema: pa.Schema) -> Kernels | None:
    """Return `plan`, over a table of `schema`, as kernels; None if it holds anything that they do not cover."""
    try:
        return _compile(plan, schema)
    except _NotCovered:
        return None


def _compile(plan: LogicalPlan, schema: pa.Schema) -> Kernels:
    chain: list[Any] = []  # the variants come from an extension module without types
    while not isinstance(node := plan.to_variant(), nodes.TableScan):
        if not isinstance(node, nodes.Filter | nodes.Projection):
            raise _NotCovered
        chain.append(node)
        plan = plan.inputs()[0]
    inputs = [name for _, name in node.projection()]
    if not inputs or node.filters() or node.fetch() is not None:
        raise _NotCovered
    types = {name: schema.field(name).type for name in inputs}
    steps: list[_Filter | _Project] = []
    for step in reversed(chain):
        if isinstance(step, nodes.Filter):
            if any("view" in str(kind) for kind in types.values()):
                raise _NotCovered  # Arrow has no filter for string views
            steps.append(_Filter(_predicate(Expr(step.predicate()), types)))
        else:
            columns = tuple(_named(Expr(raw), types) for raw in step.projections())
            types = {name: kernel.type for name, kernel in columns}
            steps.append(_Project(columns))
    return Kernels(inputs, steps)


def _predicate(expression: Expr, types: dict[str, pa.DataType]) -> Callable[[Columns], pa.Array | pa.Scalar]:
    kernel = _kernel(expression, types)
    if kernel.type != pa.bool_() or kernel.constant is not None:
        raise _NotCovered
    return kernel.evaluate


def _named(expression: Expr, types: dict[str, pa.DataType]) -> tuple[str, _Kernel]:
    if expression.variant_name() == "Alias":
        name = str(expression.to_variant().alias())
    elif expression.variant_name() == "Column":
        name = str(expression.to_variant().name())
    else:
        name = str(expression.schema_name())
    return name, _kernel(expression, types)


def _kernel(expression: Expr, types: dict[str, pa.DataType]) -> _Kernel:
    match expression.variant_name():
        case "Alias":
            return _kernel(expression.rex_call_operands()[0], types)
        case "Column":
            return _column(str(expression.to_variant().name()), types)
        case "Literal":
            return _literal(expression)
        case "Cast":
            return _cast(expression, _kernel(expression.rex_call_operands()[0], types))
        case "BinaryExpr":
            left, right = (_kernel(operand, types) for operand in expression.rex_call_operands())
            return _binary(expression.rex_call_operator(), left, right)
        case "Not" | "IsNull" | "IsNotNull" as variant:
            return _unary(variant, _kernel(expression.rex_call_operands()[0], types))
        case _:
            raise _NotCovered


def _column(name: str, types: dict[str, pa.DataType]) -> _Kernel:
    return _Kernel(lambda columns: columns[name], types[name])


def _literal(expression: Expr) -> _Kernel:
    try:
        value = expression.python_value()
    except (NotImplementedError, ValueError):  # the bindings do not convert every type
        raise _NotCovered from None
    if not isinstance(value, pa.Scalar) or not value.is_valid:
        raise _NotCovered
    return _Kernel(lambda _: value, value.type, value)


_INTEGERS = frozenset({pa.int8(), pa.int16(), pa.int32(), pa.int64()})
_UNSIGNED = frozenset({pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()})
_FLOATS = frozenset({pa.float64(), pa.float32()})
_EXACT = _INTEGERS | _UNSIGNED | {pa.bool_(), pa.string(), pa.date32()}

# Both wrap around on overflow, and follow IEEE 754 for floats.
_ARITHMETIC = {"+": pc.add, "-": pc.subtract, "*": pc.multiply}
# Never of floats: DataFusion orders NaN above everything and equal to itself, Arrow follows IEEE 754.
_COMPARISONS = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_LOGIC = {"AND": pc.and_kleene, "OR": pc.or_kleene}
_UNARY = {"Not": pc.invert, "IsNull": pc.is_null, "IsNotNull": pc.is_valid}


def _binary(operator: str, left: _Kernel, right: _Kernel) -> _Kernel:
    function, kind = _binary_function(operator, left, right)
    if left.constant is not None and right.constant is not None:
        raise _NotCovered
    return _Kernel(lambda columns: function(left.evaluate(columns), right.evaluate(columns)), kind)


def _binary_function(operator: str, left: _Kernel, right: _Kernel) -> tuple[Callable[..., pa.Array], pa.DataType]:
    kind = left.type
    if kind != right.type:
        raise _NotCovered
    if operator in _ARITHMETIC and kind in _INTEGERS | _UNSIGNED | _FLOATS:
        return _ARITHMETIC[operator], kind
    if operator == "%" and kind in _INTEGERS and right.constant is not None and right.constant.as_py() > 0:
        return pc.remainder, kind
    if operator in _COMPARISONS and kind not in _FLOATS and _has_kernels(kind):
        return _COMPARISONS[operator], pa.bool_()
    if operator in _LOGIC and kind == pa.bool_():
        return _LOGIC[operator], kind
    raise _NotCovered


def _unary(variant: str, operand: _Kernel) -> _Kernel:
    covered = operand.type == pa.bool_() if variant == "Not" else _has_kernels(operand.type)
    if operand.constant is not None or not covered:
        raise _NotCovered
    function = _UNARY[variant]
    return _Kernel(lambda columns: function(operand.evaluate(columns)), pa.bool_())


def _has_kernels(kind: pa.DataType) -> bool:
    return kind in _EXACT or kind in _FLOATS or pa.types.is_timestamp(kind)


_CAST_TARGET = re.compile(r" AS (\w+)\)$")
# Casts that fit every value of the type; to floats both round to nearest.
_WIDENING = {
    "Int64": (pa.int64(), {pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32()}),
    "Int32": (pa.int32(), {pa.int8(), pa.int16(), pa.uint8(), pa.uint16()}),
    "Float64": (pa.float64(), _INTEGERS | _UNSIGNED | {pa.float32()}),
}


def _cast(expression: Expr, operand: _Kernel) -> _Kernel:
    # The bindings keep the target type to themselves, but print it.
    found = _CAST_TARGET.search(expression.canonical_name())
    target, sources = _WIDENING.get(found[1] if found else "", (None, frozenset[pa.DataType]()))
    if target is None or operand.type not in sources or operand.constant is not None:
        raise _NotCovered
    return _Kernel(lambda columns: pc.cast(operand.evaluate(columns), target, safe=False), target)


def _array(value: pa.Array | pa.Scalar, rows: int) -> pa.Array:
    return pa.repeat(value, rows) if isinstance(value, pa.Scalar) else value
