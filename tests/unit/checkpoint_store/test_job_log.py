"""P9: one chained log, appended to by conditional creates, that tells a fenced writer that it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    CorruptManifest,
    Fenced,
    FilesystemStore,
    JobLog,
    KeyExists,
    Manifest,
    MemoryStore,
    Takeover,
    retire,
)
from krishiv_checkpoint._keys import log_key
from tests.unit.checkpoint_store.support import (
    LINEAGE,
    OTHER,
    Wrapped,
    committable,
    finish,
    manifest,
    overwrite,
    reply_lost,
    takeover,
)

if TYPE_CHECKING:
    from pathlib import Path


def epochs(log: JobLog) -> list[int]:
    return [m.epoch for m in log.read().manifests()]


def test_append_numbers_and_chains_entries(store: CheckpointStore) -> None:
    """P9, P12: each entry carries its number, the digest of the one before and its own."""
    log = JobLog(store)
    first, second = log.append(takeover()), log.append(manifest(1))
    assert store.list("log/") == [log_key(1), log_key(2)]
    assert (first.previous, second.previous) == ("", first.digest)
    assert JobLog(store).read().records == (first, second)


def test_entries_survive_the_round_trip_through_json(store: CheckpointStore) -> None:
    log = JobLog(store)
    written = manifest(1, committed={"out": {"0": 1}}, pending=(committable(2), committable(2, slot=1)))
    log.append(takeover())
    log.append(written)
    log.append(finish(1))
    assert [r.entry for r in JobLog(store).read().records] == [takeover(), written, finish(1)]


def test_read_of_an_empty_log_says_that_nothing_is_there(store: CheckpointStore) -> None:
    view = JobLog(store).read()
    assert (view.records, view.lineage, view.token, view.manifest, view.tip) == ((), "", 0, None, None)


def test_view_tells_who_holds_the_job_and_what_it_continues_from() -> None:
    log = JobLog(MemoryStore())
    log.append(takeover(1, highest=0))
    log.append(manifest(4, highest=5))
    log.append(takeover(2, highest=7))
    view = log.read()
    assert (view.token, view.writer, view.lineage, view.highest_epoch) == (2, "w2", LINEAGE, 7)
    assert view.manifest == manifest(4, highest=5)


def test_a_manifest_after_the_finish_opens_the_job_again() -> None:
    """P7: FINISHED holds until something replaces the state."""
    log = JobLog(MemoryStore())
    for entry in (takeover(1), manifest(1), finish(1)):
        log.append(entry)
    assert log.read().finish == finish(1)
    log.append(takeover(2))
    assert log.read().finish == finish(1)
    log.append(manifest(0, token=2, lineage=OTHER))
    assert log.read().finish is None


def test_append_looks_for_no_tip_by_listing_the_log(store: CheckpointStore) -> None:
    """An append costs one create and one look at one key, however long the log is."""
    wrapped = Wrapped(store)
    log = JobLog(wrapped)
    log.append(takeover())
    looked: list[str] = []
    wrapped.list = lambda prefix: looked.append(prefix) or store.list(prefix)
    wrapped.get = lambda key: looked.append(key) or store.get(key)
    for epoch in range(1, 4):
        log.append(manifest(epoch))
    assert looked == [log_key(n) for n in (1, 2, 3)]


# --- losing a create


def test_append_stops_when_a_higher_token_is_there(store: CheckpointStore) -> None:
    """P9: a higher token in the tail means fenced."""
    zombie = JobLog(store)
    zombie.append(takeover(1))
    JobLog(store).append(takeover(2))
    with pytest.raises(Fenced) as caught:
        zombie.append(manifest(1))
    assert caught.value.fields == {"token": 1, "holder": 2, "writer": "w2"}
    assert epochs(JobLog(store)) == []


def test_append_stays_fenced_when_tried_again(store: CheckpointStore) -> None:
    """P9: reading the tail must not move a fenced writer behind its successor's entries."""
    zombie = JobLog(store)
    zombie.append(takeover(1))
    JobLog(store).append(takeover(2))
    for _ in range(3):
        with pytest.raises(Fenced):
            zombie.append(manifest(1))
    assert len(JobLog(store).read().records) == 2


def test_append_stops_when_another_writer_has_the_same_token(store: CheckpointStore) -> None:
    """P9: a token belongs to one writer."""
    log = JobLog(store)
    log.append(takeover(1, writer="me"))
    with pytest.raises(Fenced):
        JobLog(store).append(manifest(1, token=1, writer="impostor"))
    log.append(manifest(1, token=1, writer="me"))


def test_append_succeeds_when_only_its_reply_was_lost(store: CheckpointStore) -> None:
    """P9: its own writer id and bytes in the tail mean success; the entry is there once."""
    wrapped = Wrapped(store)
    log = JobLog(wrapped)
    log.append(takeover())
    wrapped.after_create = iter([reply_lost])
    log.append(manifest(1))
    log.append(manifest(2))
    assert epochs(JobLog(store)) == [1, 2]


def test_append_finds_its_entry_when_called_again_after_an_unknown_outcome(store: CheckpointStore) -> None:
    """P9: a create that raised may have happened."""

    def connection_lost() -> None:
        raise ConnectionError

    wrapped = Wrapped(store)
    log = JobLog(wrapped)
    log.append(takeover())
    wrapped.after_create = iter([connection_lost])
    with pytest.raises(ConnectionError):
        log.append(manifest(1))
    record = log.append(manifest(1))
    assert record.sequence == 2
    assert epochs(JobLog(store)) == [1]


def test_append_goes_on_when_its_own_earlier_entry_is_in_the_way(store: CheckpointStore) -> None:
    """P9, P4: the manifest of an epoch given up after an unknown outcome is no stranger's."""

    def connection_lost() -> None:
        raise ConnectionError

    wrapped = Wrapped(store)
    log = JobLog(wrapped)
    log.append(takeover())
    wrapped.after_create = iter([connection_lost])
    with pytest.raises(ConnectionError):
        log.append(manifest(1))
    log.append(manifest(2))
    assert epochs(JobLog(store)) == [1, 2]


def test_append_is_fenced_when_its_reply_was_lost_and_a_successor_followed(store: CheckpointStore) -> None:
    """P9: the successor commits what that manifest lists; the writer may only stop."""
    wrapped = Wrapped(store)
    zombie = JobLog(wrapped)
    zombie.append(takeover(1))

    def lost_and_taken_over() -> None:
        JobLog(store).append(takeover(2))
        raise KeyExists("taken")

    wrapped.after_create = iter([lost_and_taken_over])
    with pytest.raises(Fenced):
        zombie.append(manifest(1))
    assert epochs(JobLog(store)) == [1]


# --- taking over


def test_take_over_reads_what_a_zombie_appended_in_between(store: CheckpointStore) -> None:
    """P9: takeover between read and append; the tip is re-read after the takeover is in the log."""
    zombie = JobLog(store)
    zombie.append(takeover(1))
    wrapped = Wrapped(store)
    wrapped.before_create = iter([lambda: zombie.append(manifest(1))])
    view = JobLog(wrapped).take_over(lambda seen: takeover(seen.token + 1))
    assert (view.token, view.manifest) == (2, manifest(1))
    with pytest.raises(Fenced):
        zombie.append(manifest(2))


def test_take_over_takes_a_higher_token_when_a_rival_was_faster(store: CheckpointStore) -> None:
    """P9: two newcomers never share a token."""
    JobLog(store).append(takeover(1))
    wrapped = Wrapped(store)
    rival = JobLog(store)
    wrapped.before_create = iter([lambda: rival.append(takeover(2, "rival"))])
    view = JobLog(wrapped).take_over(lambda seen: takeover(seen.token + 1, "me"))
    assert (view.token, view.writer) == (3, "me")


def test_take_over_is_fenced_when_a_rival_follows_at_once(store: CheckpointStore) -> None:
    JobLog(store).append(takeover(1))
    wrapped = Wrapped(store)
    rival = JobLog(store)
    wrapped.after_create = iter([lambda: rival.append(takeover(3, "rival"))])
    with pytest.raises(Fenced):
        JobLog(wrapped).take_over(lambda seen: takeover(seen.token + 1, "me"))


def test_two_attempts_racing_leave_one_chain_and_rising_tokens(tmp_path: Path) -> None:
    """P9: two racing writers on one file system; every entry is in the chain, none after a higher token."""
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def attempt(name: str) -> None:
        log = JobLog(FilesystemStore(tmp_path))
        start.wait()
        for _ in range(10):
            try:
                view = log.take_over(lambda seen: takeover(seen.token + 1, name))
                for epoch in range(1, 4):
                    log.append(manifest(epoch, token=view.token, writer=name))
                outcomes.append("done")
            except Fenced:
                outcomes.append("fenced")

    threads = [threading.Thread(target=attempt, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = JobLog(FilesystemStore(tmp_path)).read().records
    tokens = [record.entry.token for record in records]
    assert len(outcomes) == 20
    assert outcomes.count("done") >= 1
    assert tokens == sorted(tokens)
    writers = {(r.entry.token, r.entry.writer) for r in records}
    assert len(writers) == len({token for token, _ in writers})


def test_log_is_shared_by_threads_of_one_attempt(store: CheckpointStore) -> None:
    log = JobLog(store)
    log.append(takeover())
    threads = [threading.Thread(target=log.append, args=(manifest(epoch),)) for epoch in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs(JobLog(store))) == list(range(1, 9))


# --- retired entries


def long_log(store: CheckpointStore, keep: int = 2) -> JobLog:
    log = JobLog(store)
    log.append(takeover())
    for epoch in range(1, 7):
        log.append(manifest(epoch))
        retire(log, store, keep, 1)
    return log


def test_read_accepts_a_log_whose_front_was_retired(store: CheckpointStore) -> None:
    """P9: the chain need not start at 1."""
    long_log(store)
    assert store.list("log/") == [log_key(6), log_key(7)]
    assert epochs(JobLog(store)) == [5, 6]


@pytest.mark.parametrize("asleep_after", range(1, 6))
def test_a_writer_that_slept_through_retirement_is_fenced_and_does_no_harm(
    store: CheckpointStore, asleep_after: int
) -> None:
    """P9, P11: its create fills a hole far behind the tip; it must find out, and readers must not stumble."""
    zombie = JobLog(store)
    zombie.append(takeover(1))
    for epoch in range(1, asleep_after):
        zombie.append(manifest(epoch))
    log = JobLog(store)
    log.append(takeover(2))
    for epoch in range(10, 20):
        log.append(manifest(epoch, token=2))
        retire(log, store, 1, 2)
    with pytest.raises(Fenced):
        zombie.append(manifest(asleep_after))
    assert epochs(JobLog(store)) == [19]
    log.append(manifest(20, token=2))
    retire(log, store, 1, 2)
    assert len(store.list("log/")) == 1


def test_two_writers_that_slept_through_retirement_are_fenced_when_they_fill_holes_side_by_side(
    store: CheckpointStore,
) -> None:
    """P9, P11: the second finds an entry before its own, but not the one that it knew."""
    sleepers = [JobLog(store), JobLog(store)]
    for token, sleeper in enumerate(sleepers, 1):
        sleeper.append(takeover(token))
    log = JobLog(store)
    log.append(takeover(3))
    for epoch in range(10, 14):
        log.append(manifest(epoch, token=3))
        retire(log, store, 1, 3)
    for token, sleeper in enumerate(sleepers, 1):
        with pytest.raises(Fenced):
            sleeper.append(manifest(1, token=token))
    assert epochs(JobLog(store)) == [13]


@pytest.mark.parametrize("token", [1, 2])
def test_a_writer_that_saw_an_empty_log_is_fenced_when_it_grew_and_retired(store: CheckpointStore, token: int) -> None:
    """P9: the same for the first entry, which has none before it, also where the rival drew the same token."""
    zombie = JobLog(store)
    zombie.read()
    log = JobLog(store)
    log.append(takeover(token, writer="rival"))
    for epoch in range(1, 5):
        log.append(manifest(epoch, token=token, writer="rival"))
        retire(log, store, 1, token)
    with pytest.raises(Fenced):
        zombie.append(takeover(1))
    assert epochs(JobLog(store)) == [4]


def test_a_newcomer_that_slept_through_retirement_takes_over_at_the_tip(store: CheckpointStore) -> None:
    """P9: its entry fills a hole, where nobody reads it; nobody fenced it either, so it goes where the tip is now."""
    holder = JobLog(store)
    holder.append(takeover(1))
    newcomer = JobLog(store)
    newcomer.read()
    for epoch in range(1, 5):
        holder.append(manifest(epoch))
        retire(holder, store, 1, 1)
    newcomer.append(takeover(2))
    view = JobLog(store).read()
    assert (view.token, view.manifest) == (2, manifest(4))
    with pytest.raises(Fenced):
        holder.append(manifest(5))


def test_read_starts_over_when_the_log_is_retired_meanwhile(store: CheckpointStore) -> None:
    """P12: what a living attempt retired while one was reading is no corruption."""
    writer = JobLog(store)
    writer.append(takeover())
    for epoch in (1, 2, 3):
        writer.append(manifest(epoch))
    wrapped = Wrapped(store)

    def advance() -> None:
        writer.keep_manifests(1)
        writer.append(manifest(4))
        retire(writer, store, 1, 1)

    wrapped.after_list = iter([advance])
    assert epochs(JobLog(wrapped)) == [4]


def test_read_starts_over_when_a_sleeper_fills_the_hole_that_retirement_made_meanwhile(store: CheckpointStore) -> None:
    """P11, P12: what a zombie leaves in a place that the reader has not come to yet is no corruption either."""
    sleeper = JobLog(store)
    sleeper.append(takeover(1))
    writer = JobLog(store)
    writer.append(takeover(2))
    writer.append(manifest(1, token=2))
    wrapped = Wrapped(store)

    def advance() -> None:
        writer.keep_manifests(1)
        writer.append(manifest(4, token=2))
        retire(writer, store, 1, 2)
        with pytest.raises(Fenced):
            sleeper.append(manifest(1))

    def get_one_and_sleep(key: str) -> memoryview:
        data = store.get(key)
        if key == log_key(1):
            advance()
        return data

    wrapped.get = get_one_and_sleep
    assert epochs(JobLog(wrapped)) == [4]


def test_append_notices_that_entries_before_it_were_removed(store: CheckpointStore) -> None:
    """P12: a log that was set back under a running job is an error, not a shorter log."""
    log = JobLog(store)
    log.append(takeover())
    log.append(manifest(1))
    for key in store.list("log/"):
        store.delete(key)
    with pytest.raises(CorruptManifest, match="missing from the middle"):
        log.append(manifest(2))


def test_read_as_refuses_a_log_that_lost_the_attempt(store: CheckpointStore) -> None:
    """P11: who is about to remove something must find itself in the log."""
    log = JobLog(store)
    log.append(takeover(1))
    log.append(takeover(2))
    store.delete(log_key(2))
    with pytest.raises(CorruptManifest, match="token 2"):
        log.read_as(2)


# --- bytes


def test_an_entry_is_json_that_people_can_read(store: CheckpointStore) -> None:
    JobLog(store).append(takeover())
    document = msgspec.json.decode(store.get(log_key(1)))
    assert document["sequence"] == 1
    assert document["entry"]["type"] == "takeover"
    assert len(document["sha256"]) == 64


def test_no_pickle_is_in_an_entry(store: CheckpointStore) -> None:
    JobLog(store).append(manifest(1, pending=(committable(1),)))
    assert isinstance(JobLog(store).read().records[0].entry, Manifest)
    assert bytes(store.get(log_key(1))).decode("ascii")


def test_overwriting_an_entry_with_another_sound_one_breaks_the_chain(store: CheckpointStore) -> None:
    """P12: digests of single entries would not see this one."""
    other = MemoryStore()
    for place in (store, other):
        JobLog(place).append(takeover())
    JobLog(store).append(manifest(1))
    JobLog(store).append(manifest(2))
    JobLog(other).append(manifest(7))
    overwrite(store, log_key(2), bytes(other.get(log_key(2))))
    with pytest.raises(CorruptManifest, match="chain is broken"):
        JobLog(store).read()


def test_takeover_is_what_it_was_in_format_1(store: CheckpointStore) -> None:
    """Golden bytes: a change of the format must be meant."""
    JobLog(store).append(Takeover(1, "job", LINEAGE, 1, "w1", 0, "empty"))
    assert bytes(store.get(log_key(1))) == (
        b'{"format":1,"sequence":1,"first":1,"previous":"","entry":{"type":"takeover","format":1,"job":"job",'
        b'"lineage":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","token":1,"writer":"w1","highest_epoch":0,"base":"empty"},'
        b'"sha256":"dd4f1517eacecebbbd802ba7ae3f452927b055da3f9469eb42c5c0e1ca9a016d"}\n'
    )
