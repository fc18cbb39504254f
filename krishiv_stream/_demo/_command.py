"""``krishiv-stream demo``: the main job on generated bids or on the user's own files, killed, compared."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from krishiv_stream._cli._exits import Exit
from krishiv_stream._cli._output import Json
from krishiv_stream._demo._course import Course, DemoOptions
from krishiv_stream._demo._errors import DemoFolderTaken
from krishiv_stream._demo._narration import JsonNarration, TextNarration
from krishiv_stream._demo._question import Question
from krishiv_stream._errors import InvalidSetting

__all__ = ["run_demo"]

Input = Annotated[str | None, Parameter(help="Your own Parquet files: a path, a glob or a folder.")]
EventTime = Annotated[str | None, Parameter(help="With --input: the timestamp column that says when a row happened.")]
Key = Annotated[str | None, Parameter(help="With --input: the column to group by.")]
Value = Annotated[str | None, Parameter(help="With --input: the column to add up; left out: rows are only counted.")]
Above = Annotated[
    float | None,
    Parameter(help="With --value: keep rows whose value is above this; left out: those that have a value."),
]
Rows = Annotated[int, Parameter(help="Bids to make, without --input.", validator=Number(gt=0))]
Rate = Annotated[
    float | None,
    Parameter(help="Rows read per second; left out: so that it takes about 20 s.", validator=Number(gt=0)),
]
Kills = Annotated[int, Parameter(help="How often the job is killed.", validator=Number(gte=0))]
Seed = Annotated[int | None, Parameter(help="Of the bids and the moments of the kills; left out: a random one.")]
Keep = Annotated[
    Path | None, Parameter(help="Keep input, output and checkpoints in this new folder; left out: only if they differ.")
]
AllowUncertified = Annotated[
    bool, Parameter(negative="", help="Run although no certificate covers this source, sink and store; it is shown.")
]


def run_demo(
    *,
    input: Input = None,
    event_time: EventTime = None,
    key: Key = None,
    value: Value = None,
    above: Above = None,
    rows: Rows = 2_000_000,
    rate: Rate = None,
    kills: Kills = 3,
    seed: Seed = None,
    keep: Keep = None,
    allow_uncertified: AllowUncertified = False,
    json: Json = False,
) -> int:
    """Run the main job, kill it three times, and compare its output with a batch query.

    Nexmark bids, or your own files, are filtered and added up per key in windows of 10 seconds, into Parquet files
    with exactly-once commits. The job runs in a process of its own, which is killed with SIGKILL at random moments and
    started again. At the end its output is compared, row by row, with one batch query over the same input. The exit
    status is 0 only if nothing was lost, duplicated or changed.
    """
    options = DemoOptions(
        question=_question(input, event_time, key, value, above),
        rows=rows,
        rate=rate,
        kills=kills,
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        allow_uncertified=allow_uncertified,
    )
    with _folder(keep) as folder, JsonNarration() if json else TextNarration() as narration:
        result = Course(options, folder.path, narration).run()
        narration.end(result)
        if result.exact:
            return Exit.OK
        folder.keep = True
        print(f"everything is kept in {folder.path}", file=sys.stderr)
        return Exit.FAILED


def _question(
    input: str | None, event_time: str | None, key: str | None, value: str | None, above: float | None
) -> Question | None:
    if input is None:
        if stray := [flag for flag, given in _flags_of(event_time, key, value, above) if given is not None]:
            raise InvalidSetting(f"{', '.join(stray)} without --input", hint="--input names the files they speak of")
        return None
    if event_time is None or key is None:
        raise InvalidSetting(
            "--input without --event-time or --key",
            hint="--input 'my/*.parquet' --event-time COLUMN --key COLUMN --value COLUMN",
        )
    if above is not None and value is None:
        raise InvalidSetting("--above without --value", hint="--value names the column that is compared")
    return Question(pattern=input, event_time=event_time, key=key, value=value, above=above)


def _flags_of(event_time: object, key: object, value: object, above: object) -> list[tuple[str, object]]:
    return [("--event-time", event_time), ("--key", key), ("--value", value), ("--above", above)]


class _Folder:
    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path = path
        self.keep = keep


@contextlib.contextmanager
def _folder(keep: Path | None) -> Generator[_Folder]:
    """Give the folder that everything is written to; on leaving it is removed unless it is to be kept."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise DemoFolderTaken(f"{keep} is not empty", hint="name a new folder, or empty it", folder=str(keep))
        keep.mkdir(parents=True, exist_ok=True)
        yield _Folder(keep.absolute(), keep=True)
        return
    made = _Folder(Path(tempfile.mkdtemp(prefix="krishiv-demo-")), keep=False)
    try:
        yield made
    finally:
        if not made.keep:
            shutil.rmtree(made.path, ignore_errors=True)
