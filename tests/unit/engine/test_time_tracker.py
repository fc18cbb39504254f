"""A task's event time is the smallest watermark of its channels that are not idle, and never falls; restored time is a
floor (P8)."""

from krishiv_stream._engine.time_tracker import TimeTracker


def test_time_waits_until_every_channel_has_spoken():
    tracker = TimeTracker(2)
    assert tracker.advance(0, 10) is None
    assert tracker.advance(1, 4) == 4
    assert tracker.advance(1, 20) == 10


def test_time_leaves_out_idle_channels():
    tracker = TimeTracker(2)
    tracker.advance(0, 10)
    assert tracker.mark_idle(1) == 10
    assert not tracker.all_idle


def test_time_does_not_fall_when_an_idle_channel_returns_behind():
    tracker = TimeTracker(2)
    tracker.advance(0, 10)
    tracker.mark_idle(1)
    assert tracker.advance(1, 3) is None
    assert tracker.current == 10
    assert tracker.advance(0, 30) is None
    assert tracker.advance(1, 12) == 12


def test_time_stands_still_while_every_channel_is_idle():
    tracker = TimeTracker(1)
    tracker.advance(0, 10)
    assert tracker.mark_idle(0) is None
    assert tracker.all_idle
    assert tracker.current == 10


def test_time_never_falls_below_the_restored_watermark():
    tracker = TimeTracker(1, floor=100)
    assert tracker.advance(0, 50) is None
    assert tracker.advance(0, 101) == 101
