"""How cases are run, and how what they find is counted and told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from krishiv_conformance import SCHEMA, Case, CaseFailed, run_case
from krishiv_conformance._case import NotReached, expect
from krishiv_conformance._cases.combination import combination_cases
from krishiv_conformance._matrix import reference_partners
from krishiv_conformance._processes import child_command, child_environment
from krishiv_conformance._rows import compare, expect_part, expect_rows, make_rows, rows_of
from tests.unit.conformance import sink_mutants, source_mutants

if TYPE_CHECKING:
    from krishiv_conformance import CaseResult
    from krishiv_conformance._case import Ground


def run(check: object, *, optional: bool = False, keep: Path | None = None) -> CaseResult:
    """Run one check on the reference partners."""
    source, sink, store = reference_partners()
    case = Case(name="test/case", about="", check=check, optional=optional)  # type: ignore[arg-type]  # any callable
    return run_case(case, source=source, sink=sink, store=store, seed=7, keep=keep)


def test_case_that_holds_passes_in_a_directory_of_its_own() -> None:
    seen: list[Path] = []

    def check(ground: Ground) -> None:
        assert sorted(path.name for path in ground.workdir.iterdir()) == ["sink", "source", "store"]
        seen.append(ground.workdir)
        ground.kills = 2

    result = run(check)
    assert (result.passed, result.reached, result.kills, result.seed, result.problem) == (True, True, 2, 7, "")
    assert not seen[0].exists()


def test_case_that_fails_says_why() -> None:
    result = run(lambda ground: expect(False, "two rows too many"))
    assert (result.passed, result.reached, result.problem) == (False, True, "two rows too many")


def test_case_whose_connector_raises_fails_with_the_traceback() -> None:
    result = run(lambda ground: 1 / 0)
    assert not result.passed
    assert "ZeroDivisionError" in result.problem


def test_case_that_is_not_reached_fails_unless_it_is_optional() -> None:
    def check(ground: Ground) -> None:
        raise NotReached("never came there")

    assert (run(check).passed, run(check).reached) == (False, False)
    assert (run(check, optional=True).passed, run(check, optional=True).reached) == (True, False)
    assert run(check).problem == "could not be brought about: never came there"


def test_case_draws_the_same_numbers_for_the_same_seed() -> None:
    drawn: list[float] = []
    for _ in range(2):
        run(lambda ground: drawn.append(ground.random.random()))
    assert drawn[0] == drawn[1]


def test_case_leaves_a_copy_of_its_directory_where_it_is_told_to(tmp_path: Path) -> None:
    run(lambda ground: (ground.workdir / "sink" / "note").write_text("here"), keep=tmp_path)
    assert (tmp_path / "test-case-7" / "sink" / "note").read_text() == "here"


def test_rows_are_the_same_for_the_same_seed_and_differ_from_each_other() -> None:
    rows = rows_of(make_rows(1, 300))
    assert rows == rows_of(make_rows(1, 300))
    assert len(set(rows)) == 300
    assert rows_of(make_rows(1, 10, first=300))[0][0] == 300
    assert make_rows(1, 300).schema.equals(SCHEMA)
    assert make_rows(1, 300)["amount"].null_count > 0


def test_compare_counts_lost_doubled_and_foreign_rows() -> None:
    difference = compare([(1,), (2,), (3,), (3,)], [(1,), (1,), (3,), (4,), (4,)])
    assert (difference.lost, difference.doubled, difference.foreign) == (2, 1, 2)
    assert "lost: (2,)" in str(difference)
    assert not compare([(1,), (2,)], [(2,), (1,)])


def test_expectations_of_rows_raise_for_what_they_forbid_alone() -> None:
    expect_part([(1,), (2,)], [(2,)], "so far")
    for wrong in ([(2,), (2,)], [(5,)]):
        with pytest.raises(CaseFailed, match="so far"):
            expect_part([(1,), (2,)], wrong, "so far")
    with pytest.raises(CaseFailed, match="1 rows lost"):
        expect_rows([(1,), (2,)], [(2,)], "at the end")


def test_rows_of_an_empty_table_are_none() -> None:
    assert rows_of(SCHEMA.empty_table()) == []
    assert rows_of(pa.table({})) == []


def test_child_gets_no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRISHIV_PARALLELISM", "7")
    environment = child_environment("ack.after=kill")
    assert "KRISHIV_PARALLELISM" not in environment
    assert environment["KRISHIV_FAILPOINTS"] == "ack.after=kill"
    assert str(Path(__file__).parents[3]) in environment["PYTHONPATH"].split(os.pathsep)
    assert child_command("_child", "x")[1:] == ["-P", "-m", "krishiv_conformance._child", "x"]


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("case", combination_cases()[:2], ids=lambda case: case.name)
@pytest.mark.parametrize(
    ("source", "sink", "passes"),
    [("Honest", "Honest", True), ("SkipsOnResume", "Honest", False), ("Honest", "CommitsAtClose", False)],
)
def test_combination_case_passes_two_honest_parts_and_catches_either(
    case: Case, source: str, sink: str, *, passes: bool
) -> None:
    _, _, store = reference_partners()
    result = run_case(
        case,
        source=getattr(source_mutants, f"{source}Harness")(),
        sink=getattr(sink_mutants, f"{sink}Harness")(),
        store=store,
        seed=0,
    )
    assert result.passed is passes, result.problem
    assert result.kills > 0
