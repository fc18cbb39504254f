"""The key hash is frozen, depends on values alone, and spreads them."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import krishiv_stream as ks
from krishiv_stream._engine.key_hash import hash_rows, key_groups
from krishiv_stream._expressions.key_types import require_key_type


def one(value: object, kind: pa.DataType) -> int:
    return int(hash_rows([pa.array([value], kind)])[0])


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, pa.int64(), 2273726268113197459),
        (None, pa.int64(), 7403813093390168632),
        (0.0, pa.float64(), 4869437834806479844),
        (float("nan"), pa.float64(), 16584177361945510526),
        ("a", pa.string(), 6005203900495667047),
        (datetime.date(2020, 1, 1), pa.date32(), 6655742047422942968),
        (decimal.Decimal("1.20"), pa.decimal128(10, 2), 18270683247373141719),
    ],
)
def test_hash_is_the_one_in_existing_checkpoints(value, kind, expected):
    assert one(value, kind) == expected


def test_hash_is_the_same_for_every_integer_width_and_for_booleans_as_numbers():
    kinds = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    assert len({one(7, kind) for kind in kinds}) == 1
    assert one(True, pa.bool_()) == one(1, pa.int64())


def test_hash_treats_both_zeros_and_all_nans_alike():
    assert one(-0.0, pa.float64()) == one(0.0, pa.float32())
    other_nan = pa.array(np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64))
    assert int(hash_rows([other_nan])[0]) == one(float("nan"), pa.float64())


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), min_size=1, max_size=30), st.data())
def test_hash_of_text_does_not_depend_on_its_neighbours_or_its_layout(values, data):
    whole = hash_rows([pa.array(values, pa.string())])
    first = data.draw(st.integers(0, len(values) - 1))
    part = pa.array(values, pa.string()).slice(first)
    assert hash_rows([part]).tolist() == whole[first:].tolist()
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        assert hash_rows([pa.array(values, pa.string()).cast(kind)]).tolist() == whole.tolist()


@given(st.lists(st.text(max_size=30), min_size=2, max_size=50, unique=True))
def test_hash_tells_different_texts_apart(values):
    assert len(set(hash_rows([pa.array(values, pa.string())]).tolist())) == len(values)


def test_hash_depends_on_the_order_of_key_columns():
    a, b = pa.array([1, 2]), pa.array([2, 1])
    assert hash_rows([a, b]).tolist() != hash_rows([b, a]).tolist()


@pytest.mark.parametrize("keys", [pa.array(range(100_000)), pa.array([f"user-{n}" for n in range(100_000)])])
def test_key_groups_are_evenly_filled(keys):
    counts = np.bincount(key_groups([keys], 128), minlength=128)
    assert counts.min() > 600
    assert counts.max() < 980


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.decimal256(60, 2)])
def test_keys_of_types_without_a_hash_are_refused_where_they_are_named(kind):
    rows = ks.read(ks.MemorySource(pa.schema([("tags", kind)]).empty_table()))
    with pytest.raises(ks.WrongType, match=r"'tags' .* cannot be a key"):
        rows.key_by("tags")


@pytest.mark.parametrize(
    "kind",
    [
        pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.string(), pa.large_string(), pa.binary(),
        pa.binary(4), pa.string_view(), pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("us"), pa.duration("s"),
        pa.timestamp("ns", tz="UTC"), pa.decimal128(10, 2), pa.dictionary(pa.int8(), pa.string()), pa.null(),
    ],
)  # fmt: skip
def test_every_type_that_may_be_a_key_has_a_hash(kind):
    require_key_type("k", kind)
    assert len(hash_rows([pa.nulls(3, kind)])) == 3
    assert len(set(hash_rows([pa.nulls(3, kind)]).tolist())) == 1
