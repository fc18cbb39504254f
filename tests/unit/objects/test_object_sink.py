"""Exactly-once Parquet in a bucket, over one in memory: the contract, large files, and servers that do not obey."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from botocore.exceptions import ConnectionClosedError

import krishiv_stream as ks
from krishiv_checkpoint import CommitStatus
from krishiv_connectors.objects import ObjectParquetSink, ObjectParquetSource
from krishiv_connectors.objects._errors import BadBucketUrl, BucketUnfit
from krishiv_connectors.objects._fitness import rules_that_hurt
from krishiv_connectors.objects._names import FileName, Folder
from krishiv_connectors.objects._records import PreparedSlot
from tests.unit.objects.memory_bucket import MemoryAddress, MemoryBucket
from tests.unit.sinks.contract import CHECKS, LINEAGE, SCHEMA, Attempt, Target, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_checkpoint import Committable


def target(bucket: MemoryBucket, **options: Any) -> Target:
    def sink() -> ObjectParquetSink:
        made = ObjectParquetSink("s3://memory/out", **options)
        made.address = MemoryAddress(bucket)
        return made

    def rows() -> list[Any]:
        frames = [pl.read_parquet(io.BytesIO(bucket.objects[key][0])) for key in files(bucket)]
        return sorted(row for frame in frames for row in frame.rows())

    def lose(committable: Committable) -> None:
        for file in PreparedSlot.parse(committable.payload).files:
            bucket.abort_upload(file.key, file.upload)

    def damage(committable: Committable) -> None:
        for file in PreparedSlot.parse(committable.payload).files:
            bucket.upload_part(file.key, file.upload, 1, bytes(file.size))

    return Target(sink=sink, rows=rows, lose=lose, damage=damage, rewinds=True)


def files(bucket: MemoryBucket) -> list[str]:
    return [key for key in bucket.objects if key.endswith(".parquet")]


@pytest.mark.parametrize("check", CHECKS)
def test_sink_keeps_the_contract(check: str) -> None:
    CHECKS[check](target(MemoryBucket()))


@pytest.mark.parametrize(
    "check", ["all_slots_of_an_epoch_are_published", "prepared_rows_are_invisible_until_the_commit"]
)
def test_sink_with_a_file_for_each_row_group_keeps_the_contract(check: str) -> None:
    CHECKS[check](target(MemoryBucket(), target_file_size=1, row_group_rows=1))


def test_files_end_at_their_size_and_with_their_epoch() -> None:
    bucket = MemoryBucket()
    with Attempt(target(bucket, target_file_size="6KB", row_group_rows=100)) as attempt:
        for first in range(0, 1_000, 100):
            attempt.write(0, *range(first, first + 100))
        committable = attempt.prepare(0, 1)
        sizes = [file.size for file in PreparedSlot.parse(committable.payload).files]
        assert 1 < len(sizes) < 10
        assert all(size >= 6_000 for size in sizes[:-1])
        attempt.commit(committable)
    assert len(files(bucket)) == len(sizes)


def test_an_abort_leaves_what_another_epoch_prepared() -> None:
    """Of several epochs that wait only those that are named go: the others are in a checkpoint."""
    bucket = MemoryBucket()
    with Attempt(target(bucket)) as dead:
        kept = [dead.stage(0, epoch, epoch) for epoch in (1, 2)]
        dead.stage(0, 3, 3)
    with Attempt(target(bucket), token=2) as fresh:
        doomed = [each for each in fresh.committer.list_prepared(LINEAGE) if each.epoch > 2]
        fresh.committer.abort(doomed)
        assert [set(fresh.commit(each)) for each in kept] == [{CommitStatus.DONE}] * 2
    assert target(bucket).rows() == rows_of(1, 2)
    assert not bucket.open_uploads


class LosesAnswers(MemoryBucket):
    """Completes uploads, or does not, and breaks the connection before it says so."""

    def __init__(self, *, done: bool) -> None:
        super().__init__()
        self.done, self.left = done, 1

    def complete(self, key: str, upload: str, parts: Sequence[str]) -> str:
        if self.left and not self.done:
            self.left -= 1
            raise ConnectionClosedError(endpoint_url=self.place())
        etag = super().complete(key, upload, parts)
        if self.left:
            self.left -= 1
            raise ConnectionClosedError(endpoint_url=self.place())
        return etag


@pytest.mark.parametrize("done", [True, False])
def test_a_completion_without_an_answer_is_found_out_by_looking(done: bool) -> None:
    bucket = LosesAnswers(done=done)
    with Attempt(target(bucket)) as attempt:
        committable = attempt.stage(0, 1, 1, 2)
        assert set(attempt.commit(committable)) == {CommitStatus.DONE if done else CommitStatus.RETRY_LATER}
        attempt.commit(committable)
        assert target(bucket).rows() == rows_of(1, 2)
        assert attempt.committer.last_applied(LINEAGE, 0) == 1


def test_an_upload_that_is_gone_for_good_fails_the_commit() -> None:
    bucket = MemoryBucket()
    with Attempt(target(bucket)) as attempt:
        committable = attempt.stage(0, 1, 1)
        bucket.open_uploads.clear()
        (outcome,) = attempt.outcomes(committable)
        assert outcome.status is CommitStatus.FAILED
        assert "KS-S3-UPLOAD-LOST" in str(outcome)
        assert attempt.committer.last_applied(LINEAGE, 0) is None


def test_manifest_lists_the_files_of_its_epoch() -> None:
    bucket = MemoryBucket()
    with Attempt(target(bucket)) as attempt:
        attempt.commit(attempt.stage(0, 7, 1, 2), attempt.stage(1, 7, 3))
    manifest = json.loads(bucket.objects[Folder(LINEAGE, "orders").epoch(7)][0])
    assert (manifest["epoch"], manifest["job"], manifest["lineage"]) == (7, "shop", LINEAGE)
    assert [file["key"] for file in manifest["files"]] == sorted(files(bucket))
    assert sum(file["rows"] for file in manifest["files"]) == 3
    name = FileName.parse(manifest["files"][0]["key"])
    assert name is not None
    assert (name.epoch, name.token, name.slot, name.lineage, name.sink) == (7, 1, 0, LINEAGE, "orders")


def test_a_server_that_ignores_the_condition_is_refused_before_the_job_runs() -> None:
    sink = target(MemoryBucket(conditional=False)).sink()
    with pytest.raises(BucketUnfit, match="overwrites an object") as refused:
        sink.check(SCHEMA)
    assert refused.value.fields["lacks"] == "conditional create"


def test_rules_that_abort_early_or_remove_objects_are_told() -> None:
    early = {"ID": "tidy", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    expiring = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "out/"}, "Expiration": {"Days": 30}}
    (said,) = rules_that_hurt([early, {**early, "Status": "Disabled"}], "out/")
    assert "tidy aborts uploads after 1 days" in said
    (said,) = rules_that_hurt([expiring], "out/")
    assert "old removes objects" in said
    assert not list(rules_that_hurt([expiring], "other/"))


def test_addresses_pick_the_classes(tmp_path: Any) -> None:
    made: tuple[object, ...] = (
        ks.ParquetSink("s3://b/out"),
        ks.ParquetSink(path="s3://b/out", target_file_size="64MiB"),
        ks.ParquetSource("s3://b/out/*.parquet"),
        ks.ParquetSource(pattern=["s3://b/out"], manifest=True),
        ks.ParquetSink(tmp_path / "out"),
        ks.ParquetSource(tmp_path),
    )
    kinds = [type(each) for each in made]
    assert kinds[:2] == [ObjectParquetSink] * 2
    assert kinds[2:4] == [ObjectParquetSource] * 2
    assert kinds[4:] == [ks.ParquetSink, ks.ParquetSource]


@pytest.mark.parametrize("wrong", [{"part_size": "1MB"}, {"target_file_size": "large"}, {"target_file_size": 0}])
def test_sizes_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ks.ConfigurationError, match="is not a size"):
        ks.ParquetSink("s3://b/out", **wrong)


def test_addresses_without_a_bucket_are_refused() -> None:
    with pytest.raises(BadBucketUrl, match="no address in S3"):
        ks.ParquetSink("s3://")
