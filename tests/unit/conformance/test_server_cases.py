"""Cases that kill a server: each catches a part that takes it in the wrong way, and passes one that bears it."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import ServerFailed, run_case
from krishiv_conformance._case import Case
from krishiv_conformance._matrix import combination_server_cases, reference_partners, server_cases
from krishiv_conformance._servers import CommandServer, RunningServer, Servers
from krishiv_conformance._subjects import Combination, combination_subject, part_subject
from tests.unit.conformance import server_mutants, sink_mutants
from tests.unit.conformance.caught import caught
from tests.unit.conformance.server_mutants import SINK_MUTANTS, SOURCE_MUTANTS, TABLES
from tests.unit.conformance.table_server import TableServer, ask

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from krishiv_conformance import CaseResult
    from krishiv_conformance._case import Ground

CASES = {case.name: case for role in ("sink", "source") for case in server_cases(role)}

CATCHES = {
    "sink/server/under-a-job-1": "KeepsInMemory",
    "sink/server/under-a-job-2": "KeepsInMemory",
    "sink/server/under-a-job-3": "KeepsInMemory",
    "sink/server/commit.during-1": "SendsAgain",
    "sink/server/commit.during-2": "KeepsInMemory",
    "sink/server/commit.during-3": "KeepsInMemory",
    "sink/server/commit.during-4": "KeepsInMemory",
    "sink/server/commit.during-5": "KeepsInMemory",
    "sink/server/commit.during-6": "TakesSilenceForConsent",
    "sink/server/racing-1": "KeepsInMemory",
    "sink/server/racing-2": "KeepsInMemory",
    "sink/server/racing-3": "KeepsInMemory",
    "sink/server/racing-4": "KeepsInMemory",
    "sink/server/with-the-job": "KeepsInMemory",
    "sink/server/away-at-start": "KeepsInMemory",
    "source/server/under-a-job-1": "SkipsWhenTheConnectionIsLost",
    "source/server/under-a-job-2": "SkipsWhenTheConnectionIsLost",
    "source/server/under-a-job-3": "EndsWhenTheServerIsAway",
    "source/server/with-the-job": "ForgetsWhereItWas",
    "source/server/away-at-start": "ForgetsWhereItWas",
}
"""By case: the part that it must catch."""

HONEST = ("under-a-job-1", "commit.during-1", "commit.during-3", "racing-4", "with-the-job", "away-at-start")


def run(case: Case, name: str, servers: Servers | None = None, seed: int = 0) -> CaseResult:
    """Run one case on a part of `server_mutants`, with reference partners."""
    harness: Any = getattr(server_mutants, f"{name}Harness")()
    source, sink, store = reference_partners()
    if harness.role == "sink":
        return run_case(case, source=source, sink=harness, store=store, seed=seed, servers=servers)
    return run_case(case, source=harness, sink=sink, store=store, seed=seed, servers=servers)


def test_every_server_case_has_a_mutant_and_every_mutant_is_used() -> None:
    assert set(CATCHES) == set(CASES)
    assert {kind.__name__ for kind in (*SINK_MUTANTS, *SOURCE_MUTANTS)} == set(CATCHES.values())


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("name", CASES)
def test_server_case_catches_its_mutant(name: str) -> None:
    result = caught(lambda seed: run(CASES[name], CATCHES[name], seed=seed))
    assert result.reached
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("name", [name for name in CASES if name.rpartition("/")[2] in HONEST])
def test_server_case_passes_an_honest_part(name: str) -> None:
    result = run(CASES[name], "TableSink" if name.startswith("sink") else "TableSource")
    assert result.reached
    assert result.passed, result.problem


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize(
    ("source", "sink", "passes"),
    [("TableSource", "TableSink", True), ("SkipsWhenTheConnectionIsLost", "TableSink", False)],
)
def test_combination_with_a_server_passes_two_honest_parts_that_share_it(
    source: str, sink: str, *, passes: bool
) -> None:
    (case,) = combination_server_cases()
    made: Any = getattr(server_mutants, f"{source}Harness")()
    into: Any = getattr(server_mutants, f"{sink}Harness")()
    before = TABLES.started, len(TABLES.killed)
    result = run_case(case, source=made, sink=into, store=reference_partners()[2], seed=0)
    assert result.passed is passes, result.problem
    # One server for both, started again once; killed by the case, and in the end.
    assert (TABLES.started - before[0], len(TABLES.killed) - before[1]) == (2, 2)


@pytest.mark.kill
def test_server_that_a_case_kills_is_really_gone_and_comes_back_with_its_data() -> None:
    before = len(TABLES.killed)

    def check(ground: Ground) -> None:
        (server,) = ground.servers
        assert ground.sink.address(ground.workdir / "sink") == server.address
        ask(server.address, {"put": "a", "rows": [1]})
        server.kill()
        assert len(TABLES.killed) == before + 1
        with pytest.raises(ConnectionRefusedError):
            ask(server.address, {})
        server.start()
        assert ask(server.address, {}) == ["a"]

    result = run(Case(name="sink/server/test", about="", check=check, kills_servers=True), "TableSink")
    assert result.passed, result.problem
    assert len(TABLES.killed) == before + 2  # the last one is at the end of the case


def test_cases_share_a_server_unless_they_kill_it() -> None:
    addresses: list[str] = []

    def check(ground: Ground) -> None:
        addresses.append(ground.sink.address(ground.workdir / "sink"))

    def case(*, kills: bool) -> Case:
        return Case(name="sink/server/test", about="", check=check, kills_servers=kills)

    killed = len(TABLES.killed)
    with Servers() as servers:
        for kills in (False, False, True):
            assert run(case(kills=kills), "TableSink", servers).passed
        assert len(TABLES.killed) == killed + 1
        assert addresses[0] == addresses[1] == servers.shared(TABLES).address
        assert addresses[2] != addresses[0]
    assert len(TABLES.killed) == killed + 2
    with pytest.raises(ConnectionRefusedError):
        ask(addresses[0], {})


def test_only_parts_with_a_server_have_server_cases() -> None:
    source, sink, store = reference_partners()
    tables = server_mutants.TableSinkHarness()
    assert not [case for case in part_subject(sink).cases if case.kills_servers]
    mine = [case.name for case in part_subject(tables).cases if case.kills_servers]
    assert mine == [case.name for case in server_cases("sink")]
    names = [
        [case.name for case in combination_subject(Combination(source=source, sink=into, store=store)).cases]
        for into in (sink, tables)
    ]
    assert set(names[1]) - set(names[0]) == {"combination/server"}


def test_server_that_comes_back_elsewhere_is_refused() -> None:
    class Wanders(TableServer):
        def start(self, folder: Path) -> str:
            (folder / "port").unlink(missing_ok=True)
            return super().start(folder)

    with RunningServer(Wanders()) as server:
        server.kill()
        with pytest.raises(ServerFailed, match="came back at"):
            server.start()


def test_harness_without_a_running_server_has_an_address_where_nobody_listens(tmp_path: Path) -> None:
    host, _, port = server_mutants.TableSinkHarness().address(tmp_path).rpartition(":")
    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=5):
        pass


def test_own_names_differ_by_case_and_by_part(tmp_path: Path) -> None:
    sink, source = server_mutants.TableSinkHarness(), server_mutants.TableSourceHarness()
    cases = [tmp_path / "krishiv-case-a", tmp_path / "krishiv-case-b"]
    names = {each.own_name(case / each.role) for each in (sink, source) for case in cases}
    assert len(names) == 4
    assert sink_mutants.HonestHarness().server is None


SCRIPT = """
import sys
verb, folder = sys.argv[1:]
print("hello")
print("db.example:99" if verb == "start" else "")
sys.exit("it is broken" if "broken" in folder else 0)
"""


def test_command_server_runs_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "my server.py"
    script.write_text(SCRIPT)
    monkeypatch.setenv("MY_SERVER", f"{sys.executable} '{script}'")
    server = CommandServer("MY_SERVER", "a server of mine")
    assert server.start(tmp_path / "data") == "db.example:99"
    server.kill(tmp_path / "data")
    with pytest.raises(ServerFailed, match="a server of mine did not kill: it is broken"):
        server.kill(tmp_path / "broken")
    assert CommandServer("MY_SERVER", "a server of mine") == server
