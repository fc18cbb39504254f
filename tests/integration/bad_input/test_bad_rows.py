"""Rows and lines that do not parse: they stop the job, are dropped and counted, or become dead letters, each once."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import arm, disarm
from krishiv_connectors._errors import BadCsvRow, BadJsonLine
from krishiv_stream import col
from tests.fault import child
from tests.fault.harness import Job
from tests.integration.bad_input.support import RATE, ROWS, FileJob, durable, expect, stop_when

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krishiv_stream._job import JobResult

BAD = {
    "csv": [
        b"seven,1,50,1970-01-01T00:00:01Z",
        b"1,2",
        b"1,2,3,4,5,6,7",
        b"1,2,50,yesterday",
        b'1,2,"50,1970-01-01T00:00:01Z',
        b"1,2,50.5,1970-01-01T00:00:01Z",
        b"\xff\xfe\xfd",
    ],
    "ndjson": [
        b'{"id":1,"auction":2,"price":',
        b'{"id":"seven","auction":2,"price":50,"date_time":"1970-01-01T00:00:01+00:00"}',
        b'{"id":1,"auction":2,"price":50,"date_time":"yesterday"}',
        b"[1,2,3]",
        b"not json at all",
        b'{"id":1} {"id":2}',
        b"\xff\xfe\xfd",
    ],
}
ERRORS = {"csv": (BadCsvRow, "KS-CSV-ROW"), "ndjson": (BadJsonLine, "KS-JSON-LINE")}


@dataclass
class SpoiltJob:
    """A job of which some input lines are bad; `clean` are its files without them."""

    job: FileJob
    clean: Path
    letters: Path

    @property
    def kind(self) -> str:
        """Format of the input."""
        return self.job.kind

    def spoil(self) -> None:
        """Put every kind of bad line into every file: at its beginning, at its end and at random places."""
        numbers = random.Random(7)
        for path in self.job.files:
            lines = path.read_bytes().splitlines()
            first = 1 if self.kind == "csv" else 0
            bad = BAD[self.kind]
            for line in bad:
                lines.insert(numbers.randint(first, len(lines)), line)
            lines[first:first] = bad[:2]
            lines.append(bad[-1])
            path.write_bytes(b"\n".join(lines) + b"\n")

    def pipeline(self, on_bad_row: str | ks.Sink, rate: float | None = None) -> ks.Pipeline:
        """Return the pipeline of `tests.fault`, with `on_bad_row`."""
        spec = self.job.spec()
        rows = ks.read(
            child.source(spec["source"]),
            event_time="date_time",
            watermark=ks.bounded_delay("2s"),
            name="bids",
            max_rate=rate,
            on_bad_row=on_bad_row,
        )
        used = rows.filter(col("price") > 10).select("id", "auction", "price")
        return used.write(child.sink(spec["sinks"]["rows"]), name="rows")

    def run(self, on_bad_row: str | ks.Sink) -> JobResult:
        """Run it to its end."""
        with durable(self.job.data) as session:
            return session.run(self.pipeline(on_bad_row), job=self.job.name)

    def check(self) -> None:
        """Compare the output with duckdb's answer over the clean files."""
        spec = self.job.spec()
        spec["source"]["pattern"] = str(self.clean / f"*.{self.kind}")
        Job(self.job.folder, spec).check()

    def check_letters(self) -> None:
        """Every bad line of every file is a dead letter once, by duckdb and by polars; each says what and where."""
        pattern = f"{self.letters}/**/*.parquet"
        wanted = Counter([*BAD[self.kind], *BAD[self.kind][:2], BAD[self.kind][-1]] * len(self.job.files))
        letters = pl.read_parquet(pattern)
        assert Counter(letters["raw"].to_list()) == wanted
        assert Counter(raw for (raw,) in duckdb.sql(f"select raw from '{pattern}'").fetchall()) == wanted
        assert letters["source"].unique().to_list() == ["bids"]
        assert letters["code"].unique().to_list() == [ERRORS[self.kind][1]]
        assert letters["error"].str.len_chars().min() > 0
        for place, raw in letters.select("place", "raw").rows():
            self._check_place(place, raw)

    def _check_place(self, place: str, raw: bytes) -> None:
        path, row, offset = place.replace(" at byte ", ", row ").split(", row ")
        with open(path, "rb") as file:
            file.seek(int(offset))
            assert file.readline().rstrip(b"\n") == raw
        header = 1 if self.kind == "csv" else 0
        with open(path, "rb") as file:
            assert file.read().splitlines()[int(row) - 1 + header] == raw


@pytest.fixture(params=["csv", "ndjson"])
def spoilt(request: pytest.FixtureRequest, tmp_path: Path) -> SpoiltJob:
    """A job over text files with bad lines."""
    job = FileJob(tmp_path, kind=request.param, shape="rows")
    spoilt = SpoiltJob(job, tmp_path / "clean", tmp_path / "letters")
    shutil.copytree(tmp_path / "in", spoilt.clean)
    return spoilt


@pytest.fixture
def disarmed() -> Iterator[None]:
    """No failpoint stays armed."""
    yield
    disarm()


def test_bad_row_stops_the_job_which_resumes_once_the_row_is_mended(spoilt: SpoiltJob) -> None:
    path = spoilt.job.files[1]
    lines = path.read_bytes().splitlines()
    lines.insert(900, BAD[spoilt.kind][0])
    path.write_bytes(b"\n".join(lines) + b"\n")
    error, code = ERRORS[spoilt.kind]
    row = 900 if spoilt.kind == "csv" else 901
    with durable(spoilt.job.data) as session:
        handle = session.start(spoilt.pipeline("fail", RATE), job=spoilt.job.name)
        with expect(error, code, str(path), f"row {row}", 'on_bad_row="drop"') as told:
            handle.wait()
        assert handle.status().epoch_completed > 0
    assert told.value.fields["raw"] == BAD[spoilt.kind][0]
    shutil.copy(spoilt.clean / path.name, path)
    assert 0 < spoilt.run("fail").status.rows_in < ROWS
    spoilt.check()


def test_job_that_a_bad_row_stopped_goes_on_when_such_rows_are_dropped(spoilt: SpoiltJob) -> None:
    spoilt.spoil()
    error, code = ERRORS[spoilt.kind]
    with expect(error, code, str(spoilt.job.files[0]), "row 1 "):
        spoilt.run("fail")
    assert spoilt.run("drop").status.dropped_rows == 40
    spoilt.check()


def test_bad_rows_become_dead_letters_each_once(spoilt: SpoiltJob) -> None:
    spoilt.spoil()
    result = spoilt.run(ks.ParquetSink(spoilt.letters))
    assert (result.status.rows_in, result.status.dropped_rows) == (ROWS, 40)
    spoilt.check()
    spoilt.check_letters()


def test_dead_letters_stay_exact_over_a_stop(spoilt: SpoiltJob) -> None:
    spoilt.spoil()
    with durable(spoilt.job.data) as session:
        handle = session.start(spoilt.pipeline(ks.ParquetSink(spoilt.letters), RATE), job=spoilt.job.name)
        first = stop_when(handle, ROWS // 3)
    rest = spoilt.run(ks.ParquetSink(spoilt.letters)).status
    assert (first.rows_in + rest.rows_in, first.dropped_rows + rest.dropped_rows) == (ROWS, 40)
    spoilt.check()
    spoilt.check_letters()


@pytest.mark.usefixtures("disarmed")
@pytest.mark.parametrize("step", ["prepare.after", "ack.before", "manifest.after", "commit.after"])
def test_dead_letters_stay_exact_over_a_failure_at(spoilt: SpoiltJob, step: str) -> None:
    spoilt.spoil()
    arm(step, "raise", at=4)
    with durable(spoilt.job.data, tolerable_failed_checkpoints=0) as session:
        handle = session.start(spoilt.pipeline(ks.ParquetSink(spoilt.letters), RATE), job=spoilt.job.name)
        with pytest.raises(Exception, match=step):
            handle.wait()
    disarm()
    spoilt.run(ks.ParquetSink(spoilt.letters))
    spoilt.check()
    spoilt.check_letters()
