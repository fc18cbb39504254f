"""One job over files, run in this process: stopped, spoilt, refused, mended, run again; its output read by others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import FilesystemStore, JobLog
from tests.fault import child
from tests.fault.harness import Job, make_input

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from krishiv_checkpoint import Manifest
    from krishiv_stream._job import JobHandle, JobResult, JobStatus

__all__ = ["FILES", "RATE", "ROWS", "STOP_AT", "FileJob", "durable", "expect", "stop_when", "wait_until"]

ROWS, FILES = 8_000, 4
RATE = 8_000
STOP_AT = ROWS // 4


def durable(data_dir: Path, **options: Any) -> ks.Session:
    """Return a session whose jobs survive the process, with quick checkpoints and no restarts."""
    settings: dict[str, Any] = {
        "profile": "single-node-durable",
        "data_dir": data_dir,
        "checkpoint_interval": "50ms",
        "restart_attempts": 0,
        "allow_uncertified": True,
    }
    return ks.Session(**{**settings, **options})


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Look again and again until it is `true`; `process` is what makes it so, and must live until then."""
    pause = threading.Event()
    while not true():
        assert process.poll() is None, process.communicate()
        pause.wait(0.01)


def stop_when(handle: JobHandle, rows: int, savepoint: str | None = None) -> JobStatus:
    """Take checkpoints until the job has read `rows` rows, then stop it with another; returns how it stood."""
    while handle.status().rows_in < rows:
        handle.checkpoint()
    result = handle.stop(savepoint=savepoint)
    assert result.state == "stopped"
    return result.status


def expect(error: type[BaseException], code: str, *words: str) -> AbstractContextManager[pytest.ExceptionInfo[Any]]:
    """Expect exactly `error` with `code`; each of `words` stands in its message or its hint, and there is a hint."""

    def fits(raised: BaseException) -> bool:
        assert type(raised) is error, f"{type(raised).__name__}: {raised}"
        assert isinstance(raised, ks.KrishivError)
        assert raised.code == code
        assert raised.hint
        missing = [word for word in words if word not in f"{raised.message}\n{raised.hint}"]
        assert not missing, f"{missing} not in: {raised}"
        return True

    return pytest.raises(error, check=fits)


def _is_inside(position: dict[str, Any] | None) -> bool:
    if position is None:
        return False
    if "offset" in position:
        return bool(position["offset"] < position["size"])
    return bool(position["group"] == 0)  # a file of these jobs has one row group


@dataclass
class FileJob:
    """A job from files to files (or to SQLite), exactly once.

    Parameters
    ----------
    folder : Path
        Input, output and checkpoints lie in it, unless `sink_path` or `data_dir` says otherwise.
    kind, sink : str
        Format of the input files, and of the output.
    shape : str
        "tumble", "hop" or "rows", as in `tests.fault`.
    """

    folder: Path
    kind: str = "parquet"
    sink: str = "parquet"
    shape: str = "tumble"
    sink_path: Path | None = None
    data_dir: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    name: str = "job"

    def __post_init__(self) -> None:
        self.pattern = make_input(self.folder / "in", rows=ROWS, files=FILES, kind=self.kind)
        self.read = 0
        self.output = self.sink_path or self.folder / ("out.db" if self.sink == "sqlite" else "out")
        self.data = self.data_dir or self.folder / "data"

    @property
    def files(self) -> list[Path]:
        """The input files, in reading order."""
        return sorted((self.folder / "in").iterdir())

    @property
    def directory(self) -> Path:
        """Where the job keeps its checkpoints."""
        return self.data / "jobs" / self.name

    @property
    def log(self) -> list[Path]:
        """The entries of its log, oldest first."""
        return sorted((self.directory / "log").glob("*"))

    @property
    def appended(self) -> int:
        """How many entries its log has had."""
        return int(self.log[-1].stem) if self.log else 0

    def spec(self, rate: float | None = None) -> dict[str, Any]:
        """Return the job as `tests.fault` describes jobs."""
        return {
            "source": {"kind": self.kind, "pattern": self.pattern},
            "rate": rate,
            "sinks": {self.shape: {"kind": self.sink, "path": str(self.output)}},
            "job": self.name,
            "session": {
                "data_dir": str(self.data),
                "checkpoint_interval": "50ms",
                "restart_attempts": 0,
                **self.settings,
            },
        }

    def pipeline(self, rate: float | None = None) -> ks.Pipeline:
        """Return its pipeline, which reads at most `rate` rows per second."""
        return child.pipeline(self.spec(rate))

    def run(self, rate: float | None = None, **options: Any) -> JobResult:
        """Run it to its end."""
        with durable(self.data, **self.settings) as session:
            return session.run(self.pipeline(rate), job=self.name, **options)

    @contextmanager
    def started(self, **options: Any) -> Iterator[JobHandle]:
        """Start it, slowly."""
        with durable(self.data, **self.settings) as session:
            yield session.start(self.pipeline(RATE), job=self.name, **options)

    def finish(self, **options: Any) -> JobResult:
        """Run it to its end, which must be a good one, and check the output."""
        result = self.run(**options)
        assert result.state == "finished"
        self.check()
        return result

    def stop(self, rows: int = STOP_AT, savepoint: str | None = None) -> None:
        """Run it until it has read `rows` rows more and a checkpoint holds them."""
        with self.started() as handle:
            self.read += stop_when(handle, rows, savepoint).rows_in

    def stop_inside_a_file(self) -> Path:
        """Stop it, and again if need be, so that it stands inside an input file; returns that file."""
        self.stop()
        while not (started := self.started_files()):
            self.stop(1)
        (path,) = started
        return path

    def started_files(self) -> list[Path]:
        """Return the input files that the newest checkpoint stands inside of, neither at the start nor at the end."""
        return [Path(split["id"]) for split in self._source_state()["open"] if _is_inside(split["position"])]

    def finished_files(self) -> list[Path]:
        """Return the input files that were read to their end, by the newest checkpoint."""
        return [Path(id) for id in self._source_state()["finished"]]

    def _source_state(self) -> dict[str, Any]:
        return next(snapshot.inline for snapshot in self.manifest().operators if snapshot.operator == "bids")

    def manifest(self) -> Manifest:
        """Return its newest manifest."""
        manifest = JobLog(FilesystemStore(self.directory)).read().manifest
        assert manifest is not None
        return manifest

    def resume(self, **options: Any) -> None:
        """Finish it; it must go on exactly where it was stopped, and its output must be exact."""
        assert 0 < self.read < ROWS
        assert self.finish(**options).status.rows_in == ROWS - self.read

    def check(self) -> None:
        """Have duckdb, polars or sqlite3 read the output, and compare it with duckdb's answer over the input."""
        Job(self.folder, self.spec()).check()
