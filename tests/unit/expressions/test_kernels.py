"""Arrow kernels and DataFusion plans agree on everything that is left to the kernels."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from datafusion import functions as f
from datafusion import lit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krishiv_stream._expressions.columns import col
from krishiv_stream._expressions.compiled import CompiledSteps, compile_steps
from tests.unit.expressions.steps import giving, keeping

if TYPE_CHECKING:
    from datafusion.expr import Expr

SCHEMA = pa.schema(
    [
        pa.field("a", pa.int64()),
        pa.field("b", pa.int32()),
        pa.field("u", pa.uint16()),
        pa.field("w", pa.uint64()),
        pa.field("f", pa.float64()),
        pa.field("g", pa.float32()),
        pa.field("s", pa.string()),
        pa.field("o", pa.bool_()),
        pa.field("t", pa.timestamp("us", tz="UTC")),
        pa.field("d", pa.date32()),
    ]
)
_FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.5, 2.5, -2.5, float("nan"), float("inf"), -float("inf")]), st.floats()
)
_TIMES = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC))
_VALUES: dict[str, st.SearchStrategy[object]] = {
    "a": st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)),
    "b": st.integers(-(2**31), 2**31 - 1),
    "u": st.integers(0, 2**16 - 1),
    "w": st.integers(0, 2**64 - 1),
    "f": _FLOATS,
    "g": st.floats(width=32),
    "s": st.sampled_from(["", "x", "y", "ß", "x "]),
    "o": st.booleans(),
    "t": _TIMES,
    "d": st.dates(),
}
_ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in _VALUES.items()}), max_size=8)

# Python numbers become 64-bit literals: the coercions that users meet.
_INTS = st.one_of(st.sampled_from(["a", "b", "u"]).map(col), st.integers(-5, 5).map(lit), st.just(lit(2**40)))


def _int(children: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    both = st.tuples(children, children)
    return st.one_of(
        both.map(lambda pair: pair[0] + pair[1]),
        both.map(lambda pair: pair[0] - pair[1]),
        both.map(lambda pair: pair[0] * pair[1]),
        st.tuples(children, st.sampled_from([1, 2, 123])).map(lambda pair: pair[0] % lit(pair[1])),
    )


_INT_EXPRESSIONS = st.recursive(_INTS, _int, max_leaves=4)
_FLOAT_EXPRESSIONS = st.recursive(
    st.one_of(st.sampled_from(["f", "g", "w"]).map(col), _FLOATS.map(lit), _INT_EXPRESSIONS),
    lambda children: st.tuples(children, children, st.sampled_from("+-*")).map(
        lambda parts: {"+": parts[0] + parts[1], "-": parts[0] - parts[1], "*": parts[0] * parts[1]}[parts[2]]
    ),
    max_leaves=4,
)


def _compared(pair: tuple[Expr, Expr], operator: str) -> Expr:
    left, right = pair
    comparisons = {
        "=": lambda: left == right,
        "!=": lambda: left != right,
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
    }
    return comparisons[operator]()


_PAIRS = st.one_of(
    st.tuples(_INT_EXPRESSIONS, _INT_EXPRESSIONS),
    st.tuples(st.just(col("s")), st.sampled_from(["", "x", "ß"]).map(lit)),
    st.tuples(st.just(col("t")), _TIMES.map(lambda time: lit(pa.scalar(time, pa.timestamp("us", tz="UTC"))))),
    st.tuples(st.just(col("o")), st.booleans().map(lit)),
    st.tuples(st.just(col("d")), st.dates().map(lit)),
)
_CONDITIONS = st.recursive(
    st.one_of(
        st.tuples(_PAIRS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="])).map(lambda each: _compared(*each)),
        st.sampled_from(SCHEMA.names).map(lambda name: col(name).is_null()),
        st.sampled_from(SCHEMA.names).map(lambda name: col(name).is_not_null()),
        st.just(col("o")),
    ),
    lambda children: st.one_of(
        children.map(lambda condition: ~condition),
        st.tuples(children, children).map(lambda pair: pair[0] & pair[1]),
        st.tuples(children, children).map(lambda pair: pair[0] | pair[1]),
    ),
    max_leaves=4,
)


def _text(parts: list[pa.RecordBatch]) -> str:
    """Return rows as text in which NaN equals NaN and 0.0 differs from -0.0."""
    return repr([row for part in parts for row in part.to_pylist()])


def _agree(steps: CompiledSteps, rows: list[dict[str, object]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    assert _text(steps.apply(batch)) == _text(steps.apply_plan(batch))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=_ROWS, condition=_CONDITIONS, whole=_INT_EXPRESSIONS, real=_FLOAT_EXPRESSIONS)
def test_kernels_and_plans_agree_on_random_steps(
    rows: list[dict[str, object]], condition: Expr, whole: Expr, real: Expr
) -> None:
    node = giving(SCHEMA, {"whole": whole, "real": real, "condition": condition, "s": col("s")})
    _agree(compile_steps([keeping(condition, SCHEMA), node], SCHEMA), rows)


COVERED = [
    col("a") % lit(123) == lit(0),
    (col("a") > lit(100)) & (col("b") <= lit(5)) | ~col("o"),
    col("s") == lit("x"),
    col("f").is_null(),
    col("a") * lit(0.908),
    col("b") + col("u"),
    col("g") * col("f") - lit(1.5),
    col("t") >= lit(pa.scalar(0, pa.timestamp("us", tz="UTC"))),
]


@pytest.mark.parametrize("expression", COVERED, ids=str)
def test_kernels_take_what_small_batches_need(expression: Expr) -> None:
    assert compile_steps([giving(SCHEMA, {"x": expression})], SCHEMA).runs_kernels


# DataFusion orders NaN above everything, rounds halves away from zero, fails on division by zero, folds case its way.
LEFT_TO_PLANS = [
    col("f") > lit(1.0),
    col("f") == col("f"),
    f.round(col("f")),
    col("a") / lit(2),
    col("a") / col("b"),
    col("a") % col("b"),
    col("a") % lit(0),
    col("a") % lit(-1),
    col("f") % lit(2.0),
    col("f") / lit(0.0),
    col("f").cast(pa.int64()),
    col("a").cast(pa.int32()),
    col("a").cast(pa.string()),
    f.upper(col("s")),
    f.now() > col("t"),
]


@pytest.mark.parametrize("expression", LEFT_TO_PLANS, ids=str)
def test_everything_else_is_left_to_the_plan(expression: Expr) -> None:
    assert not compile_steps([giving(SCHEMA, {"x": expression})], SCHEMA).runs_kernels
