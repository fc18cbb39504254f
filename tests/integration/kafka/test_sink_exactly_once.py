"""Epochs reach a topic exactly once, whatever happens to committers, their transactions and the broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import pytest

from krishiv_checkpoint import CommitStatus, FailpointError, Fenced, FilesystemStore, Mark
from krishiv_connectors._errors import MarkMoved
from krishiv_connectors.kafka._errors import KafkaFailed
from krishiv_connectors.kafka._marks import MarkReader, SlotKey, _Reading
from krishiv_connectors.kafka._transactions import Transactions
from tests.integration.kafka.sinks import armed, stage, target_at
from tests.services.fixtures import create_topic
from tests.unit.sinks.contract import LINEAGE, OTHER_LINEAGE, Attempt, batch, rows_of

if TYPE_CHECKING:
    from krishiv_checkpoint import Committable
    from krishiv_connectors.kafka._marks import SlotMark
    from tests.integration.kafka.sinks import TopicTarget
    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")
ROOT = Path(__file__).parents[3]

DONE, ALREADY, LATER = [CommitStatus.DONE], [CommitStatus.ALREADY_DONE], [CommitStatus.RETRY_LATER]


class NewTarget(Protocol):
    """Makes a target at a topic of its own, on the shared broker or another one."""

    def __call__(self, broker: Broker | None = None, **options: object) -> TopicTarget: ...


@pytest.fixture
def new_target(kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Path) -> NewTarget:
    def make(broker: Broker | None = None, **options: object) -> TopicTarget:
        client = (broker or kafka).client()
        return target_at(client, create_topic(client, 2), FilesystemStore(tmp_path / "s"), tmp_path / "s", **options)

    return make


def apply_in(attempt: Attempt, committable: Committable) -> list[CommitStatus]:
    """Commit until it is not to be tried again later, as the engine does."""
    for _ in range(20):
        statuses = attempt.commit(committable)
        if statuses != LATER:
            return statuses
        time.sleep(0.5)
    raise AssertionError(f"{committable} was not applied in time")


def apply_or_stop(attempt: Attempt, committable: Committable) -> list[CommitStatus] | None:
    """Commit; None: a newer attempt has written, and this one may not."""
    try:
        return apply_in(attempt, committable)
    except Fenced:
        return None


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> list[None]:
    """Return a list that grows whenever `method` is called."""
    calls: list[None] = []
    real = getattr(owner, method)

    def count(self: object, *args: object) -> object:
        calls.append(None)
        return real(self, *args)

    monkeypatch.setattr(owner, method, count)
    return calls


def impatient(monkeypatch: pytest.MonkeyPatch, key: SlotKey) -> None:
    """Have every reader of marks take what `key` has open for left behind, as it does when the broker is slow."""
    real = MarkReader.read

    def read(self: MarkReader) -> dict[SlotKey, SlotMark]:
        self._finish({key})
        return real(self)

    monkeypatch.setattr(MarkReader, "read", read)


def slow_to_begin(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the broker give the first records to each reader of marks after `seconds`."""
    real, begun = _Reading.take, dict[int, float]()

    def take(self: _Reading) -> bool:
        if time.monotonic() - begun.setdefault(id(self), time.monotonic()) < seconds:
            time.sleep(0.05)
            return False
        return real(self)

    monkeypatch.setattr(_Reading, "take", take)


# ---------------------------------------------------------------- committers


def test_two_committers_that_race_apply_an_epoch_once(new_target: NewTarget) -> None:
    target = new_target()
    with Attempt(target) as one, Attempt(target, token=2) as two, ThreadPoolExecutor(2) as pool:
        for epoch in range(1, 6):
            committable = stage(target, epoch, epoch)
            older, newer = pool.map(lambda attempt, c=committable: apply_or_stop(attempt, c), (one, two))
            assert newer in (DONE, ALREADY)
            assert older in (DONE, ALREADY, None)
            assert DONE in (older, newer)
        assert target.rows() == rows_of(1, 2, 3, 4, 5)


def test_an_id_that_is_being_taken_is_not_ended_by_a_reader_that_waits(
    new_target: NewTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = new_target()
    committable, key = stage(target, 1, 1), SlotKey(LINEAGE, "orders", 0)
    taken = counted(monkeypatch, Transactions, "initialise")
    impatient(monkeypatch, key)
    with Attempt(target) as attempt:
        assert attempt.commit(committable) == DONE
    assert len(taken) == 1


def test_a_fenced_committer_that_looks_does_not_end_what_the_newer_one_has_open(
    new_target: NewTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = new_target()
    first, second, third = (stage(target, epoch, epoch) for epoch in (1, 2, 3))
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh:
        assert zombie.committer.last_applied(LINEAGE, 0) is None
        assert fresh.commit(first) == DONE
        with pytest.raises(Fenced):
            zombie.commit(second)
        taken = counted(monkeypatch, Transactions, "initialise")
        impatient(monkeypatch, SlotKey(LINEAGE, "orders", 0))
        assert zombie.committer.last_applied(LINEAGE, 0) == 1
        assert fresh.commit(second) == DONE
        assert fresh.commit(third) == DONE
        assert taken == []
    assert target.rows() == rows_of(1, 2, 3)


def test_a_fenced_committer_whose_epoch_was_applied_finds_out(new_target: NewTarget) -> None:
    target = new_target()
    committable = stage(target, 1, 1)
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh:
        assert zombie.committer.last_applied(LINEAGE, 0) is None
        assert fresh.commit(committable) == DONE
        assert zombie.commit(committable) == ALREADY
        assert target.rows() == rows_of(1)


def test_a_fenced_committer_stops_once_a_newer_attempt_has_written(new_target: NewTarget) -> None:
    target = new_target()
    first, second = stage(target, 1, 1), stage(target, 2, 2)
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh:
        assert zombie.committer.last_applied(LINEAGE, 0) is None
        assert fresh.commit(first) == DONE
        with pytest.raises(Fenced) as caught:
            zombie.commit(second)
        assert caught.value.fields == {"token": 1, "newer": 2}
        assert fresh.commit(second) == DONE
    assert target.rows() == rows_of(1, 2)


def test_a_committer_goes_on_when_a_process_that_wrote_nothing_had_fenced_it(new_target: NewTarget) -> None:
    target = new_target()
    first, second = stage(target, 1, 1), stage(target, 2, 2)
    with Attempt(target, token=2) as living, Attempt(target) as zombie:
        assert living.commit(first) == DONE
        assert zombie.committer.last_applied(LINEAGE, 0) == 1
        assert living.commit(second) == DONE
    assert target.rows() == rows_of(1, 2)


def test_a_zombie_that_wakes_up_within_its_transaction_changes_nothing(new_target: NewTarget) -> None:
    target = new_target()
    committable = stage(target, 1, 1, 2)
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh, ThreadPoolExecutor(1) as pool:
        zombie.committer.last_applied(LINEAGE, 0)
        with armed("sleep:2", 4):  # rows and mark are written, the commit is not
            late = pool.submit(zombie.commit, committable)
            target.wait_for_records(2)
            assert fresh.commit(committable) == DONE
            assert late.result() == ALREADY
    assert target.rows() == rows_of(1, 2)


def test_a_refused_apply_writes_nothing(new_target: NewTarget) -> None:
    target = new_target()
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 4, 1))
        for previous in (0, 3, 5):
            with pytest.raises(MarkMoved):
                attempt.committer.apply(0, 6, previous, 1, iter([batch(2)]))
        assert attempt.committer.last_applied(LINEAGE, 0) == 4
    assert target.rows() == rows_of(1)


# ---------------------------------------------------------------- transactions


@pytest.mark.parametrize("at", range(1, 7))
def test_an_epoch_is_invisible_until_its_transaction_is_committed(new_target: NewTarget, at: int) -> None:
    target = new_target()
    committable = stage(target, 1, 1, 2)
    with Attempt(target) as dead:
        with armed("raise", at), pytest.raises(FailpointError):
            dead.commit(committable)
        if at <= 4:
            assert target.ids(settle=0) == []
    with Attempt(target, token=2) as fresh:
        assert apply_in(fresh, committable) == (DONE if at <= 4 else ALREADY)
    assert target.rows() == rows_of(1, 2)


def test_a_large_epoch_goes_out_in_several_transactions(new_target: NewTarget) -> None:
    target = new_target(max_transaction_bytes=1_000)
    committable = stage(target, 1, *range(50))
    with Attempt(target) as attempt:
        assert attempt.commit(committable) == DONE
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
    assert target.rows() == rows_of(*range(50))


@pytest.mark.parametrize("at", range(2, 22, 3))
@pytest.mark.parametrize("size", [500, 1_000, 64 << 20])
def test_a_large_epoch_that_broke_off_is_completed_whatever_the_size_of_transactions_is_now(
    new_target: NewTarget, at: int, size: int
) -> None:
    target = new_target(max_transaction_bytes=1_000)
    committable = stage(target, 1, *range(30))
    with Attempt(target) as dead, armed("raise", at), pytest.raises(FailpointError):
        dead.commit(committable)
    with Attempt(target.with_options(max_transaction_bytes=size), token=2) as fresh:
        assert fresh.committer.last_applied(LINEAGE, 0) is None
        partly = {mark.epoch for mark in fresh.committer.marks("shop")}
        assert partly == ({1} if target.ids() else set())
        assert fresh.commit(committable) == DONE
        assert fresh.commit(committable) == ALREADY
    assert target.rows() == rows_of(*range(30))


def test_another_epoch_is_refused_while_a_part_of_one_is_published(new_target: NewTarget) -> None:
    target = new_target(max_transaction_bytes=1_000)
    first, other = stage(target, 1, *range(30)), stage(target, 2, 99, previous=0)
    with Attempt(target) as dead, armed("raise", 5), pytest.raises(FailpointError):
        dead.commit(first)
    with Attempt(target, token=2) as fresh:
        with pytest.raises(KafkaFailed, match="messages of epoch 1 are published"):
            fresh.commit(other)
        assert fresh.commit(first) == DONE
    assert target.rows() == rows_of(*range(30))


def test_a_transaction_that_ran_into_its_timeout_is_applied_again(new_target: NewTarget) -> None:
    target = new_target(transaction_timeout=1.0)
    committable = stage(target, 1, 1, 2)
    with Attempt(target) as attempt:
        attempt.committer.last_applied(LINEAGE, 0)
        with armed("sleep:4", 3):  # the broker looks for transactions that are too old once a second
            assert apply_in(attempt, committable) == DONE
    assert target.rows() == rows_of(1, 2)


@pytest.mark.parametrize("answers_after", [0.0, 1.5])
def test_a_mark_behind_the_open_transaction_of_another_slot_is_found(
    new_target: NewTarget, monkeypatch: pytest.MonkeyPatch, answers_after: float
) -> None:
    slow_to_begin(monkeypatch, answers_after)
    target = new_target()
    left_open = stage(target, 1, 1, slot=1)
    with Attempt(target) as dead:
        assert dead.committer.marks("shop") == []
        dead_producer = target.leave_open(LINEAGE, 1, 99)
        assert dead.commit(dead.stage(0, 1, 2)) == DONE
    with Attempt(target, token=2) as fresh:
        began = time.monotonic()
        assert fresh.committer.marks("shop") == [Mark(LINEAGE, "shop", 0, 1)]
        assert fresh.committer.last_applied(LINEAGE, 0) == 1
        assert time.monotonic() - began < 15.0, "the transaction was ended, not waited for"
        assert fresh.commit(left_open) == DONE
    del dead_producer
    assert target.rows() == rows_of(1, 2)


def test_a_strangers_open_transaction_is_waited_for(new_target: NewTarget) -> None:
    target = new_target()
    with Attempt(target) as attempt:
        mine = attempt.stage(0, 1, 1)
        stranger = target.leave_open(OTHER_LINEAGE, 0, 2)
        ended = threading.Timer(3.0, stranger.abort_transaction, (30.0,))
        ended.start()
        began = time.monotonic()
        assert apply_in(attempt, mine) == DONE
        assert time.monotonic() - began > 1.0
        ended.join()
        del stranger, ended
    assert target.rows() == rows_of(1)


def test_marks_are_those_of_jobs_that_wrote_to_the_same_topics(new_target: NewTarget, topic: NewNamedTopic) -> None:
    control = topic(1, cleanup_policy="compact")
    target, elsewhere = new_target(control_topic=control), new_target(control_topic=control)
    with Attempt(target) as attempt, Attempt(elsewhere, lineage=OTHER_LINEAGE) as other:
        attempt.commit(attempt.stage(0, 3, 1))
        other.commit(other.stage(0, 8, 2))
        assert attempt.committer.marks("shop") == [Mark(LINEAGE, "shop", 0, 3)]
        assert other.committer.marks("shop") == [Mark(OTHER_LINEAGE, "shop", 0, 8)]


# ---------------------------------------------------------------- the broker


def test_an_epoch_whose_commit_was_not_answered_is_applied_once(own_kafka: Broker, new_target: NewTarget) -> None:
    target = new_target(own_kafka, transaction_timeout=2.0)
    committables = [stage(target, epoch, epoch) for epoch in (1, 2)]
    with Attempt(target) as attempt, ThreadPoolExecutor(1) as pool:
        assert attempt.commit(committables[0]) == DONE
        with armed("sleep:1", 4):
            late = pool.submit(attempt.commit, committables[1])
            target.wait_for_records(2)
            own_kafka.pause()
            assert late.result() == LATER
        own_kafka.resume()
        assert apply_in(attempt, committables[1]) in (DONE, ALREADY)
    assert target.rows() == rows_of(1, 2)


def test_an_epoch_survives_a_broker_that_is_killed_within_its_transaction(
    own_kafka: Broker, new_target: NewTarget
) -> None:
    target = new_target(own_kafka, transaction_timeout=20.0)
    committables = [stage(target, epoch, epoch) for epoch in (1, 2)]
    with Attempt(target) as attempt, ThreadPoolExecutor(1) as pool:
        assert attempt.commit(committables[0]) == DONE
        with armed("sleep:1", 4):
            late = pool.submit(apply_in, attempt, committables[1])
            target.wait_for_records(2)
            own_kafka.kill()
            own_kafka.start()
            assert late.result() in (DONE, ALREADY)
    assert target.rows() == rows_of(1, 2)


# ---------------------------------------------------------------- processes

_APPLY = """
import sys
from pathlib import Path
import msgspec
from krishiv_checkpoint import Committable, FilesystemStore
from tests.integration.kafka.sinks import target_at
from tests.unit.sinks.contract import Attempt
brokers, topic, folder, size, committable = sys.argv[1:]
store, size = FilesystemStore(Path(folder)), int(size)
target = target_at({"bootstrap.servers": brokers}, topic, store, Path(folder), max_transaction_bytes=size)
with Attempt(target, token=2) as attempt:
    print(*attempt.commit(msgspec.json.decode(committable, type=Committable)))
"""


def apply_in_process(target: TopicTarget, folder: Path, size: int, committable: Committable, failpoints: str) -> str:
    brokers, encoded = str(target.client["bootstrap.servers"]), msgspec.json.encode(committable).decode()
    command = [sys.executable, "-c", _APPLY, brokers, target.topic, str(folder), str(size), encoded]
    environment = {**os.environ, "KRISHIV_FAILPOINTS": failpoints}
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == (-signal.SIGKILL if failpoints else 0), run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("at", [2, 4, 5, 9, 12])
def test_an_epoch_is_completed_by_a_fresh_process_after_a_kill(new_target: NewTarget, tmp_path: Path, at: int) -> None:
    target = new_target()
    committable = stage(target, 1, *range(30))
    apply_in_process(target, tmp_path / "s", 1_000, committable, f"commit.during=kill@{at}")
    assert apply_in_process(target, tmp_path / "s", 700, committable, "") == "done"
    assert apply_in_process(target, tmp_path / "s", 1_000, committable, "") == "already_done"
    assert target.rows() == rows_of(*range(30))
