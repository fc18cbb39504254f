"""A job in a process of its own, to be killed: ``python -m krishiv_conformance._child SPEC``, the spec as JSON.

SIGTERM stops the job. Prints one JSON object per line: ``begun`` (before anything is connected to), ``started``,
``epoch`` (whenever one completes or is committed), ``savepoint``, ``ended``, and ``failed`` with the error's code.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import krishiv_stream as ks
from krishiv_conformance._harness import harness_at
from krishiv_conformance._job import SINK, SOURCE, STORE, JobSpec
from krishiv_conformance._processes import die_with_parent
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from krishiv_stream import JobHandle
    from krishiv_stream._session_options import SessionOptions

__all__ = ["main", "pipeline_of"]

FAILED = 3
"""Exit status of a job that ended with an error."""

_LOOK = 0.02


def main() -> int:
    """Run the job of the spec on the command line."""
    faulthandler.enable()
    die_with_parent()
    spec = msgspec.json.decode(sys.argv[1].encode(), type=JobSpec)
    try:
        result = _run(spec)
    except KrishivError as error:
        _say("failed", code=error.code, message=error.message)
        return FAILED
    _say("ended", state=result.state, rows_out=result.status.rows_out)
    return 0


def pipeline_of(spec: JobSpec) -> ks.Pipeline:
    """Return the pipeline that `spec` describes: source to sink."""
    folder = Path(spec.workdir)
    rows = ks.read(harness_at(spec.source).make(folder / SOURCE), name=SOURCE, max_rate=spec.max_rate)
    return rows.write(harness_at(spec.sink).make(folder / SINK), name=SINK)


def _run(spec: JobSpec) -> ks.JobResult:
    settings: SessionOptions = {
        "profile": "single-node-durable",
        "allow_uncertified": True,
        "parallelism": spec.parallelism,
        "checkpoint_interval": spec.checkpoint_interval,
        "batch_rows": spec.batch_rows,
        "keep_checkpoints": spec.keep_checkpoints,
        "restart_attempts": 0,
    }
    settings.update(harness_at(spec.store).settings(Path(spec.workdir) / STORE))
    session = ks.Session(**settings)
    _say("begun")
    with session.start(pipeline_of(spec), job=spec.job, take_over=spec.take_over) as handle:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=handle.request_stop).start())
        _say("started")
        return _watch(handle, spec.savepoint)


def _watch(handle: JobHandle, savepoint: str) -> ks.JobResult:
    """Tell of every epoch until the job has ended."""
    told: tuple[int, int] = (0, 0)
    while True:
        try:
            return handle.wait(_LOOK)
        except TimeoutError:
            status = handle.status()
        now = (status.epoch_completed, status.epoch_committed)
        if now != told:
            told = now
            _say("epoch", completed=now[0], committed=now[1])
        if savepoint and now[0]:
            _say("savepoint", location=handle.savepoint(savepoint))
            savepoint = ""


def _say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
