"""Decode many values at once, and tell the bad ones from the good when that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from krishiv_connectors.codecs._codec import BadValue, Decoded
from krishiv_connectors.files._text_format import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Malformed", "decode_apart", "no_rows", "one_sentence", "with_bad"]

T = TypeVar("T")
_LONGEST = 300


def decode_apart(
    items: Sequence[T],
    decode: Callable[[Sequence[T]], pa.RecordBatch],
    schema: pa.Schema,
    suspects: Callable[[Sequence[T]], Iterable[int]] = lambda items: (),
) -> Decoded:
    """Return the rows of `items`, by whole-batch decodes.

    Parameters
    ----------
    items : sequence
        One item for each row.
    decode : callable
        Returns exactly one row per item, or raises `Malformed` if any of them is bad.
    schema : pa.Schema
        What `decode` returns.
    suspects : callable
        Names places of items that are probably bad, once a decode has failed: each is then tried alone. A wrong
        guess costs time, nothing else.

    Notes
    -----
    A bad item that is no suspect is found by bisection: at most ``2 log2(n) + 1`` decodes, of ``3 n`` items.
    """
    if not items:
        return Decoded(no_rows(schema))
    try:
        return Decoded(decode(items))
    except Malformed as error:
        if len(items) == 1:
            return Decoded(no_rows(schema), (BadValue(0, one_sentence(error)),))
    batches: list[pa.RecordBatch] = []
    bad: list[BadValue] = []
    # Ranges still to be decoded, the first on top.
    ranges = list(reversed(_ranges(len(items), suspects(items))))
    while ranges:
        start, stop = ranges.pop()
        try:
            batches.append(decode(items[start:stop]))
        except Malformed as error:
            if stop - start == 1:
                bad.append(BadValue(start, one_sentence(error)))
            else:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
    rows = pa.concat_batches(batches) if batches else no_rows(schema)
    return Decoded(rows, tuple(bad))


def _ranges(count: int, suspects: Iterable[int]) -> list[tuple[int, int]]:
    """Return `count` places as ranges: each suspect by itself, and what lies between; without any, two halves."""
    ranges: list[tuple[int, int]] = []
    start = 0
    for place in suspects:
        ranges += [(start, place), (place, place + 1)]
        start = place + 1
    ranges = ranges or [(0, count // 2)]
    ranges.append((ranges[-1][1], count))
    return [(first, last) for first, last in ranges if first < last]


def with_bad(decoded: Decoded, places: Sequence[int], bad: Sequence[BadValue]) -> Decoded:
    """Return `decoded`, whose items were the values at `places`, with the values that were bad before."""
    if not bad:
        return decoded
    moved = [BadValue(places[value.index], value.error) for value in decoded.bad]
    return Decoded(decoded.batch, tuple(sorted([*moved, *bad], key=lambda value: value.index)))


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of `schema` without rows."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def one_sentence(error: BaseException | str) -> str:
    """Return what `error` says, on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
