"""A case: one named check of one contract, with a seed of its own."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._harness import tell_address
from krishiv_conformance._servers import RunningServer, Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness, StoreHarness
    from krishiv_conformance._servers import Server

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
        Processes killed so far, servers among them; the case counts.
    servers : list of RunningServer
        Those that the case may kill: no other case uses them.
    """

    source: SourceHarness
    sink: SinkHarness
    store: StoreHarness
    workdir: Path
    seed: int
    random: random.Random
    kills: int = 0
    servers: list[RunningServer] = field(default_factory=list[RunningServer])

    @property
    def parts(self) -> tuple[tuple[Harness, Path], ...]:
        """Each harness with its folder."""
        harnesses: tuple[Harness, ...] = (self.source, self.sink, self.store)
        return tuple((harness, self.workdir / harness.role) for harness in harnesses)


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
    kills_servers : bool
        It gets servers of its own.
    """

    name: str
    about: str
    check: Callable[[Ground], None] = field(repr=False)
    optional: bool = False
    kills_servers: bool = False


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
    case: Case,
    *,
    source: SourceHarness,
    sink: SinkHarness,
    store: StoreHarness,
    seed: int,
    keep: Path | None = None,
    servers: Servers | None = None,
) -> CaseResult:
    """Run one case in a directory of its own and say how it ended.

    Parameters
    ----------
    keep : Path, optional
        Where the directory of a case that failed is moved to, to be looked at.
    servers : Servers, optional
        Those that cases share. Without it the case starts what it needs.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        shared = stack.enter_context(Servers()) if servers is None else servers
        ground = stack.enter_context(_ground(case, source, sink, store, seed, keep))
        problem, reached = _verdict(case, ground, shared)
    return CaseResult(
        name=case.name,
        seed=seed,
        passed=not problem,
        reached=reached,
        kills=ground.kills,
        seconds=time.monotonic() - began,
        problem=problem,
    )


def _verdict(case: Case, ground: Ground, shared: Servers) -> tuple[str, bool]:
    with ExitStack() as stack:
        try:
            _set_up(case, ground, shared, stack)
            case.check(ground)
        except NotReached as missed:
            return ("" if case.optional else f"could not be brought about: {missed}"), False
        except CaseFailed as failure:
            return failure.message, True
        except Exception:
            return traceback.format_exc(limit=-6).strip(), True
    return "", True


def _set_up(case: Case, ground: Ground, shared: Servers, stack: ExitStack) -> None:
    """Give each harness its folder and its server. `stack` gets what is to be done in the end, failed or not."""
    own: dict[Server, RunningServer] = {}
    for harness, folder in ground.parts:
        folder.mkdir()
        server = harness.server
        if server is not None and case.kills_servers and server not in own:
            own[server] = stack.enter_context(RunningServer(server))
            ground.servers.append(own[server])
        if server is not None:
            running = own[server] if case.kills_servers else shared.shared(server)
            tell_address(folder, running.address)
    for harness, folder in ground.parts:
        stack.callback(harness.tear_down, folder)
        harness.set_up(folder)


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
