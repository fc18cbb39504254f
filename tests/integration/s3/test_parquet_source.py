"""Parquet objects as a source: by pattern, and by whole epochs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import FailpointError
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_connectors import NoMatchingFiles, SourceContext
from krishiv_connectors.objects._errors import ObjectChanged, ObjectVanished
from tests.integration.s3.objects import Output, output_target
from tests.unit.sinks.contract import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.s3.gateway import Gateway

pytestmark = pytest.mark.server("s3")

TABLE = pa.table({"id": pa.array(range(10), pa.int64()), "name": [f"n{i}" for i in range(10)]})


@pytest.fixture
def output(s3: Gateway) -> Output:
    return Output(s3)


def source(output: Output, rest: str = "", **options: Any) -> Any:
    return ks.ParquetSource(output.url + rest, storage=output.storage, **options)


def put(output: Output, key: str, table: pa.Table = TABLE) -> None:
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=4)
    with output.bucket() as bucket:
        bucket.put(key, written.getvalue())


def batches(found: Any, position: Any = None, split: int = 0, rows: int = 3) -> Iterator[tuple[pa.RecordBatch, Any]]:
    ctx = SourceContext(batch_rows=rows)
    reader = found.open(found.splits()[split], position, ctx)
    try:
        while not reader.finished:
            batch = reader.read()
            if batch is not None:
                yield batch, reader.position()
    finally:
        reader.close()
        ctx.close()


def ids(found: Any) -> list[int]:
    return [
        each
        for split in range(len(found.splits()))
        for batch, _ in batches(found, split=split)
        for each in batch["id"].to_pylist()
    ]


def test_globs_and_prefixes_find_what_files_would(output: Output) -> None:
    for key in ("a.parquet", "b.parquet", "deep/er/c.parquet", "_hidden/d.parquet", "e.csv"):
        put(output, key)
    names = {
        rest: [split.payload["path"] for split in source(output, rest).splits()]
        for rest in ("", "/*.parquet", "/**/*.parquet", "/[!b].parquet", "/a.parquet")
    }
    assert names[""] == ["out/a.parquet", "out/b.parquet", "out/deep/er/c.parquet"]
    assert names["/*.parquet"] == ["a.parquet", "b.parquet"]
    assert names["/**/*.parquet"] == ["_hidden/d.parquet", "a.parquet", "b.parquet", "deep/er/c.parquet"]
    assert names["/[!b].parquet"] == ["a.parquet"]
    assert names["/a.parquet"] == ["out/a.parquet"]
    with pytest.raises(NoMatchingFiles, match="nothing"):
        source(output, "/nothing*").splits()


def test_every_position_is_exact(output: Output) -> None:
    put(output, "a.parquet")
    found = source(output)
    whole = [each for batch, _ in batches(found) for each in batch["id"].to_pylist()]
    assert whole == list(range(10))
    for batch, position in batches(found):
        rest = [each for after, _ in batches(found, position) for each in after["id"].to_pylist()]
        assert rest == list(range(batch["id"][-1].as_py() + 1, 10))


def test_large_object_is_read_in_ranges(output: Output) -> None:
    table = pa.table({"id": pa.array(range(300_000), pa.int64()), "text": [f"{i * 7919:040d}" for i in range(300_000)]})
    written = io.BytesIO()
    pq.write_table(table, written, compression="none", use_dictionary=False)
    assert written.tell() > 9 << 20
    with output.bucket() as bucket:
        bucket.put("large.parquet", written.getvalue())
    got = pa.Table.from_batches([batch for batch, _ in batches(source(output), rows=65_536)])
    assert got.equals(table)


def test_replaced_and_removed_objects_stop_the_reader(output: Output) -> None:
    put(output, "a.parquet")
    found = source(output)
    found.schema()
    (split,) = found.splits()
    _, position = next(iter(batches(found)))
    put(output, "a.parquet", TABLE.slice(1))
    with pytest.raises(ObjectChanged):
        next(batches(found, position))
    for after, error in ((lambda: None, ObjectChanged), (lambda: remove(output, "a.parquet"), ObjectVanished)):
        after()
        ctx = SourceContext()
        reader = found.open(split, None, ctx)
        with pytest.raises(error):
            drain(reader)
        reader.close()
        ctx.close()


def drain(reader: Any) -> None:
    while not reader.finished:
        reader.read()


def remove(output: Output, key: str) -> None:
    with output.bucket() as bucket:
        bucket.delete(key)


def test_folders_are_columns(output: Output) -> None:
    with Attempt(output_target(output, partition_by="name")) as attempt:
        attempt.commit(attempt.stage(0, 1, 5, 7))
    typed = pa.schema([("name", pa.string()), ("id", pa.int64())])
    for schema in (None, typed):
        found = source(output, manifest=True, schema=schema)
        rows = sorted(
            (row["id"], row["name"])
            for split in (0, 1)
            for batch, _ in batches(found, split=split)
            for row in batch.to_pylist()
        )
        assert rows == [(5, "n5"), (7, "n7")]


def test_epoch_whose_commit_died_half_way_is_not_read_by_manifest(output: Output) -> None:
    with Attempt(output_target(output)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1), attempt.stage(1, 1, 2))
        committables = [attempt.stage(0, 2, 3), attempt.stage(1, 2, 4)]
        arm("commit.during", "raise", 2)  # when one of the two uploads is completed
        try:
            with pytest.raises(FailpointError):
                attempt.commit(*committables)
        finally:
            disarm()
        assert len(output.keys()) == 3  # which a plain reader sees
        assert sorted(ids(source(output, manifest=True))) == [1, 2]
    with Attempt(output_target(output), token=2, previous={0: 1, 1: 1}) as fresh:
        fresh.commit(*committables)
    assert sorted(ids(source(output, manifest=True))) == [1, 2, 3, 4]


def test_new_epochs_are_found_while_following_and_come_last(output: Output) -> None:
    following = source(output, manifest=True, follow=True)
    assert list(following.splits()) == []
    with Attempt(output_target(output)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        first = [split.id for split in following.later_splits()]
        attempt.commit(attempt.stage(0, 2, 2))
        assert [split.id for split in following.later_splits()][:1] == first
    assert ids(following) == [1, 2]


def test_epochs_are_read_in_order_when_their_manifests_were_put_together(output: Output) -> None:
    with Attempt(output_target(output)) as attempt:
        for epoch in range(1, 305, 4):
            attempt.commit(attempt.stage(0, epoch, epoch))
    with output.bucket() as bucket:
        assert any("/ranges/" in found.key for found in bucket.list())
    assert ids(source(output, manifest=True)) == list(range(1, 305, 4))


def test_arguments_that_do_not_fit_are_refused(output: Output, tmp_path: Any) -> None:
    with pytest.raises(ks.ConfigurationError, match="manifest=True with a pattern"):
        source(output, "/*.parquet", manifest=True)
    with pytest.raises(ks.ConfigurationError, match="no address in S3"):
        ks.ParquetSource(tmp_path, manifest=True)
    with pytest.raises(ks.ConfigurationError, match="no address in S3"):
        ks.ParquetSink(tmp_path, storage=output.storage)
