"""An inbox keeps order per channel, blocks full channels and blocked ones, and wakes everybody when it closes."""

import threading

import pyarrow as pa
import pytest

from krishiv_stream._engine.elements import Idle, Watermark
from krishiv_stream._engine.inbox import Cancelled, Inbox


def batch(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"x": list(range(rows))})


def test_inbox_keeps_the_order_of_each_channel():
    inbox = Inbox(2, 1 << 20)
    for rows in (1, 2):
        inbox.put(0, batch(rows))
        inbox.put(1, batch(rows * 10))
    taken = [inbox.get() for _ in range(4)]
    assert [e.num_rows for c, e in taken if c == 0] == [1, 2]
    assert [e.num_rows for c, e in taken if c == 1] == [10, 20]


def test_inbox_keeps_only_the_last_of_watermarks_that_follow_each_other():
    """A source whose rows are all filtered out tells the time however long the receiver is held up."""
    inbox = Inbox(1, 1 << 20)
    for time in range(1_000):
        inbox.put(0, Watermark(time))
    inbox.put(0, batch(1))
    inbox.put(0, Watermark(1_000))
    inbox.put(0, Idle())
    inbox.put(0, Watermark(1_001))
    taken = [inbox.get()[1] for _ in range(5)]
    assert [taken[0], *taken[2:]] == [Watermark(999), Watermark(1_000), Idle(), Watermark(1_001)]


def test_inbox_counts_what_a_batch_takes_beside_its_values():
    inbox = Inbox(1, 1 << 20)
    for _ in range(100):
        inbox.put(0, batch(1))
    assert inbox.buffered_bytes > 100 * 500


def test_inbox_takes_turns_between_channels():
    inbox = Inbox(2, 1 << 20)
    for _ in range(3):
        inbox.put(0, batch(1))
        inbox.put(1, batch(1))
    assert [inbox.get()[0] for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_inbox_delivers_nothing_from_a_blocked_channel():
    inbox = Inbox(2, 1 << 20)
    inbox.put(0, Watermark(1))
    inbox.block(0)
    inbox.put(1, Watermark(2))
    assert inbox.get() == (1, Watermark(2))
    inbox.unblock_all()
    assert inbox.get() == (0, Watermark(1))


def test_inbox_holds_a_sender_back_until_the_receiver_took_something():
    inbox = Inbox(1, 100)
    inbox.put(0, batch(10))
    passed = threading.Event()

    def send():
        inbox.put(0, batch(10))
        passed.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert not passed.wait(0.05)
    inbox.get()
    assert passed.wait(5)
    sender.join()


def test_inbox_always_takes_one_batch_however_large():
    inbox = Inbox(1, 8)
    inbox.put(0, batch(1_000))
    assert inbox.get()[1].num_rows == 1_000


def test_inbox_takes_a_batch_larger_than_a_channel_behind_a_signal():
    """Once a deadlock: the sender waited for the signal to be taken, and was not woken when it was."""
    inbox = Inbox(1, 8)
    inbox.put(0, Watermark(1))
    inbox.put(0, batch(1_000))
    assert [type(inbox.get()[1]) for _ in range(2)] == [Watermark, pa.RecordBatch]


def test_inbox_lets_signals_pass_when_a_channel_is_full():
    inbox = Inbox(1, 8)
    inbox.put(0, batch(1_000))
    inbox.put(0, Watermark(1))
    assert [type(inbox.get()[1]) for _ in range(2)] == [pa.RecordBatch, Watermark]


def test_inbox_wakes_a_waiting_sender_and_receiver_when_it_closes():
    full, empty = Inbox(1, 8), Inbox(1, 8)
    full.put(0, batch(10))
    woken: list[str] = []

    def expect_cancel(name, call):
        with pytest.raises(Cancelled):
            call()
        woken.append(name)

    threads = [
        threading.Thread(target=expect_cancel, args=("sender", lambda: full.put(0, batch(10)))),
        threading.Thread(target=expect_cancel, args=("receiver", empty.get)),
    ]
    for thread in threads:
        thread.start()
    full.close()
    empty.close()
    for thread in threads:
        thread.join(5)
    assert sorted(woken) == ["receiver", "sender"]
