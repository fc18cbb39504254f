"""The schedules that have lost or doubled data elsewhere, each by its name, over several seeds."""

from __future__ import annotations

from unittest import mock

import pytest

from krishiv_checkpoint import BarrierKind, CheckpointFailed, Fenced, ForeignMarks, JobLog, SinkAhead, SinkBehind
from krishiv_checkpoint import _events as ev
from tests.simulate.check import compare
from tests.simulate.outside import Outside
from tests.simulate.sinks import FileSink, TableSink
from tests.simulate.stage import Stage, short, staged
from tests.simulate.store import Faults

seeds = pytest.mark.parametrize("seed", range(5))


# ---------------------------------------------------------------- epochs (P4, P5, P7, P8)


@seeds
def test_failed_epoch_then_success(seed: int) -> None:
    """P4: an ack is lost, the epoch times out, the next manifest carries what it prepared."""
    with staged(seed, checkpoint_timeout=4.0) as stage:
        process = stage.boot(2)
        process.loses = lambda message: message.epoch == 1 and message.task == "count-1"
        assert isinstance(stage.ask(process, ev.CheckpointRequested), CheckpointFailed)
        assert stage.checkpoint(process) == 2
        assert {c.epoch for c in stage.manifests()[0].pending} == {1, 2}
        stage.finish(process)


@seeds
def test_two_uncommitted_epochs_then_crash(seed: int) -> None:
    """P5: recovery commits both, oldest first."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.held = {"p1/commit-files", "p1/commit-table"}
        for epoch in (1, 2):
            assert stage.ask(first, ev.CheckpointRequested) == epoch
        stage.kill(first)
        second = stage.boot(2)
        assert second.attempt is not None
        assert second.attempt.manifest is not None
        assert {c.epoch for c in second.attempt.manifest.pending} == {1, 2}
        assert stage.outside.files.newest(second.attempt.lineage) == 2
        stage.finish(second)


@seeds
def test_rescale_with_pending_epochs(seed: int) -> None:
    """P5, P16: the slots of the old parallelism are finished first, all of them."""
    with staged(seed) as stage:
        first = stage.boot(3)
        stage.held = {"p1/commit-files", "p1/commit-table"}
        for epoch in (1, 2):
            assert stage.ask(first, ev.CheckpointRequested) == epoch
        stage.kill(first)
        second = stage.boot(1)
        assert sorted(slot for _, slot in stage.outside.table.marks) == [0, 1, 2]
        stage.held = {"p2/commit-files", "p2/commit-table"}
        assert stage.ask(second, ev.CheckpointRequested) == 3
        assert stage.manifests()[-1].committed_through["table"] == {"0": 2, "1": 2, "2": 2}
        stage.kill(second)
        stage.finish(stage.boot(2))


@seeds
def test_slow_commit_with_max_pending_epochs_reached(seed: int) -> None:
    """P5: checkpoints pause at the bound while data flows, and go on once a commit is through."""
    with staged(seed, max_pending_epochs=2, checkpoint_interval=0.3) as stage:
        process = stage.boot(2)
        stage.held = {"p1/commit-table"}
        stage.until(lambda: all(source.ended for source in process.sources), process)
        assert [manifest.epoch for manifest in stage.manifests()] == [1, 2]
        assert stage.outside.table.rows() == []
        stage.held = set()
        stage.finish(process)


@seeds
def test_task_finishing_between_trigger_and_barrier(seed: int) -> None:
    """P7: it stays and answers; the job finishes behind one more barrier."""
    with staged(seed) as stage:
        process = stage.boot(2)
        process.barriers_go = False
        stage.begin(process, ev.CheckpointRequested)
        stage.until(lambda: all(task.ended for task in (*process.sources, *process.counts)), process)
        process.barriers_go = True
        stage.finish(process)
        assert [manifest.kind for manifest in stage.manifests()] == [BarrierKind.CHECKPOINT, BarrierKind.FINISH]


@seeds
def test_source_split_found_between_trigger_and_barrier(seed: int) -> None:
    """P8: what is read of it before the barrier is in the snapshot, and read again by nobody."""
    with staged(seed, late=200) as stage:
        first = stage.boot(2)
        stage.until(lambda: stage.now > 150, first)
        first.barriers_go = False
        stage.begin(first, ev.CheckpointRequested)
        stage.until(lambda: any("reads 2.3" in line for line in stage.kernel.trace), first)
        first.barriers_go = True
        stage.until(stage.manifests, first)
        positions = {k: v for s in stage.manifests()[0].operators for k, v in s.inline.get("positions", {}).items()}
        assert positions["split-2"] >= 4
        stage.kill(first)
        stage.finish(stage.boot(3))


@seeds
def test_finished_job_run_again_gives_its_result_and_writes_nothing(seed: int) -> None:
    """P7: it is not even taken over."""
    with staged(seed) as stage:
        stage.finish(stage.boot(2))
        before = stage.outside.blobs.list("")
        again = stage.boot(1)
        assert again.outcome == "finished"
        assert stage.outside.blobs.list("") == before
        stage.check()


@seeds
def test_nothing_superfluous_is_left_of_a_job_that_nobody_disturbed(seed: int) -> None:
    """P5: staged data and manifests retire, all but the ones to keep."""
    with staged(seed, checkpoint_interval=0.2, keep_checkpoints=2) as stage:
        stage.finish(stage.boot(2))
        manifests = stage.manifests()
        referenced = {file.key for m in manifests for snapshot in m.operators for file in snapshot.files}
        assert len(manifests) == 2
        assert set(stage.outside.blobs.list("state/")) == referenced
        assert stage.outside.blobs.list("staged/") == []
        assert stage.outside.files.staged == {}


# ---------------------------------------------------------------- the log (P9)


@seeds
def test_takeover_between_read_and_fence(seed: int) -> None:
    """P9: what the old attempt wrote after the newcomer read the log, and before its takeover, counts."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.checkpoint(first)
        second = stage.start(1)
        stage.stop_at(second, "create log/")
        assert stage.ask(first, ev.CheckpointRequested) == 2
        stage.kill(first)
        stage.resume(second)
        stage.until(lambda: second.coordinator is not None, second)
        assert second.attempt is not None
        assert second.attempt.manifest is not None
        assert second.attempt.manifest.epoch == 2
        stage.finish(second)


@seeds
def test_412_after_a_success_whose_reply_was_lost(seed: int) -> None:
    """P9: a writer that finds its own entry in the place it lost has succeeded."""
    with staged(seed, faults=Faults(retried=1.0), checkpoint_interval=0.5) as stage:
        process = stage.boot(2)
        stage.finish(process)
        epochs = [manifest.epoch for manifest in stage.manifests()]
        assert epochs == sorted(set(epochs))


@seeds
@pytest.mark.parametrize("label", ["create log/", "created log/"])
@pytest.mark.parametrize("wakes", ["at once", "in the end"])
def test_manifest_of_a_writer_that_was_taken_over_meanwhile(seed: int, label: str, wakes: str) -> None:
    """P9: before its create it is fenced; after it, the newcomer has to find the manifest."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.checkpoint(first)
        stage.begin(first, ev.CheckpointRequested)
        stage.stop_at(first, label)
        second = stage.boot(3)
        assert second.attempt is not None
        assert second.attempt.manifest is not None
        assert second.attempt.manifest.epoch == (1 if label == "create log/" else 2)
        if wakes == "at once":
            stage.resume(first)
            stage.until(lambda: first.over)
            stage.kill(second)  # what the sleeper did must not be in anybody's way
            second = stage.boot(1)
        stage.finish(second)
        assert isinstance(first.error, Fenced)


# ---------------------------------------------------------------- zombies (P11, P14)


@seeds
@pytest.mark.parametrize("label", ["FileSink lists what", "list staged/table/", "FileSink aborts", "delete staged/"])
def test_zombie_abort_after_sigcont(seed: int, label: str) -> None:
    """P11: a recovery that slept before or in its aborts takes nothing from its successor."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.begin(first, ev.CheckpointRequested)
        stage.kill_at(first, "create log/")  # everything is prepared, nothing published
        zombie = stage.start(1)
        stage.stop_at(zombie, label)
        third = stage.boot(2)
        stage.begin(third, ev.CheckpointRequested)
        stage.until_at(third, "create log/", act=lambda group: stage.held.add("p3/log"))
        stage.resume(zombie)
        stage.until(lambda: zombie.over or zombie.coordinator is not None)
        stage.held.clear()
        stage.finish(third)
        assert isinstance(zombie.error, Fenced)


@seeds
@pytest.mark.parametrize("label", ["FileSink commits", "FileSink renames", "TableSink commits", "TableSink applies"])
def test_zombie_commit_after_sigcont(seed: int, label: str) -> None:
    """P11, P14: what recovery committed, a late committer of the same epoch finds done."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.begin(first, ev.CheckpointRequested)
        stage.stop_at(first, label)
        second = stage.boot(1)
        stage.checkpoint(second)
        stage.resume(first)
        stage.finish(second)


@seeds
def test_recovery_that_slept_says_fenced_and_not_that_the_sinks_are_ahead(seed: int) -> None:
    """P9, P15: the newer attempt moved the sinks; advice to accept duplicates would be wrong."""
    with staged(seed) as stage:
        zombie = stage.start(1)
        stage.stop_at(zombie, "TableSink reads its marks")
        second = stage.boot(2)
        stage.checkpoint(second)
        stage.resume(zombie)
        stage.until(lambda: zombie.over)
        assert isinstance(zombie.error, Fenced)
        stage.finish(second)


# ---------------------------------------------------------------- sinks (P5, P13, P15)


@seeds
def test_commit_outcome_unknown(seed: int) -> None:
    """P5: every reply of every sink is lost; its own record settles it."""

    def lost(self: object) -> None:
        raise OSError("the target's reply was lost")

    with staged(seed, checkpoint_interval=0.5) as stage, mock.patch("tests.simulate.sinks._Sink.reply", lost):
        stage.finish(stage.boot(2))


@seeds
def test_commits_that_have_to_wait(seed: int) -> None:
    """P5: they are called again until they are done, and nothing overtakes them."""
    with staged(seed, faults=Faults(busy=0.5), checkpoint_interval=0.5) as stage:
        stage.finish(stage.boot(2))


def saved_and_gone_on(stage: Stage) -> None:
    """Take a savepoint, commit two more epochs, and die."""
    process = stage.boot(2)
    stage.checkpoint(process)
    assert stage.ask(process, ev.SavepointRequested, location="old") == "old"
    for _ in range(2):
        stage.checkpoint(process)
    stage.kill(process)


@seeds
def test_restore_of_an_older_savepoint(seed: int) -> None:
    """P15: refused, and the epochs are named; the tip still restores."""
    with staged(seed) as stage:
        saved_and_gone_on(stage)
        refused = stage.boot(2, restore="old")
        assert isinstance(refused.error, SinkAhead)
        assert refused.error.fields["epochs"] == {"files": (3, 4), "table": (3, 4)}
        stage.finish(stage.boot(1))


@seeds
def test_restore_of_an_older_savepoint_with_rewind(seed: int) -> None:
    """P15: sinks that can, take the epochs back; the output is exact."""
    with staged(seed) as stage:
        saved_and_gone_on(stage)
        stage.finish(stage.boot(3, restore="old", on_sink_ahead="rewind"))


@seeds
def test_restore_of_an_older_savepoint_with_rewind_is_refused_when_a_sink_cannot(seed: int) -> None:
    """P15: and nothing that could not be undone has happened to the others' marks."""
    with staged(seed) as stage:
        saved_and_gone_on(stage)
        with mock.patch.object(TableSink, "rewind", return_value=False), mock.patch.object(FileSink, "rewind") as asked:
            asked.return_value = False
            refused = stage.boot(2, restore="old", on_sink_ahead="rewind")
        assert isinstance(refused.error, SinkAhead)
        stage.finish(stage.boot(2))


@seeds
def test_restore_of_a_savepoint_whose_output_was_taken_back(seed: int) -> None:
    """P15: it is refused before anything is rewound for it."""
    with staged(seed) as stage:
        first = stage.boot(2)
        assert stage.ask(first, ev.SavepointRequested, location="old") == "old"
        assert stage.ask(first, ev.SavepointRequested, location="newer") == "newer"
        stage.kill(first)
        second = stage.boot(1, restore="old", on_sink_ahead="rewind")
        for _ in range(4):  # long enough for the log to retire the entry that went back
            stage.checkpoint(second)
        stage.kill(second)
        before = set(stage.outside.files.published)
        assert isinstance(stage.boot(2, restore="newer", on_sink_ahead="rewind").error, SinkBehind)
        assert set(stage.outside.files.published) == before
        stage.finish(stage.boot(2))


@seeds
def test_restore_of_an_older_savepoint_with_duplicates(seed: int) -> None:
    """P15: a new lineage writes the overlap again, and nothing else twice."""
    with staged(seed) as stage:
        saved_and_gone_on(stage)
        overlap = {
            row.id
            for (_, epoch), files in stage.outside.files.published.items()
            if epoch > 2
            for f in files.values()
            for row in f
        }
        process = stage.boot(2, restore="old", on_sink_ahead="duplicate")
        assert process.attempt is not None
        assert process.attempt.overlap
        stage.until(lambda: process.outcome == "finished", process)
        for difference in compare(stage.outside, stage.plan.splits):
            assert difference.lost == ()
            assert set(difference.duplicated) == overlap


@seeds
def test_marker_lost(seed: int) -> None:
    """P15: a sink behind what the log records as committed is refused."""
    with staged(seed) as stage:
        process = stage.boot(2)
        for _ in range(2):
            stage.checkpoint(process)
        stage.checkpoint(process)
        stage.kill(process)
        marks = dict(stage.outside.table.marks)
        stage.outside.table.marks.clear()
        refused = stage.boot(2)
        assert isinstance(refused.error, SinkBehind)
        stage.outside.table.marks.update(marks)
        stage.finish(stage.boot(2))


@seeds
def test_data_directory_lost(seed: int) -> None:
    """P15: a new lineage that finds marks of its own job's name is refused."""
    with staged(seed) as stage:
        process = stage.boot(2)
        stage.checkpoint(process)
        stage.kill(process)
        stage.outside.blobs = Outside().blobs
        assert isinstance(stage.boot(2).error, ForeignMarks)


# ---------------------------------------------------------------- savepoints (P16)


@seeds
def test_savepoint_forked_twice(seed: int) -> None:
    """P1, P16: it holds nothing to commit, so two jobs start from it, and each writes the rest once."""
    with staged(seed) as stage:
        process = stage.boot(2)
        stage.checkpoint(process)
        assert stage.ask(process, ev.StopRequested, savepoint="fork") == "fork"
        stage.until(lambda: process.outcome == "stopped")
        before = {row.id for row in stage.outside.table.rows()}
        original, everything = stage.outside, {row.id for split in stage.plan.splits for row in split.rows}
        for name in ("fork-a", "fork-b"):
            stage.outside = Outside(files=original.files, table=original.table)
            for key in original.blobs.list("savepoints/"):
                stage.outside.blobs.create(key, bytes(original.blobs.get(key)))
            fork = stage.boot(3, job=name, restore="fork")
            stage.until(lambda fork=fork: fork.outcome == "finished", fork)
            lineage = JobLog(stage.outside.blobs).read().lineage
            mine = [row.id for t in original.table.transactions if t.lineage == lineage for row in t.rows]
            assert sorted(mine) == sorted(everything - before)
        assert len({lineage for lineage, _ in original.files.published}) == 3


@seeds
def test_savepoint_survives_a_crash_at_each_side_of_its_commit(seed: int) -> None:
    """P16: it is complete only when its epoch is committed; a crash before that leaves none."""
    with staged(seed) as stage:
        first = stage.boot(2)
        stage.held = {"p1/commit-table"}
        stage.begin(first, ev.SavepointRequested, location="here")
        stage.until(stage.manifests, first)
        assert stage.outside.blobs.list("savepoints/") == []
        stage.kill(first)
        second = stage.boot(1)
        assert stage.ask(second, ev.SavepointRequested, location="here") == "here"
        stage.finish(second)


# ---------------------------------------------------------------- each line of the driver


@pytest.mark.parametrize("rest", range(4))
def test_coordinator_killed_at_each_line_of_the_driver(places: int, rest: int) -> None:
    """Whatever line a process dies before: the next one brings the job to its exact end."""
    for place in range(1 + rest, places, 4):
        with short() as stage:
            first = stage.start(2)
            stage.until_place(first, place, act=stage.kernel.kill)
            if first.group.dead:
                stage.boot(1 + place % 3)
            stage.settle()


@pytest.mark.parametrize("rest", range(4))
def test_coordinator_stopped_at_each_line_of_the_driver_and_continued_behind_its_successor(
    places: int, rest: int
) -> None:
    """Whatever line a process sleeps before: when it wakes while its successor runs, or after, it does no harm."""
    for place in range(1 + rest, places, 4):
        with short() as stage:
            first = stage.start(2)
            stage.until_place(first, place, act=lambda group: setattr(group, "stopped", True))
            second = stage.boot(1 + place % 3)
            if place % 2:
                stage.until(lambda second=second: second.over)
            stage.settle()
