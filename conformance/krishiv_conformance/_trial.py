"""A job of a case: the rows it reads, the processes that ran it, and what must be true of its output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from krishiv_checkpoint._keys import LOG
from krishiv_conformance._case import NotReached, expect
from krishiv_conformance._children import PATIENCE, Child
from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._harness import place_of
from krishiv_conformance._job import JOB, SINK, SOURCE, STORE, JobSpec
from krishiv_conformance._reference import ReferenceHarness, set_pace, split_id
from krishiv_conformance._rows import expect_part, expect_rows, make_rows, rows_of, settled
from krishiv_conformance._witness import covered_rows, log_of
from krishiv_connectors import SinkContext
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from krishiv_checkpoint import CheckpointStore, LogView, Prepared
    from krishiv_conformance._case import Ground
    from krishiv_conformance._children import Ended
    from krishiv_conformance._rows import Row
    from krishiv_connectors import TwoPhaseSink

    class StartOptions(TypedDict, total=False):
        """What may differ from start to start; see `JobSpec`."""

        parallelism: int
        max_rate: float | None
        take_over: bool
        savepoint: str
        keep_checkpoints: int


__all__ = ["Trial"]

_LOOK = 0.05
PARTS = 4
"""Splits of a source: more than slots, and a number that two slots share evenly."""


class Trial:
    """One job on a case's ground. Making it lays down the input.

    Parameters
    ----------
    ground : Ground
    rows : int
        Rows of the input, over all parts.
    steps : sequence of int
        How many rows a reference source releases per epoch and part, in turns.
    """

    def __init__(self, ground: Ground, *, rows: int = 800, steps: Sequence[int] = (20,)) -> None:
        self._ground = ground
        self._starts = 0
        self._folder = ground.workdir / SOURCE
        self._parts: dict[str, int] = {}
        self.expected: list[Row] = []
        self._ends = ground.source.make(self._folder).capabilities().bounded
        set_pace(self._folder, steps)
        own = ground.source.own_rows(self._folder)
        if own is not None:
            self.expected, self.schema = rows_of(own), own.schema
            return
        for _ in range(PARTS):
            self.schema = self.add_part(rows // PARTS)

    def add_part(self, rows: int) -> Any:
        """Put one more part of the input down; returns its schema."""
        table = make_rows(self._ground.seed, rows, first=len(self.expected))
        part = len(self._parts)
        self._ground.source.fill(self._folder, part, table)
        self._parts[split_id(part)] = rows
        self.expected += rows_of(table)
        return table.schema

    # ---------------------------------------------------------------- processes

    def start(self, failpoints: str = "", **options: Unpack[StartOptions]) -> Child:
        """Start one process."""
        ground = self._ground
        self._starts += 1
        spec = JobSpec(
            source=place_of(ground.source),
            sink=place_of(ground.sink),
            store=place_of(ground.store),
            workdir=str(ground.workdir),
        )
        return Child(msgspec.structs.replace(spec, **options), failpoints, ground.workdir / f"start-{self._starts}.log")

    def die_at(self, failpoint: str, at: int = 1, **options: Unpack[StartOptions]) -> None:
        """Run one process that is killed at the `at`-th pass of `failpoint`.

        Raises
        ------
        NotReached
            If its job finished without having come there.
        CaseFailed
            If it ended in another way, or the output is wrong already.
        """
        with self.start(f"{failpoint}=kill@{at}", **options) as child:
            ended = child.wait()
        if ended.finished:
            raise NotReached(f"the job finished without passing {failpoint} {at} times")
        self.count_kill(ended, all_manifests="keep_checkpoints" not in options)

    def die_after(self, seconds: float, **options: Unpack[StartOptions]) -> bool:
        """Run one process that is killed `seconds` after its job started; False if it had finished by then."""
        with self.start(**options) as child:
            if child.wait_started():
                child.wait_seconds(seconds)
                child.kill()
            ended = child.wait()
        if ended.finished:
            return False
        self.count_kill(ended, all_manifests="keep_checkpoints" not in options)
        return True

    def finish(self, **options: Unpack[StartOptions]) -> None:
        """Run the job to its end and check its output; one that has none is stopped when all rows are there."""
        with self.start(**options) as child:
            self._await_end(child)
        self.check()
        self._check_nothing_left(all_manifests="keep_checkpoints" not in options)

    def see_through(self, child: Child) -> None:
        """See a job to its end whose server died under it; if it gave up with an error, which it may, run it again."""
        try:
            self._await_end(child)
        except CaseFailed:
            if not (child.wait_seconds(0) and child.wait().failed):
                raise
            self.finish()
        else:
            self.check()
            self._check_nothing_left(all_manifests=True)

    def _await_end(self, child: Child) -> None:
        if self._ends:
            self.expect_finished(child.wait())
        else:
            self.await_output(child)
            self.stop(child)

    def await_output(self, child: Child) -> None:
        """Wait until readers see as many rows as were sent: a job without an end does not say when it has caught up."""
        deadline = time.monotonic() + PATIENCE
        while True:
            began = time.monotonic()
            arrived = len(self.output())
            now = time.monotonic()
            if arrived >= len(self.expected):
                return
            if now > deadline:
                raise CaseFailed(f"{arrived} of {len(self.expected)} rows arrived within {PATIENCE:g} s")
            # A look may cost the job more than it costs us: the server of both has other things to do.
            if child.wait_seconds(max(_LOOK, 2 * (now - began))):
                raise CaseFailed(f"the job was to wait for more rows, but {child.wait()}")

    def stop(self, child: Child) -> None:
        """Have the job stop with a final checkpoint."""
        child.wait_started()
        child.terminate()
        ended = child.wait()
        expect(ended.code == 0 and ended.last.get("state") == "stopped", f"the job was asked to stop, but {ended}")

    def expect_finished(self, ended: Ended) -> None:
        """Raise `CaseFailed` unless a process finished the job."""
        expect(ended.finished, f"the job was to finish, but {ended}")

    def count_kill(self, ended: Ended, *, all_manifests: bool = True) -> None:
        """Count a process that was killed and look at what it left; raise `CaseFailed` if it ended otherwise."""
        if not ended.killed:
            raise CaseFailed(f"the process was to be killed, but {ended}")
        self._ground.kills += 1
        self.check_part(all_manifests=all_manifests)

    # ---------------------------------------------------------------- output

    def output(self) -> list[Row]:
        """Return what readers of the sink see now."""
        return rows_of(self._ground.sink.read(self._ground.workdir / SINK, self.schema))

    def _whole_epochs(self) -> list[Row] | None:
        """Return what readers of whole epochs see now; None where nobody promises them any."""
        if not self._sink().capabilities().atomic_epochs:
            return None
        return rows_of(self._ground.sink.read_whole(self._ground.workdir / SINK, self.schema))

    def settled_output(self) -> list[Row]:
        """Return what readers see of a job that has ended, once its last rows have had time to be seen."""
        return settled(self.output, len(self.expected), self._ground.sink.lag)

    def check(self) -> None:
        """Check the output of a finished job: exactly the rows that went in."""
        expect_rows(self.expected, self.settled_output(), "after the job finished")

    def entries(self) -> list[str]:
        """Return the keys of the job's log."""
        return self._store().list(LOG)

    def log(self) -> dict[str, bytes]:
        """Return every entry of the job's log, as it is stored."""
        store = self._store()
        return {key: bytes(store.get(key)) for key in store.list(LOG)}

    def check_log(self) -> None:
        """Check that the log of a finished job is whole, and says that it is finished."""
        try:
            view = log_of(self._store())
        except KrishivError as error:
            raise CaseFailed(f"the job finished, and its log cannot be read any more: {error.message}") from error
        expect(view.finish is not None, "the job finished, and its log does not say so")

    def check_part(self, when: str = "after the process was killed", *, all_manifests: bool = True) -> None:
        """Check the output of an unfinished job: no row twice, none that nobody sent, none of an unpublished epoch."""
        rows, whole = self.output(), self._whole_epochs()
        expect_part(self.expected, rows, when)
        expect_part(self.expected, whole or [], when)
        if isinstance(self._ground.source, ReferenceHarness):
            # Read last: the job may be running, and what was seen has its manifest by now.
            covered = covered_rows(log_of(self._store()), self._parts)
            expect(
                len(rows) <= max(covered),
                f"{len(rows)} rows are visible, but the newest manifest covers {max(covered)}: "
                "something was published before the commit point",
            )
            if all_manifests and whole is not None:
                expect(len(whole) in covered, f"{len(whole)} rows are visible, which is no whole number of epochs")

    def _check_nothing_left(self, *, all_manifests: bool) -> None:
        """Check that nothing is left prepared by processes that died: the last one had to abort it."""
        view = log_of(self._store())
        applied, found = self._look_into_sink(view)
        listed = {(c.token, c.epoch, c.slot) for manifest in view.manifests() for c in manifest.pending}
        # Remains of what was published may wait for a clean-up; what no manifest lists may not be there any more.
        left = [
            item
            for item in found
            if item.epoch > applied.get(item.slot, 0)
            or (all_manifests and (item.token, item.epoch, item.slot) not in listed)
        ]
        expect(not left, f"the job ended well, and yet prepared epochs are left behind: {left}")

    def _look_into_sink(self, view: LogView) -> tuple[dict[int, int], Sequence[Prepared]]:
        """Return what the sink says it applied, per slot, and what it finds prepared."""
        committer = self._sink()
        committer.open(
            SinkContext(
                job=JOB,
                lineage=view.lineage,
                sink_id=SINK,
                slot=None,
                token=view.token + 1,
                schema=self.schema,
                store=self._store(),
            )
        )
        try:
            applied = {slot: committer.last_applied(view.lineage, slot) or 0 for slot in (0, 1)}
            return applied, committer.list_prepared(view.lineage)
        finally:
            committer.close()

    def _sink(self) -> TwoPhaseSink:
        return self._ground.sink.make(self._ground.workdir / SINK)

    def _store(self) -> CheckpointStore:
        return self._ground.store.make(self._ground.workdir / STORE, JOB)
