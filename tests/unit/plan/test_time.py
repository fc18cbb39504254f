"""Window shapes and watermark strategies as values."""

from __future__ import annotations

import pytest

import krishiv_stream as ks


def test_tumble_gives_windows_side_by_side() -> None:
    window = ks.tumble("10s", offset="13s")
    assert (window.size, window.every, window.offset) == (10_000_000, 10_000_000, 3_000_000)
    assert window.is_tumble
    assert str(window) == "tumble(10s, offset=3s)"


def test_hop_shares_panes_between_windows() -> None:
    window = ks.hop("10s", every="4s")
    assert window.pane == 2_000_000
    assert not window.is_tumble
    assert str(window) == "hop(10s, every=4s)"


def test_bounded_delay_stays_behind_the_newest_row() -> None:
    strategy = ks.bounded_delay("4s", idle_timeout="30s")
    assert strategy.advance(None, 1_000_000, 9_000_000, 0) == 5_000_000
    assert strategy.idle_timeout == 30.0
    assert str(strategy) == "4s behind the newest row, idle after 30s"


def test_monotonic_has_no_delay() -> None:
    assert ks.monotonic().advance(3, 1, 9, 0) == 9


def test_processing_time_is_the_clock() -> None:
    assert ks.processing_time().advance(3, 1, 9, 77) == 77


def test_a_strategy_of_the_user_defines_advance() -> None:
    class Mine(ks.WatermarkStrategy):
        pass

    with pytest.raises(NotImplementedError, match="advance"):
        Mine().advance(None, 0, 0, 0)
