"""The hash that assigns rows to key groups. It is frozen: key groups are written into checkpoints.

Each value becomes 64 bits that depend on its value alone (integers of any width alike, -0.0 like 0.0, every NaN
alike, a null its own constant), is mixed with the finaliser of SplitMix64 (Steele, Lea, Flood 2014), and the columns
of a key are folded in order. Strings and binaries are taken eight bytes at a time. All of it is vectorised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from krishiv_stream._expressions.key_types import is_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["hash_rows", "key_group_owners", "key_group_range", "key_groups"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0xD1B54A32D192ED03)
_NAN = np.float64("nan")
_BYTE_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], dtype=np.uint64)


def key_groups(columns: Sequence[pa.Array], groups: int) -> NDArray[np.int64]:
    """Return the key group of each row, 0 to ``groups - 1``."""
    return (hash_rows(columns) % np.uint64(groups)).astype(np.int64)


def key_group_owners(subtasks: int, groups: int) -> NDArray[np.unsignedinteger]:
    """Return which of `subtasks` owns each of `groups` key groups; the smallest type, which sorts fastest."""
    return (np.arange(groups) * subtasks // groups).astype(np.min_scalar_type(subtasks))


def key_group_range(subtask: int, subtasks: int, groups: int) -> tuple[int, int]:
    """Return the first and past-last key group of a subtask: those that `key_group_owners` gives to it."""
    return -(-subtask * groups // subtasks), -(-(subtask + 1) * groups // subtasks)


def hash_rows(columns: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """Return a 64-bit hash per row of `columns`, all of equal length n; n uint64."""
    rows = len(columns[0])
    result = np.full(rows, _GOLDEN, dtype=np.uint64)
    for column in columns:
        result = _mix(result * np.uint64(31) + _mix(_bits(column)))
    return result


def _bits(column: pa.Array) -> NDArray[np.uint64]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return np.full(len(column), _NULL, dtype=np.uint64)
    if is_bytes(column.type):
        values = _bytes_bits(column)
    elif pa.types.is_decimal128(column.type):
        values = _bytes_bits(column.cast(pa.string()))
    else:
        values = _word_bits(column)
    if column.null_count:
        values = np.where(_nulls(column), _NULL, values)
    return values


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)


def _word_bits(column: pa.Array) -> NDArray[np.uint64]:
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = np.asarray(pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False))
        numbers = np.where(np.isnan(numbers), _NAN, numbers + 0.0)
        return numbers.view(np.uint64)
    if pa.types.is_uint64(kind):
        return np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), dtype=np.uint64)
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    integers = column.cast(pa.int64())
    filled = pc.fill_null(integers, 0) if integers.null_count else integers
    return np.asarray(filled.to_numpy(zero_copy_only=False)).view(np.uint64)


def _bytes_bits(column: pa.Array) -> NDArray[np.uint64]:
    column = column.cast(pa.large_binary())
    filled = pc.fill_null(column, b"") if column.null_count else column
    _, offsets_buffer, data = filled.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    lengths = np.diff(offsets)
    words = _sliding_words(data, int(offsets[0]), int(offsets[-1]))
    starts = offsets[:-1] - offsets[0]
    result = lengths.astype(np.uint64)
    for start in range(0, int(lengths.max(initial=0)), 8):
        active = np.nonzero(lengths > start)[0]
        taken = np.minimum(lengths[active] - start, 8)
        word = words[starts[active] + start] & _BYTE_MASKS[taken]
        result[active] = _mix(result[active] * np.uint64(31) + word)
    return result


def _sliding_words(data: pa.Buffer | None, first: int, past: int) -> NDArray[np.uint64]:
    """Return the little-endian 64-bit word that begins at each byte of ``data[first:past]``, zeros past its end."""
    raw = np.empty(0, np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)[first:past]
    padded = np.concatenate([raw, np.zeros(8, np.uint8)])
    return np.ndarray(shape=(len(raw) + 1,), dtype="<u8", buffer=padded.data, strides=(1,))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))
