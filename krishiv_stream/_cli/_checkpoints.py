"""``krishiv-stream checkpoints``: what the log of a job says, and whether what it refers to is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from krishiv_checkpoint import CorruptState, JobLog, list_checkpoints, list_savepoints, show_checkpoint, verify
from krishiv_stream._cli._options import Place
from krishiv_stream._cli._output import Json, print_json, print_records, print_table
from krishiv_stream._cli._stored import job_names, open_job

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointInfo, CheckpointStore, Problem

__all__ = ["app"]

app = App(name="checkpoints", help="Look at the checkpoints of a job.")

Job = Annotated[str, Parameter(help="The job's name.")]
SomeJob = Annotated[str | None, Parameter(help="The job's name; left out: every job, one line each.")]
Epoch = Annotated[int | None, Parameter(help="The epoch; left out: the newest.")]


@app.command
def ls(job: SomeJob = None, *, json: Json = False, place: Place | None = None) -> None:
    """List the checkpoints of a job, oldest first, or all jobs."""
    if job is None:
        rows = [_job_row(name, open_job(name, place)) for name in job_names(place)]
    else:
        rows = [_row(info) for info in list_checkpoints(open_job(job, place))]
    print_records(rows, as_json=json, none="no jobs" if job is None else "no checkpoints")


@app.command
def show(job: Job, *, epoch: Epoch = None, json: Json = False, place: Place | None = None) -> None:
    """Show one checkpoint: its operators' state, what is committed, what is pending."""
    details = _details(show_checkpoint(open_job(job, place), epoch=epoch))
    if json:
        print_json(details)
        return
    tables = {key: details.pop(key) for key in ("operators", "committed", "pending")}
    print_table(("checkpoint", ""), list(details.items()))
    for title, rows in tables.items():
        print(f"{title}:")
        print_records(rows, as_json=False, none="  none")


@app.command(name="verify")
def verify_job(job: Job, *, json: Json = False, place: Place | None = None) -> None:
    """Read the log, every state file and every savepoint of a job, and check each against its digest."""
    store = open_job(job, place)
    problems = _lasting_problems(store)
    if json:
        print_json({"job": job, "problems": problems})
    if problems:
        listed = "; ".join(f"{each.key}: {each.message}" for each in problems)
        raise CorruptState(
            f"{len(problems)} problems in what is stored of job {job!r}: {listed}",
            hint="put the files back as they were, or restore from a savepoint that is sound",
            job=job,
        )
    if not json:
        print(f"{job}: sound. {len(list_checkpoints(store))} checkpoints, {len(list_savepoints(store))} savepoints")


def _lasting_problems(store: CheckpointStore) -> list[Problem]:
    """Verify, and once more if something is missing: a running job may have retired it while we read."""
    problems = verify(store)
    if not problems:
        return problems
    again = {problem.key for problem in verify(store)}
    return [problem for problem in problems if problem.key in again]


def _job_row(name: str, store: CheckpointStore) -> dict[str, Any]:
    view = JobLog(store).read()
    return {
        "job": name,
        "state": view.finish.kind if view.finish else "can go on",
        "epoch": view.manifest.epoch if view.manifest else None,
        "created": view.manifest.created if view.manifest else None,
        "checkpoints": len(list(view.manifests())),
        "savepoints": len(list_savepoints(store)),
        "token": view.token,
        "lineage": view.lineage,
    }


def _row(info: CheckpointInfo) -> dict[str, Any]:
    return {
        "epoch": info.manifest.epoch,
        "kind": info.manifest.kind.value,
        "created": info.manifest.created,
        "token": info.manifest.token,
        "entry": info.sequence,
        "files": info.files,
        "bytes": info.bytes,
        "uncommitted": len(info.manifest.pending),
    }


def _details(info: CheckpointInfo) -> dict[str, Any]:
    manifest = info.manifest
    return {
        "job": manifest.job,
        "lineage": manifest.lineage,
        "writer": manifest.writer,
        "format": manifest.format,
        **_row(info),
        "operators": [
            {
                "operator": snapshot.operator,
                "subtask": snapshot.subtask,
                "key groups": f"{snapshot.key_groups[0]}-{snapshot.key_groups[1]}",
                "files": len(snapshot.files),
                "bytes": sum(file.size for file in snapshot.files),
            }
            for snapshot in manifest.operators
        ],
        "committed": [
            {"sink": sink, "slot": int(slot), "through epoch": epoch}
            for sink, slots in manifest.committed_through.items()
            for slot, epoch in slots.items()
        ],
        "pending": [
            {"sink": each.sink, "slot": each.slot, "epoch": each.epoch, "token": each.token}
            for each in manifest.pending
        ],
    }
