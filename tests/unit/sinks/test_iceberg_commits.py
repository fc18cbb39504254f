"""What an Iceberg table says about epochs: beside other writers, after lost answers, taken back, expired."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

from krishiv_checkpoint import CommitStatus
from krishiv_connectors.iceberg._errors import TableRolledBack
from tests.support.iceberg import catalog_of, table_of
from tests.unit.sinks.contract import LINEAGE, Attempt, batch
from tests.unit.sinks.test_iceberg_sink import TABLE, append, ids, place, snapshots

if TYPE_CHECKING:
    from pathlib import Path

KEY = f"krishiv.{LINEAGE}.orders"


def test_one_commit_holds_the_files_of_all_slots_and_the_epoch(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        attempt.commit(attempt.stage(0, 7, 1, 2), attempt.stage(1, 7, 3))
    with table_of(catalog_of(tmp_path), TABLE) as table:
        mark = json.loads(table.properties[KEY])
        snapshot = table.current_snapshot()
        assert len(table.snapshots()) == 1
        assert snapshot.summary["added-data-files"] == "2"
        assert json.loads(snapshot.summary[KEY]) == mark
    assert mark == {
        "epoch": 7,
        "previous": 0,
        "token": 1,
        "job": "shop",
        "snapshot": snapshot.snapshot_id,
        "sequence": 1,
    }


def test_foreign_commits_and_compaction_leave_the_mark(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        waiting = attempt.stage(0, 2, 2)
        append(tmp_path, 100)
        with table_of(catalog_of(tmp_path), TABLE) as table:
            table.overwrite(table.scan().to_arrow())
            table.delete("id = 100")
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
        assert attempt.commit(waiting) == [CommitStatus.DONE]
        assert attempt.commit(waiting) == [CommitStatus.ALREADY_DONE]
    assert ids(tmp_path) == [1, 2]


def test_stale_committer_adds_nothing_whatever_the_table_says_about_retries(tmp_path: Path) -> None:
    options = {"properties": {"commit.retry.num-retries": "10", "commit.retry.min-wait-ms": "0"}}
    with Attempt(place(tmp_path, **options)) as one, Attempt(place(tmp_path, **options), token=2) as two:
        first, again = one.stage(0, 1, 1), two.stage(0, 1, 1)
        address = two.committer.address  # type: ignore[attr-defined]
        before = address.load(two.committer._opened.catalog)  # type: ignore[attr-defined]
        assert one.commit(first) == [CommitStatus.DONE]
        address.load = lambda catalog: before  # as if it had looked just before
        (outcome,) = two.outcomes(again)
        assert outcome.status is CommitStatus.RETRY_LATER
        del address.load
        assert two.commit(again) == [CommitStatus.ALREADY_DONE]
    assert ids(tmp_path) == [1]


def test_stale_committer_of_an_empty_epoch_cannot_move_the_mark_back(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as one, Attempt(place(tmp_path), token=2) as two:
        empty = one.stage(0, 1)
        address = two.committer.address  # type: ignore[attr-defined]
        before = address.load(two.committer._opened.catalog)  # type: ignore[attr-defined]
        one.commit(empty)
        one.commit(one.stage(0, 2, 2))
        address.load = lambda catalog: before
        (outcome,) = two.outcomes(empty)
        del address.load
        assert outcome.status is CommitStatus.RETRY_LATER
        assert two.committer.last_applied(LINEAGE, 0) == 2


def test_each_version_of_the_table_holds_the_rows_of_the_epochs_up_to_its_mark(tmp_path: Path) -> None:
    """Every metadata file that there ever was is read by itself."""
    with Attempt(place(tmp_path)) as attempt:
        for epoch in (1, 2, 3, 4):
            rows = () if epoch == 3 else (epoch * 10,)
            attempt.commit(attempt.stage(0, epoch, *rows), attempt.stage(1, epoch, *(row + 1 for row in rows)))
    seen: set[int] = set()
    for version in (tmp_path / "warehouse").rglob("*.metadata.json"):
        said = json.loads(version.read_text())["properties"].get(KEY)
        seen.add(mark := json.loads(said)["epoch"] if said else 0)
        held = pl.scan_iceberg(f"file://{version}").collect().get_column("id").to_list()
        assert sorted(held) == [row for row in (10, 11, 20, 21, 40, 41) if row // 10 <= mark]
    assert seen == {0, 1, 2, 3, 4}


def test_append_that_comes_between_is_seen_before_the_epoch_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Attempt(place(tmp_path)) as attempt:
        committable = attempt.stage(0, 1, 1)
        commit = SqlCatalog.commit_table

        def be_slower(*args: Any) -> Any:
            monkeypatch.undo()
            append(tmp_path, 100)
            return commit(*args)

        monkeypatch.setattr(SqlCatalog, "commit_table", be_slower)
        (outcome,) = attempt.outcomes(committable)
        assert outcome.status is CommitStatus.RETRY_LATER
        assert ids(tmp_path) == [100]
        assert attempt.commit(committable) == [CommitStatus.DONE]
    assert ids(tmp_path) == [1, 100]


def test_writer_that_loaded_the_table_before_an_epoch_takes_nothing_away(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt, table_of(catalog_of(tmp_path), TABLE) as table:
        attempt.commit(attempt.stage(0, 1, 1))
        table.append(pa.Table.from_batches([batch(100)]))  # pyiceberg tries again, on top of the epoch
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
    assert ids(tmp_path) == [1, 100]


@pytest.mark.parametrize("error", [CommitStateUnknownException, CommitFailedException, ConnectionError, TimeoutError])
@pytest.mark.parametrize(
    ("held", "found"), [(True, CommitStatus.ALREADY_DONE), (False, CommitStatus.DONE)], ids=["held", "not held"]
)
def test_commit_whose_answer_says_nothing_is_settled_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], held: bool, found: CommitStatus
) -> None:
    """Also one that is called refused and holds, as when a proxy sends it twice and passes on the second answer."""
    with Attempt(place(tmp_path)) as attempt:
        committable = attempt.stage(0, 1, 1)
        commit = SqlCatalog.commit_table

        def lose_the_answer(*args: Any) -> Any:
            if held:
                commit(*args)
            raise error("gateway timeout")

        monkeypatch.setattr(SqlCatalog, "commit_table", lose_the_answer)
        (outcome,) = attempt.outcomes(committable)
        assert outcome.status is CommitStatus.RETRY_LATER
        monkeypatch.undo()
        assert ids(tmp_path) == ([1] if held else [])
        assert attempt.commit(committable) == [found]
    assert ids(tmp_path) == [1]


def test_lost_property_is_found_in_the_history(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        with table_of(catalog_of(tmp_path), TABLE) as table, table.transaction() as transaction:
            transaction.remove_properties(KEY)
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
        assert [mark.epoch for mark in attempt.committer.marks("shop")] == [1]


def test_epoch_behind_a_lost_mark_fails(tmp_path: Path) -> None:
    with Attempt(place(tmp_path), previous={0: 5}) as attempt:
        (outcome,) = attempt.outcomes(attempt.stage(0, 6, 1))
    assert outcome.status is CommitStatus.FAILED
    assert "epoch 0, not 5" in outcome.reason


def test_marks_survive_that_all_older_snapshots_are_expired(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        attempt.commit(attempt.stage(0, 2, 2))
        for number in (100, 101):
            append(tmp_path, number)
        with table_of(catalog_of(tmp_path), TABLE) as table:
            table.maintenance.expire_snapshots().by_ids(snapshots(tmp_path)[:-1]).commit()
        assert len(snapshots(tmp_path)) == 1
        assert attempt.committer.last_applied(LINEAGE, 0) == 2
        assert attempt.commit(attempt.stage(0, 3, 3)) == [CommitStatus.DONE]
    assert ids(tmp_path) == [1, 2, 3, 100, 101]


def roll_back(folder: Path, to: int) -> None:
    with table_of(catalog_of(folder), TABLE) as table:
        table.manage_snapshots().rollback_to_snapshot(to).commit()


def test_table_that_was_taken_back_says_which_epochs_it_holds(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        for epoch in (1, 2, 3):
            attempt.commit(attempt.stage(0, epoch, epoch))
        roll_back(tmp_path, snapshots(tmp_path)[0])
        assert ids(tmp_path) == [1]
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
        assert [mark.epoch for mark in attempt.committer.marks("shop")] == [1]
        (outcome,) = attempt.outcomes(attempt.stage(0, 4, 4))
        assert outcome.status is CommitStatus.FAILED, "rows of epochs 2 and 3 are lost: it must not go on"
        append(tmp_path, 100)
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
    # A checkpoint of epoch 1 fits.
    with Attempt(place(tmp_path), token=2, previous={0: 1}) as attempt:
        assert attempt.commit(attempt.stage(0, 4, 4)) == [CommitStatus.DONE]
        assert attempt.committer.last_applied(LINEAGE, 0) == 4
    assert ids(tmp_path) == [1, 4, 100]


def test_table_that_was_taken_back_and_has_no_history_left_is_an_error(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        append_first = attempt.stage(0, 1, 1)
        attempt.commit(append_first)
        append(tmp_path, 100)
        append(tmp_path, 101)
        attempt.commit(attempt.stage(0, 2, 2))
        line = snapshots(tmp_path)
        roll_back(tmp_path, line[2])
        with table_of(catalog_of(tmp_path), TABLE) as table:
            table.maintenance.expire_snapshots().by_ids([line[0], line[1], line[3]]).commit()
        with pytest.raises(TableRolledBack) as raised:
            attempt.committer.last_applied(LINEAGE, 0)
        assert raised.value.hint
