"""Window arithmetic in ticks, against windows enumerated one by one."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_stream._engine.operators.window_shape import WindowShape
from krishiv_stream._plan.nodes import WindowNode
from krishiv_stream._plan.windows import Window


def shape(size: int, every: int, offset: int = 0, lateness: int = 0) -> WindowShape:
    node = WindowNode(
        schema=pa.schema([]), keys=(), window=Window(size, every, offset), aggregates=(), lateness=lateness
    )
    return WindowShape(node, "us")


windows = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(0, 60)).map(
    lambda t: shape(max(t[0], t[1]), min(t[0], t[1]), t[2] % min(t[0], t[1]))
)


def starts_of(window: WindowShape, time: int) -> list[int]:
    aligned = [s for s in range(time - window.size - 1, time + 1) if (s - window.offset) % window.every == 0]
    return [s for s in aligned if s <= time < s + window.size]


@given(windows, st.integers(-500, 500))
def test_a_row_is_in_the_windows_of_its_pane(window, time):
    assert list(window.windows_of(window.pane_of(time))) == starts_of(window, time)


@given(windows, st.integers(-500, 500))
def test_a_window_is_made_of_its_panes(window, time):
    for start in starts_of(window, time):
        assert window.pane_of(time) in window.panes_in(start)
        assert all(start in window.windows_of(pane) for pane in window.panes_in(start))


@given(windows, st.integers(-500, 500), st.integers(0, 100))
def test_the_horizon_is_the_first_window_that_the_watermark_leaves_open(window, watermark, lateness):
    window.lateness = lateness
    horizon = window.horizon(watermark)
    assert (horizon - window.offset) % window.every == 0
    assert horizon + window.size + lateness > watermark
    assert horizon - window.every + window.size + lateness <= watermark


@pytest.mark.parametrize(("unit", "size"), [("s", 10), ("ms", 10_000), ("us", 10_000_000), ("ns", 10_000_000_000)])
def test_sizes_are_ticks_of_the_event_time_column(unit, size):
    node = WindowNode(schema=pa.schema([]), keys=(), window=Window(10_000_000, 10_000_000), aggregates=())
    assert WindowShape(node, unit).size == size
