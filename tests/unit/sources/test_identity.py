"""Digests that are carried on from checkpoints, and the thread that reads ahead."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_connectors.files import _identity
from krishiv_connectors.files._identity import BytesDigest
from krishiv_connectors.files._read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@given(data=st.binary(max_size=40), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_bytes_digest_does_not_depend_on_how_it_was_fed_or_carried_on(data: bytes, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_identity, "GRAIN", 8)
        whole = BytesDigest.of_file(io.BytesIO(data), len(data))
        fed = BytesDigest()
        start = 0
        for cut in sorted(min(cut, len(data)) for cut in cuts):
            fed.update(data[start:cut])
            start = cut
            fed = BytesDigest.resume(fed.chain, io.BytesIO(data), cut)
        fed.update(data[start:])
        assert (fed.value, fed.chain, fed.length) == (whole.value, whole.chain, len(data))


@given(data=st.binary(min_size=1, max_size=40), at=st.integers(0, 39))
def test_bytes_digest_sees_every_changed_byte(data: bytes, at: int) -> None:
    at %= len(data)
    other = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_identity, "GRAIN", 8)
        digests = [BytesDigest.of_file(io.BytesIO(text), len(text)).value for text in (data, other)]
    assert digests[0] != digests[1]


def test_bytes_digest_of_a_shorter_file_says_its_length() -> None:
    assert BytesDigest.of_file(io.BytesIO(b"abc"), 10).length == 3


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`, which itself waits a little."""
    while not condition():
        pass


def test_read_ahead_gives_items_in_order_then_is_exhausted() -> None:
    ahead = ReadAhead((n for n in range(10)), "test")
    found = []
    while not ahead.exhausted:
        item = ahead.take()
        if item is not None:
            found.append(item)
    ahead.close()
    assert found == list(range(10))


def test_read_ahead_raises_what_the_iterator_raised_after_its_items() -> None:
    def items() -> Generator[str]:
        yield "first"
        raise KeyError("mine")

    ahead = ReadAhead(items(), "test")
    assert ahead.take() == "first"
    with pytest.raises(KeyError, match="mine"):
        until(lambda: ahead.take() is not None)
    assert not ahead.exhausted
    ahead.close()


def test_read_ahead_stops_the_iterator_when_it_is_closed_early() -> None:
    closed = threading.Event()
    made: list[int] = []

    def items() -> Generator[int]:
        try:
            while True:
                made.append(len(made))
                yield len(made)
        finally:
            closed.set()

    ahead = ReadAhead(items(), "test")
    assert ahead.take() == 1
    ahead.close()
    assert closed.is_set()
    assert len(made) <= 5
