"""A server that is killed under a running job, within a commit, and together with the job.

The job may wait for its server and go on, or end with an error and be started again. What it may not do is lose or
double rows, hang, or end without a word.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached, expect
from krishiv_conformance._cases.job_kills import BEFORE_THEM, WITHIN_COMMIT
from krishiv_conformance._cases.source_kills import RATE, ROWS
from krishiv_conformance._children import PATIENCE
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_conformance._case import Ground
    from krishiv_conformance._children import Child
    from krishiv_conformance._servers import RunningServer

__all__ = ["combination_server_cases", "server_cases"]

UNDER_A_JOB = (1, 2, 3)
RACES = (1, 2, 3, 4)

STEPS = ("prepare.after", "manifest.after", "commit.before", "commit.after")
"""Where a process dies whose server dies with it."""

AWAY = 1.0
"""Seconds, at most, that a server is left dead; starting it again comes on top."""
ANSWERED = 0.1
"""Seconds in which a server has done what the job asked of it before it was stopped."""
A_KILL_TAKES = 0.2
"""Seconds, at most, from asking for a kill to the server's death."""


def server_cases(part: str) -> list[Case]:
    """Return the cases of a part that talks to a server: of a ``"sink"``, also those within a commit."""
    about = "The server is killed while the job runs, at a moment drawn by the seed, and started again."
    cases = [_case(part, f"under-a-job-{number}", about, _under_a_job) for number in UNDER_A_JOB]
    if part == "sink":
        cases += [_within_commit(number) for number in WITHIN_COMMIT]
        about = "The server is killed while a commit goes on; which of them is faster, nobody knows."
        cases += [_case(part, f"racing-{number}", about, _racing, optional=True) for number in RACES]
    return [
        *cases,
        _case(part, "with-the-job", "The job's process dies at a step, and the server with it.", _with_the_job),
        _case(part, "away-at-start", "The server is dead when a killed job is started again.", _away_at_start),
    ]


def combination_server_cases() -> list[Case]:
    """Return the cases of a combination of which a part talks to a server."""
    about = "The server is killed under the job, and when it is back, the job's process; then it is finished."
    return [Case(name="combination/server", about=about, check=_one_after_the_other, kills_servers=True)]


def _case(part: str, name: str, about: str, check: Callable[[Ground], None], *, optional: bool = False) -> Case:
    return Case(name=f"{part}/server/{name}", about=about, check=check, optional=optional, kills_servers=True)


def _within_commit(number: int) -> Case:
    def check(ground: Ground) -> None:
        trial, server = Trial(ground), _one_of(ground)
        with trial.start(f"commit.during=stop@{BEFORE_THEM + number}") as child:
            _await_stop(trial, child)
            child.wait_seconds(ground.random.choice((0.0, ANSWERED)))
            _kill(ground, server)
            if ground.random.random() < 0.5:
                child.resume()
                child.wait_seconds(ground.random.uniform(AWAY / 2, AWAY))
                server.start()
            else:
                server.start()
                child.resume()
            trial.see_through(child)

    about = "The server is killed within commit, where its author marked a step; the job goes on before or after."
    return _case("sink", f"commit.during-{number}", about, check, optional=True)


def _under_a_job(ground: Ground) -> None:
    trial, server = Trial(ground, rows=ROWS), _one_of(ground)
    with trial.start(max_rate=RATE) as child:
        _kill_under(ground, server, child)
        trial.check_part("after the server was killed")
        trial.see_through(child)


def _racing(ground: Ground) -> None:
    trial, server = Trial(ground), _one_of(ground)
    at = BEFORE_THEM + ground.random.choice(WITHIN_COMMIT)
    with trial.start(f"commit.during=stop@{at}") as child:
        _await_stop(trial, child)
        killer = threading.Thread(target=_kill, args=(ground, server))
        killer.start()
        child.wait_seconds(ground.random.uniform(0.0, A_KILL_TAKES))
        child.resume()
        killer.join()
        child.wait_seconds(ground.random.uniform(0.0, AWAY))
        server.start()
        trial.see_through(child)


def _with_the_job(ground: Ground) -> None:
    trial, server = Trial(ground, rows=ROWS), _one_of(ground)
    trial.die_at(ground.random.choice(STEPS), ground.random.randint(2, 4), max_rate=RATE)
    _kill(ground, server)
    server.start()
    trial.check_part("after the job's process and the server were killed")
    trial.finish()


def _away_at_start(ground: Ground) -> None:
    trial, server = Trial(ground, rows=ROWS), _one_of(ground)
    trial.die_at("manifest.after", ground.random.randint(2, 4), max_rate=RATE)
    _kill(ground, server)
    with trial.start() as child:
        child.wait_begun()
        child.wait_seconds(ground.random.uniform(AWAY / 2, 2 * AWAY))
        server.start()
        trial.see_through(child)


def _one_after_the_other(ground: Ground) -> None:
    trial, server = Trial(ground, rows=ROWS), _one_of(ground)
    slots = ground.random.choice((1, 2))
    with trial.start(max_rate=RATE, parallelism=slots) as child:
        _kill_under(ground, server, child)
        if child.wait_seconds(ground.random.uniform(0.0, AWAY)):
            ended = child.wait()
            expect(ended.finished or ended.failed, f"the server was killed under the job, and {ended}")
        else:
            child.kill()
            trial.count_kill(child.wait())
    trial.finish(parallelism=slots)


# ---------------------------------------------------------------- steps


def _one_of(ground: Ground) -> RunningServer:
    """Return the server that the case is about: one of two, where source and sink each have one."""
    return ground.random.choice(ground.servers)


def _kill(ground: Ground, server: RunningServer) -> None:
    server.kill()
    ground.kills += 1


def _kill_under(ground: Ground, server: RunningServer, child: Child) -> None:
    """Kill the server of a job that is under way, and start it again."""
    child.wait_epoch(PATIENCE)
    if child.wait_seconds(ground.random.uniform(0.0, 0.5)):
        expect(child.wait().finished, f"before the server was killed, {child.wait()}")
        raise NotReached("the job finished before its server was killed")
    _kill(ground, server)
    child.wait_seconds(ground.random.uniform(0.0, AWAY))
    server.start()


def _await_stop(trial: Trial, child: Child) -> None:
    if not child.wait_stopped():
        trial.expect_finished(child.wait())
        raise NotReached("the job finished without a commit that was far enough")
