"""Listing, showing and verifying: what the command line says about a job's checkpoints."""

from __future__ import annotations

import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    CorruptManifest,
    JobLog,
    KeyMissing,
    list_checkpoints,
    retire,
    show_checkpoint,
    verify,
)
from krishiv_checkpoint._keys import log_key
from krishiv_checkpoint._sealed import seal
from tests.unit.checkpoint_store.support import manifest, overwrite, takeover


def test_list_shows_every_manifest_with_its_size(job: CheckpointStore) -> None:
    infos = list_checkpoints(job)
    assert [(i.sequence, i.manifest.epoch, i.files, i.bytes) for i in infos] == [
        (2, 1, 2, 9),
        (3, 2, 2, 9),
        (4, 3, 2, 9),
    ]


def test_show_finds_by_place_by_epoch_or_the_newest(job: CheckpointStore) -> None:
    assert show_checkpoint(job, sequence=2).manifest.epoch == 1
    assert show_checkpoint(job, epoch=2).sequence == 3
    assert show_checkpoint(job).manifest.epoch == 3


def test_show_takes_the_newest_of_equal_epochs(job: CheckpointStore) -> None:
    """P2: a restored savepoint repeats its epoch under a new token."""
    log = JobLog(job)
    log.append(takeover(2))
    log.append(manifest(2, token=2))
    assert show_checkpoint(job, epoch=2).manifest.token == 2


@pytest.mark.parametrize("wanted", [{"sequence": 1}, {"epoch": 9}])
def test_show_says_what_is_not_there(job: CheckpointStore, wanted: dict[str, int]) -> None:
    with pytest.raises(KeyMissing, match="there is no e"):
        show_checkpoint(job, **wanted)


def test_an_empty_store_has_no_checkpoints_and_no_problems(store: CheckpointStore) -> None:
    assert list_checkpoints(store) == []
    assert verify(store) == []
    with pytest.raises(KeyMissing):
        show_checkpoint(store)
    assert store.list("") == []


def test_verify_is_content_with_a_sound_job(job: CheckpointStore) -> None:
    assert verify(job) == []


def test_inspection_changes_nothing(job: CheckpointStore) -> None:
    before = {key: bytes(job.get(key)) for key in job.list("")}
    list_checkpoints(job)
    verify(job)
    assert {key: bytes(job.get(key)) for key in job.list("")} == before


def test_verify_names_everything_that_is_wrong_at_once(job: CheckpointStore) -> None:
    """P12: digests of every entry and of every file; it does not stop at the first."""
    overwrite(job, log_key(3), b"noise")
    overwrite(job, "state/1-3/delta.arrow", b"54321")
    job.delete("state/1-1/base.arrow")
    (saved, *_) = [key for key in job.list("savepoints/") if key.endswith(".arrow")]
    overwrite(job, saved, b"")
    problems = {problem.key: problem.code for problem in verify(job)}
    assert problems == {
        log_key(3): "KS-MANIFEST-CORRUPT",
        "state/1-3/delta.arrow": "KS-STATE-CORRUPT",
        "state/1-1/base.arrow": "KS-STATE-CORRUPT",
        saved: "KS-STATE-CORRUPT",
    }
    with pytest.raises(CorruptManifest):
        list_checkpoints(job)


def test_verify_finds_gaps_broken_chains_and_newer_formats(job: CheckpointStore) -> None:
    """P12."""
    job.delete(log_key(2))
    document = bytes(job.get(log_key(4)))
    changed = document[: document.rindex(b',"sha256"')].replace(b'"previous":"', b'"previous":"x') + b"}"
    overwrite(job, log_key(4), seal(changed)[0])
    overwrite(job, log_key(1), seal(b'{"format":9}')[0])
    found = [(problem.key, problem.code) for problem in verify(job)]
    assert (log_key(1), "KS-FORMAT-FUTURE") in found
    assert (log_key(2), "KS-MANIFEST-CORRUPT") in found
    assert (log_key(4), "KS-MANIFEST-CORRUPT") in found


def test_verify_names_a_damaged_savepoint(job: CheckpointStore) -> None:
    overwrite(job, "savepoints/s/savepoint.json", b"{}")
    assert [(p.key, p.code) for p in verify(job)] == [("savepoints/s", "KS-MANIFEST-CORRUPT")]


def test_verify_does_not_miss_what_was_retired(job: CheckpointStore) -> None:
    log = JobLog(job)
    log.keep_manifests(1)
    log.append(manifest(4))
    retire(log, job, 1, 1)
    assert verify(job) == []
