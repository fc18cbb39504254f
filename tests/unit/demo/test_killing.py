"""When the demo kills, and which kills count."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Self

import pytest

from krishiv_stream._demo import _killing
from krishiv_stream._demo._errors import DemoKillsMissed, DemoTooShort
from krishiv_stream._demo._killing import Killer, KillPlan
from krishiv_stream._demo._lines import Completed, Ended, JobSpec, Line, Progressed
from krishiv_stream._demo._question import Question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDED = Ended(rows=0, seconds=1.0, guarantee={})
SPEC = JobSpec(
    question=Question(pattern="*", event_time="t", key="k"),
    output="out",
    data_dir="data",
    rate=100.0,
    checkpoint_interval=0.0,
    allow_uncertified=True,
)


class Script:
    """Stands for the job's processes: each says the lines of one life, until it is killed."""

    def __init__(self, *lives: list[Line]) -> None:
        self._lives = iter(lives)

    def __call__(self, spec: JobSpec, log: Path) -> Self:
        self._lines = next(self._lives)
        self.killed = False
        return self

    def lines(self) -> Iterator[Line]:
        for line in self._lines:
            if self.killed:
                return
            yield line

    def kill(self) -> None:
        self.killed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Stored:
    """Stands for the log: what each life finds covered by a checkpoint."""

    def __init__(self, *rows: int) -> None:
        self._rows = iter(rows)

    def rows(self) -> int:
        return next(self._rows)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a killer over 1,000 rows that runs scripted lives."""

    def make(targets: tuple[float, ...], stored: Stored, *lives: list[Line]) -> Killer:
        monkeypatch.setattr(_killing, "Child", Script(*lives))
        plan = KillPlan(targets=targets, checkpoint_interval=0.0)
        return Killer(SPEC, plan, 1_000, stored, random.Random(0))  # type: ignore[arg-type]  # a stand-in

    return make


def ignore(rows: int, kills: list[_killing.Kill]) -> None:
    """Hear nothing."""


def test_kill_waits_for_its_rows_and_for_a_checkpoint_of_this_life(killer: Any, tmp_path: Path) -> None:
    lives = [Progressed(300), Progressed(400), Completed(1), Progressed(410), Progressed(420)]
    subject = killer((200,), Stored(0, 350), lives, [Progressed(650), ENDED])
    assert subject.run(tmp_path / "log", ignore) is ENDED
    (kill,) = subject.kills
    assert (kill.rows, kill.unread, kill.checkpoints, kill.epoch) == (400, 600, 1, 1)


def test_checkpoint_of_the_life_before_does_not_count(killer: Any, tmp_path: Path) -> None:
    first = [Completed(1), Progressed(300)]
    second = [Progressed(100), Progressed(200), Completed(2), Progressed(300)]
    subject = killer((200, 250), Stored(0, 290, 400), first, second, [ENDED])
    subject.run(tmp_path / "log", ignore)
    assert [kill.rows for kill in subject.kills] == [300, 490]
    assert [kill.epoch for kill in subject.kills] == [1, 2]


def test_kill_does_not_count_when_nearly_everything_was_read(killer: Any, tmp_path: Path) -> None:
    # At 100 rows/s ten more may have been read since the process last said something.
    first = [Completed(1), Progressed(990)]
    subject = killer((500,), Stored(0, 980), first, [Progressed(20), ENDED])
    with pytest.raises(DemoKillsMissed) as caught:
        subject.run(tmp_path / "log", ignore)
    assert (caught.value.fields["kills"], caught.value.fields["wanted"]) == (0, 1)
    assert (subject.kills, subject.uncounted) == ([], 1)


def test_job_that_ends_before_its_kills_is_no_demo(killer: Any, tmp_path: Path) -> None:
    subject = killer((500,), Stored(0), [Progressed(400), ENDED])
    with pytest.raises(DemoKillsMissed, match="0 of 1 kills"):
        subject.run(tmp_path / "log", ignore)


def test_listener_hears_rows_once_although_they_were_read_again(killer: Any, tmp_path: Path) -> None:
    heard: list[int] = []
    first = [Completed(1), Progressed(300)]
    subject = killer((200,), Stored(0, 250), first, [Progressed(0), Progressed(750), ENDED])
    subject.run(tmp_path / "log", lambda rows, kills: heard.append(rows))
    assert heard == [0, 300, 250, 1_000, 1_000]


@pytest.mark.parametrize("kills", [0, 1, 3, 20])
def test_kills_are_spread_over_the_input_and_leave_time_after_the_last(kills: int) -> None:
    plan = KillPlan.draw(kills, 2_000_000, 100_000, random.Random(kills))
    assert len(plan.targets) == kills
    assert list(plan.targets) == sorted(plan.targets)
    assert all(100_000 <= target <= 1_500_000 for target in plan.targets)
    assert 0.1 <= plan.checkpoint_interval <= 1.0


def test_same_seed_kills_at_the_same_rows() -> None:
    draws = [KillPlan.draw(3, 1_000, 10, random.Random(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_input_too_short_for_its_kills_is_refused_with_a_rate_that_would_do() -> None:
    with pytest.raises(DemoTooShort) as caught:
        KillPlan.draw(3, 1_000, 1_000, random.Random(0))
    rate = float(caught.value.hint.split()[1])
    assert KillPlan.draw(3, 1_000, rate, random.Random(0)).targets
