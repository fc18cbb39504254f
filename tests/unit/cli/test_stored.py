"""Commands that look at what is stored: checkpoints and savepoints of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import (
    BarrierKind,
    Committable,
    FilesystemStore,
    Fingerprint,
    JobLog,
    Manifest,
    OperatorIdentity,
    OperatorSnapshot,
    Takeover,
    create_savepoint,
)
from krishiv_stream._cli import _savepoints
from krishiv_stream._cli._exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Outcome

    Cli = Callable[..., Outcome]

JOB = "totals"


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FilesystemStore:
    """The store of a job with three checkpoints and a savepoint of the newest."""
    monkeypatch.setenv("KRISHIV_DATA_DIR", str(folder / "data"))
    store = FilesystemStore(folder / "data" / "jobs" / JOB)
    log = JobLog(store)
    log.append(Takeover(1, JOB, "lineage-1", 1, "writer-1", 0))
    manifests = [write_manifest(store, log, epoch) for epoch in (1, 2, 3)]
    create_savepoint(log, manifests[-1], "before-upgrade", {"out": {"0": 3}})
    return store


def write_manifest(store: FilesystemStore, log: JobLog, epoch: int) -> Manifest:
    """Append the manifest of an epoch with one state file and one pending committable."""
    with store.writer(f"state/1-{epoch}/window-0-0.arrow") as writer:
        writer.write(b"state of epoch %d" % epoch)
        file = writer.finish()
    manifest = Manifest(
        format=1,
        job=JOB,
        lineage="lineage-1",
        token=1,
        writer="writer-1",
        epoch=epoch,
        highest_epoch=epoch,
        kind=BarrierKind.CHECKPOINT,
        fingerprint=Fingerprint((OperatorIdentity("window", "window", True),)),
        operators=(OperatorSnapshot("window", 0, (0, 128), {}, (file,)),),
        committed_through={"out": {"0": epoch - 1}},
        pending=(Committable("out", 0, epoch, 1, epoch - 1, b"x"),),
        created="2026-01-02T03:04:05Z",
    )
    log.append(manifest)
    return manifest


@pytest.mark.usefixtures("store")
def test_checkpoints_are_listed_oldest_first(cli: Cli) -> None:
    rows = cli("checkpoints", "ls", JOB, "--json").json
    assert [(row["epoch"], row["bytes"], row["uncommitted"]) for row in rows] == [(1, 16, 1), (2, 16, 1), (3, 16, 1)]
    assert "2026-01-02T03:04:05Z" in cli("checkpoints", "ls", JOB).out


@pytest.mark.usefixtures("store")
def test_jobs_are_listed_when_none_is_named(cli: Cli) -> None:
    (row,) = cli("checkpoints", "ls", "--json").json
    assert (row["job"], row["epoch"], row["checkpoints"], row["savepoints"]) == (JOB, 3, 3, 1)
    assert row["lineage"] == "lineage-1"


@pytest.mark.parametrize(("arguments", "epoch"), [((), 3), (("--epoch", "2"), 2)])
@pytest.mark.usefixtures("store")
def test_checkpoint_is_shown_with_its_state_and_what_is_pending(
    cli: Cli, arguments: tuple[str, ...], epoch: int
) -> None:
    shown = cli("checkpoints", "show", JOB, *arguments, "--json").json
    assert shown["epoch"] == epoch
    assert shown["operators"] == [{"operator": "window", "subtask": 0, "key groups": "0-128", "files": 1, "bytes": 16}]
    assert shown["committed"] == [{"sink": "out", "slot": 0, "through epoch": epoch - 1}]
    assert shown["pending"] == [{"sink": "out", "slot": 0, "epoch": epoch, "token": 1}]
    text = cli("checkpoints", "show", JOB, *arguments).out
    assert "window" in text
    assert "lineage-1" in text


@pytest.mark.usefixtures("store")
def test_checkpoint_is_missed_when_its_epoch_is_not_kept(cli: Cli) -> None:
    outcome = cli("checkpoints", "show", JOB, "--epoch", "9")
    assert outcome.code == Exit.CHECKPOINT
    assert "epoch 9" in outcome.err


@pytest.mark.usefixtures("store")
def test_checkpoints_are_verified_when_they_are_sound(cli: Cli) -> None:
    outcome = cli("checkpoints", "verify", JOB)
    assert (outcome.code, outcome.err) == (Exit.OK, "")
    assert "3 checkpoints, 1 savepoints" in outcome.out
    assert cli("checkpoints", "verify", JOB, "--json").json == {"job": JOB, "problems": []}


@pytest.mark.parametrize(
    "damaged", ["state/1-2/window-0-0.arrow", "log/00000000000000000003.json", "savepoints/before-upgrade/1-3/0.arrow"]
)
@pytest.mark.parametrize("how", ["flip", "remove"])
def test_checkpoints_fail_verification_when_anything_is_damaged(
    cli: Cli, store: FilesystemStore, damaged: str, how: str
) -> None:
    path = store.root / damaged
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3] + b"!!!")
    outcome = cli("checkpoints", "verify", JOB, "--json")
    assert outcome.code == Exit.CHECKPOINT
    assert [problem["key"] for problem in outcome.json["problems"]] == [damaged]


@pytest.mark.usefixtures("store")
def test_job_is_missed_with_the_jobs_there_are(cli: Cli) -> None:
    for arguments in (("checkpoints", "ls"), ("checkpoints", "verify"), ("savepoints", "ls")):
        outcome = cli(*arguments, "nosuch")
        assert outcome.code == Exit.USAGE
        assert f"jobs there: {JOB}" in outcome.err


def test_checkpoints_in_memory_cannot_be_looked_at(cli: Cli) -> None:
    outcome = cli("checkpoints", "ls")
    assert outcome.code == Exit.USAGE
    assert "--data-dir" in outcome.err


@pytest.mark.usefixtures("folder")
def test_no_jobs_are_listed_where_there_are_none(cli: Cli) -> None:
    assert cli("checkpoints", "ls", "--data-dir", "nowhere").out == "no jobs\n"
    assert cli("checkpoints", "ls", "--data-dir", "nowhere", "--json").json == []


def test_checkpoints_are_found_where_the_checkpoints_setting_points(cli: Cli, store: FilesystemStore) -> None:
    place = store.root.parents[1]
    for named in (str(place), f"file://{place}"):
        assert len(cli("checkpoints", "ls", JOB, "--json", "--checkpoints", named).json) == 3


@pytest.mark.usefixtures("store")
def test_savepoints_are_listed_and_shown(cli: Cli) -> None:
    (row,) = cli("savepoints", "ls", JOB, "--json").json
    assert (row["name"], row["epoch"], row["bytes"]) == ("before-upgrade", 3, 16)
    shown = cli("savepoints", "show", JOB, "before-upgrade", "--json").json
    assert shown["operators"] == ["window"]
    assert "before-upgrade" in cli("savepoints", "show", JOB, "before-upgrade").out


@pytest.mark.usefixtures("store")
def test_savepoint_is_missed_with_those_there_are(cli: Cli) -> None:
    outcome = cli("savepoints", "show", JOB, "nosuch")
    assert outcome.code == Exit.CHECKPOINT
    assert "before-upgrade" in outcome.err


@pytest.mark.usefixtures("store")
def test_savepoint_is_removed_only_when_that_is_confirmed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = cli("savepoints", "rm", JOB, "before-upgrade")
    assert refused.code == Exit.USAGE
    assert "--yes" in refused.err
    assert len(cli("savepoints", "ls", JOB, "--json").json) == 1
    monkeypatch.setattr(_savepoints, "_confirmed", lambda question: "epoch 3" in question)
    assert cli("savepoints", "rm", JOB, "before-upgrade").code == Exit.OK
    assert cli("savepoints", "ls", JOB).out == "no savepoints\n"


@pytest.mark.usefixtures("store")
def test_savepoint_is_removed_without_a_question_when_told_so(cli: Cli) -> None:
    assert cli("savepoints", "rm", JOB, "before-upgrade", "--yes").code == Exit.OK
    assert cli("savepoints", "ls", JOB, "--json").json == []
