"""What is in the files: columns, types, partitions, row groups."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krishiv_connectors import JsonSink, ParquetSink, SinkContext, TwoPhaseSink
from krishiv_connectors._errors import UnsupportedColumn
from krishiv_connectors.files import _slot_writer
from krishiv_connectors.files._ndjson import encode_lines
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_guarantees import PlanError
from tests.unit.sinks.contract import LINEAGE

if TYPE_CHECKING:
    from pathlib import Path

UTC = dt.UTC
EVERY_TYPE = pa.table(
    {
        "int8": pa.array([1, -2, None], pa.int8()),
        "int64": pa.array([2**62, -(2**62), None], pa.int64()),
        "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "float32": pa.array([0.5, float("inf"), None], pa.float32()),
        "float64": pa.array([1e300, float("nan"), None], pa.float64()),
        "bool": pa.array([True, False, None]),
        "text": pa.array(["a", 'quo"te\n\u2028', None]),
        "large_text": pa.array(["a", "", None], pa.large_string()),
        "choice": pa.array(["x", "y", None]).dictionary_encode(),
        "day": pa.array([dt.date(2026, 1, 1), dt.date(1899, 1, 1), None]),
        "time": pa.array([1, 86_399_999_999, None], pa.time64("us")),
        "millis": pa.array([1, -1, None], pa.timestamp("ms")),
        "micros": pa.array([1, -1, None], pa.timestamp("us", tz="UTC")),
        "nanos": pa.array([1, -1, None], pa.timestamp("ns")),
        "decimal": pa.array([Decimal("1.20"), Decimal("-0.01"), None], pa.decimal128(20, 2)),
        "numbers": pa.array([[1, None], [], None], pa.list_(pa.int64())),
        "pair": pa.array(
            [{"a": 1, "b": "x"}, {"a": None, "b": None}, None], pa.struct({"a": pa.int64(), "b": pa.string()})
        ),
    }
)


def publish(sink: TwoPhaseSink, *tables: pa.Table, batch_rows: int = 65_536) -> None:
    """Write `tables` as the epochs 1, 2, ... of one slot and commit them."""
    from krishiv_checkpoint import Committable

    def ctx(slot: int | None) -> SinkContext:
        return SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=slot, token=1, schema=tables[0].schema)

    import copy

    writer, committer = copy.copy(sink), copy.copy(sink)
    writer.open(ctx(0))
    committer.open(ctx(None))
    for epoch, table in enumerate(tables, 1):
        for batch in table.to_batches(max_chunksize=batch_rows):
            writer.write(batch)
        committer.commit(epoch, [Committable("s", 0, epoch, 1, epoch - 1, writer.prepare(epoch))])
    writer.close()
    committer.close()


def files_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_parquet_sink_stores_every_type_as_it_is(tmp_path: Path) -> None:
    ParquetSink(tmp_path / "out").check(EVERY_TYPE.schema)
    publish(ParquetSink(tmp_path / "out"), EVERY_TYPE)
    (file,) = files_in(tmp_path / "out")
    found = pq.read_table(file)
    assert found.schema.equals(EVERY_TYPE.schema)
    assert found.drop_columns("float64").equals(EVERY_TYPE.drop_columns("float64"))
    assert np.isnan(found["float64"][1].as_py())


@pytest.mark.parametrize("compression", ["none", "snappy", "lz4", "zstd"])
def test_parquet_sink_is_read_alike_by_other_engines(tmp_path: Path, compression: str) -> None:
    rng = np.random.default_rng(1)
    table = pa.table(
        {
            "key": pa.array(rng.integers(-(2**62), 2**62, 10_000)),
            "moment": pa.array(rng.integers(0, 10**15, 10_000), pa.timestamp("us", tz="UTC")),
            "small": pa.array(rng.integers(0, 200, 10_000), pa.uint8(), mask=rng.random(10_000) < 0.1),
            "text": pa.array([f"t{i % 97}" for i in range(10_000)]),
        }
    )
    publish(ParquetSink(tmp_path / "out", compression=compression), table)
    assert pl.read_parquet(tmp_path / "out/*/*.parquet").equals(pl.from_arrow(table))
    with duckdb.connect() as connection:
        aggregates = "sum(key::HUGEINT), max(epoch_us(moment)), sum(small), count(DISTINCT text)"
        query = f"SELECT {aggregates} FROM '{tmp_path}/out/*/*.parquet'"
        keys, moment, small, texts = connection.execute(query).fetchall()[0]
    assert (keys, moment) == (sum(table["key"].to_pylist()), table["moment"].cast(pa.int64()).to_numpy().max())
    assert (small, texts) == (pl.from_arrow(table)["small"].sum(), 97)


def test_parquet_sink_gathers_small_batches_into_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_slot_writer, "BUFFER_BYTES", 50_000)  # more than a group, less than the epoch
    table = pa.table({"id": np.arange(10_000)})
    publish(ParquetSink(tmp_path / "out", row_group_rows=4_000), table, batch_rows=100)
    metadata = pq.read_metadata(files_in(tmp_path / "out")[0])
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4_000, 4_000, 2_000]
    assert metadata.row_group(1).column(0).statistics.min == 4_000


def test_parquet_sink_refuses_a_type_that_parquet_lacks(tmp_path: Path) -> None:
    schema = pa.schema({"gap": pa.month_day_nano_interval()})
    with pytest.raises(UnsupportedColumn, match="gap"):
        ParquetSink(tmp_path / "out").check(schema)


def test_json_sink_writes_lines_that_other_engines_read(tmp_path: Path) -> None:
    table = EVERY_TYPE.drop_columns(["float64", "float32"])
    JsonSink(tmp_path / "out").check(table.schema)
    publish(JsonSink(tmp_path / "out"), table)
    (file,) = files_in(tmp_path / "out")
    with duckdb.connect() as connection:
        row = connection.execute(
            "SELECT int64, uint64, text, day::DATE, epoch_us(micros::TIMESTAMPTZ), "
            f"nanos, decimal::DECIMAL(20, 2), numbers, pair.b FROM read_ndjson('{file}') LIMIT 1"
        ).fetchone()
    assert row is not None
    assert row[:5] == (2**62, 2**64 - 1, "a", dt.date(2026, 1, 1), 1)
    assert row[6:] == (Decimal("1.20"), [1, None], "x")
    assert pl.read_ndjson(file).select("int64", "text", "bool").rows()[1:] == [
        (-(2**62), 'quo"te\n\u2028', False),
        (None, None, None),
    ]


def test_json_text_is_as_documented() -> None:
    table = pa.table(
        {
            "at": pa.array([1_500_000], pa.timestamp("us", tz="UTC")),
            "local": pa.array([0], pa.timestamp("us")),
            "nan": [float("nan")],
            "price": pa.array([Decimal("1.20")]),
            "none": pa.nulls(1, pa.string()),
            "raw": pa.array([b"\xff\x00"]),
        }
    )
    assert bytes(encode_lines(table)) == (
        b'{"at":"1970-01-01T00:00:01.500+00:00","local":"1970-01-01 00:00:00","nan":null,"price":"1.20","none":null,'
        b'"raw":"/wA="}\n'
    )


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_json_lines_of_parts_make_the_lines_of_the_whole(cuts: list[int], offset: int, length: int) -> None:
    whole = pa.table({"id": np.arange(40), "text": [f"ü{i}\n" for i in range(40)]}).slice(offset, length)
    expected = [f'{{"id":{i},"text":"ü{i}\\n"}}' for i in range(offset, min(40, offset + length))]
    text, start = b"", 0
    for cut in [*cuts, length]:
        text += bytes(encode_lines(whole.slice(start, cut)))
        start += cut
    assert text.decode().split("\n") == [*expected, ""]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.binary()), pa.list_(pa.binary(4)), pa.struct({"x": pa.large_binary()}), pa.decimal256(50, 2)]
)
def test_json_sink_refuses_types_that_text_cannot_hold(tmp_path: Path, kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn, match="raw"):
        JsonSink(tmp_path / "out").check(pa.schema({"raw": kind}))


# ---------------------------------------------------------------- partitions


def test_partitioned_sink_makes_a_folder_per_value_and_leaves_the_column_out(tmp_path: Path) -> None:
    table = pa.table({"day": [1, 2, 1], "shop": ["a", "b", "a"], "id": [1, 2, 3]})
    sink = ParquetSink(tmp_path / "out", partition_by=["day", "shop"])
    sink.check(table.schema)
    publish(sink, table)
    (epoch,) = (tmp_path / "out").iterdir()
    folders = {path.relative_to(epoch).as_posix(): pq.ParquetFile(path).read().to_pydict() for path in files_in(epoch)}
    assert folders == {
        "day=1/shop=a/part-0-0.parquet": {"id": [1, 3]},
        "day=2/shop=b/part-0-1.parquet": {"id": [2]},
    }


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.none() | TEXTS, st.none() | st.booleans()), min_size=1, max_size=20))
def test_partition_values_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str | None, bool | None]]
) -> None:
    texts, flags = [text for text, _ in values], [flag for _, flag in values]
    table = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "flag": pa.array(flags, pa.bool_()),
            "day": pa.array([i % 3 for i in range(len(texts))], pa.date32()),
            "id": np.arange(len(texts)),
        }
    )
    root = tmp_path_factory.mktemp("partitions") / "out"
    publish(ParquetSink(root, partition_by=("text", "flag", "day")), table)
    (epoch,) = root.iterdir()
    partitioning = pa.dataset.partitioning(table.schema.remove(3), flavor="hive")
    found = pa.dataset.dataset(epoch, format="parquet", partitioning=partitioning).to_table()
    assert found.select(table.schema.names).sort_by("id").to_pydict() == table.to_pydict()


def test_partitioned_output_is_read_by_duckdb_and_polars(tmp_path: Path) -> None:
    table = pa.table({"shop": ["a b", "c/d", "a b", "é"], "id": [1, 2, 3, 4]})
    publish(ParquetSink(tmp_path / "out", partition_by="shop"), table)
    expected = [("a b", 1), ("c/d", 2), ("a b", 3), ("é", 4)]
    pattern = f"{tmp_path}/out/**/*.parquet"
    with duckdb.connect() as connection:
        query = f"SELECT shop, id FROM read_parquet('{pattern}', hive_partitioning = true) ORDER BY id"
        assert connection.execute(query).fetchall() == expected
    frame = pl.read_parquet(pattern, hive_partitioning=True)
    assert frame.sort("id").select("shop", "id").rows() == expected


@pytest.mark.parametrize("limits", [(10**9, 64), (2_000, 64), (2_000, 2), (10**9, 2)])
def test_partitioned_sink_keeps_every_row_when_buffers_and_open_files_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    monkeypatch.setattr(_slot_writer, "BUFFER_BYTES", limits[0])
    monkeypatch.setattr(_slot_writer, "MAX_OPEN_FILES", limits[1])
    tables = [pa.table({"key": np.arange(1_000) * 7 % 50, "id": np.arange(1_000) + first}) for first in (0, 1_000)]
    publish(ParquetSink(tmp_path / "out", "key", row_group_rows=15), *tables, batch_rows=64)
    frame = pl.read_parquet(f"{tmp_path}/out/**/*.parquet", hive_partitioning=True)
    assert frame.sort("id").select("id").to_series().to_list() == list(range(2_000))
    assert (frame["id"] % 1_000 * 7 % 50 == frame["key"]).all()


def test_partitioning_splits_a_batch_of_one_value_without_copying() -> None:
    batch = pa.RecordBatch.from_pydict({"day": [1, 1, 1], "id": [1, 2, 3]})
    ((folder, rows),) = HivePartitioning(batch.schema, ["day"]).split(batch)
    assert folder == "day=1/"
    assert rows.column(0).buffers()[1].address == batch.column("id").buffers()[1].address


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (["nope"], "not a column"),
        (["a", "a"], "twice"),
        (["a", "b"], "leaves none"),
        (["b"], "has type double"),
    ],
)
def test_check_refuses_partition_columns_that_cannot_be(tmp_path: Path, columns: list[str], error: str) -> None:
    schema = pa.schema({"a": pa.int64(), "b": pa.float64()})
    with pytest.raises(PlanError, match=error):
        ParquetSink(tmp_path / "out", columns).check(schema)


def test_parquet_sink_refuses_a_row_group_of_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row_group_rows"):
        ParquetSink(tmp_path / "out", row_group_rows=0)
