"""``krishiv-stream savepoints``: the savepoints that a job keeps in its own folder.

They are taken by the process that runs the job: `JobHandle.savepoint`, or ``run --savepoint-on-stop``; and a job starts
from one by ``run --restore NAME``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from krishiv_checkpoint import delete_savepoint, list_savepoints, load_savepoint
from krishiv_stream._cli._options import Place
from krishiv_stream._cli._output import Json, print_json, print_records, print_table
from krishiv_stream._cli._stored import open_job
from krishiv_stream._errors import NotConfirmed

if TYPE_CHECKING:
    from krishiv_checkpoint import Savepoint

__all__ = ["app"]

app = App(name="savepoints", help="Look at the savepoints of a job, and remove them.")

Job = Annotated[str, Parameter(help="The job's name.")]
Name = Annotated[str, Parameter(help="The savepoint's name, or its absolute folder.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]


@app.command
def ls(job: Job, *, json: Json = False, place: Place | None = None) -> None:
    """List the savepoints of a job."""
    rows = [_row(savepoint) for savepoint in list_savepoints(open_job(job, place))]
    print_records(rows, as_json=json, none="no savepoints")


@app.command
def show(job: Job, name: Name, *, json: Json = False, place: Place | None = None) -> None:
    """Show one savepoint and the operators whose state it holds."""
    savepoint = load_savepoint(open_job(job, place), name)
    row = _row(savepoint)
    operators = sorted({snapshot.operator for snapshot in savepoint.manifest.operators})
    if json:
        print_json({**row, "lineage": savepoint.manifest.lineage, "operators": operators})
    else:
        print_table(("savepoint", ""), [*row.items(), ("operators", ", ".join(operators))])


@app.command
def rm(job: Job, name: Name, *, yes: Yes = False, place: Place | None = None) -> None:
    """Remove a savepoint for good; jobs that started from it have copies of their own."""
    store = open_job(job, place)
    savepoint = load_savepoint(store, name)
    if not yes and not _confirmed(f"remove savepoint {name!r} (epoch {savepoint.manifest.epoch}) of job {job!r}?"):
        raise NotConfirmed("the savepoint was not removed", hint="answer y, or give --yes where nobody can answer")
    delete_savepoint(store, name)
    print(f"removed {name}")


def _row(savepoint: Savepoint) -> dict[str, Any]:
    manifest = savepoint.manifest
    files = {file.key: file.size for snapshot in manifest.operators for file in snapshot.files}
    return {
        "name": savepoint.location,
        "epoch": manifest.epoch,
        "created": manifest.created,
        "bytes": sum(files.values()),
        "job": manifest.job,
    }


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
