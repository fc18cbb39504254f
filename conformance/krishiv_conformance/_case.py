"""A case: one named check of one contract, with a seed of its own."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_conformance._errors import CaseFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from krishiv_conformance._harness import SinkHarness, SourceHarness, StoreHarness

__all__ = ["Case", "CaseResult", "Ground", "NotReached", "expect", "run_case"]


class NotReached(Exception):
    """The fault that a case is about could not be brought about: nothing was shown, good or bad."""


@dataclass(kw_only=True)
class Ground:
    """What a case stands on: the three harnesses, a directory of its own, random numbers of its own.

    Parameters
    ----------
    workdir : Path
        Holds a folder per harness.
    random : random.Random
        Drawn from the case's name and the seed: the same case with the same seed does the same.
    kills : int
        Processes killed so far; the case counts.
    """

    source: SourceHarness
    sink: SinkHarness
    store: StoreHarness
    workdir: Path
    seed: int
    random: random.Random
    kills: int = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One check.

    Parameters
    ----------
    name : str
        Unique, with ``/`` between part, group and what it is about: ``"sink/kill/manifest.after"``.
    about : str
        What must hold, in a sentence.
    check : callable (Ground) -> None
        Raises `CaseFailed` if it does not; `NotReached` if that could not be found out.
    optional : bool
        May stay unreached: the place of the fault is in the connector, whose author marked none.
    """

    name: str
    about: str
    check: Callable[[Ground], None] = field(repr=False)
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How a case ended.

    Parameters
    ----------
    passed : bool
        It held, or it is an optional one that was not reached.
    reached : bool
        Whether it showed anything.
    problem : str
        What was found wrong; empty if nothing.
    """

    name: str
    seed: int
    passed: bool
    reached: bool
    kills: int
    seconds: float
    problem: str = ""


def expect(holds: bool, problem: str) -> None:
    """Raise `CaseFailed` with `problem` unless `holds`."""
    if not holds:
        raise CaseFailed(problem)


def run_case(
    case: Case, *, source: SourceHarness, sink: SinkHarness, store: StoreHarness, seed: int, keep: Path | None = None
) -> CaseResult:
    """Run one case in a directory of its own and say how it ended.

    Parameters
    ----------
    keep : Path, optional
        Where the directory of a case that failed is moved to, to be looked at.
    """
    began = time.monotonic()
    with _ground(case, source, sink, store, seed, keep) as ground:
        problem, reached = _verdict(case, ground)
    return CaseResult(
        name=case.name,
        seed=seed,
        passed=not problem,
        reached=reached,
        kills=ground.kills,
        seconds=time.monotonic() - began,
        problem=problem,
    )


def _verdict(case: Case, ground: Ground) -> tuple[str, bool]:
    parts = (
        (ground.source, ground.workdir / "source"),
        (ground.sink, ground.workdir / "sink"),
        (ground.store, ground.workdir / "store"),
    )
    try:
        for harness, folder in parts:
            folder.mkdir()
            harness.set_up(folder)
        case.check(ground)
    except NotReached as missed:
        return ("" if case.optional else f"could not be brought about: {missed}"), False
    except CaseFailed as failure:
        return failure.message, True
    except Exception:
        return traceback.format_exc(limit=-6).strip(), True
    finally:
        for harness, folder in parts:
            harness.tear_down(folder)
    return "", True


@contextmanager
def _ground(
    case: Case, source: SourceHarness, sink: SinkHarness, store: StoreHarness, seed: int, keep: Path | None
) -> Generator[Ground]:
    workdir = Path(tempfile.mkdtemp(prefix="krishiv-case-"))
    ground = Ground(
        source=source,
        sink=sink,
        store=store,
        workdir=workdir,
        seed=seed,
        random=random.Random(f"{case.name} {seed}"),
    )
    try:
        yield ground
    finally:
        if keep is not None:
            shutil.copytree(workdir, keep / f"{case.name.replace('/', '-')}-{seed}", dirs_exist_ok=True)
        shutil.rmtree(workdir, ignore_errors=True)
