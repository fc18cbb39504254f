"""Certifying: who gets a certificate, what it holds, and what of an older one still counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import commit_path_texts
from krishiv_conformance import HarnessMissing, NotCertifiable, TargetMissing, _certify
from krishiv_conformance._command import certify
from krishiv_conformance._errors import CaseUnknown
from krishiv_conformance._evidence import inspect_parts
from krishiv_conformance._find import find_harnesses, shipped_harnesses
from krishiv_conformance._harness import SinkHarness
from krishiv_conformance._matrix import SUITE_VERSION
from krishiv_conformance.release import problems, shipped_combinations
from krishiv_connectors import MemorySink
from krishiv_guarantees import Certificate, CertificateIndex, Standing

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tests.unit.conformance.conftest import QuickSuite

ARGUMENTS = {"source": ("NexmarkSource",), "store": ("FilesystemStore",), "jobs": 1}


def only(folder: Path) -> Certificate:
    """Return the one certificate in `folder`."""
    (path,) = folder.glob("*.json")
    return Certificate.from_json(path.read_text(), origin=str(path))


def standing(certificate: Certificate, *targets: str) -> Standing:
    """Return how well `certificate` stands for the classes named, as they are now."""
    harnesses = [find_harnesses(target)[0] for target in targets]
    now = inspect_parts(harnesses)
    source, sink, store = (now.parts[harness] for harness in harnesses)
    found = CertificateIndex([certificate]).find(source, sink, store, commit_path_texts())  # type: ignore[arg-type]  # in this order
    return found.standing


@pytest.fixture
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing installed."""
    monkeypatch.setattr(_certify, "installed_certificates", CertificateIndex)


pytestmark = pytest.mark.usefixtures("no_certificates")


def test_certify_writes_a_fresh_certificate_of_what_passed(thirdparty: Path, quick: QuickSuite, tmp_path: Path) -> None:
    assert certify("thirdlake:LakeHarness", out=tmp_path / "out", seed=3, **ARGUMENTS) == 0
    certificate = only(tmp_path / "out")
    assert standing(certificate, "NexmarkSource", "thirdlake:LakeHarness", "FilesystemStore") is Standing.FRESH
    assert certificate.suite_version == SUITE_VERSION
    assert certificate.sink.class_name == "thirdlake:Lake"
    assert certificate.sink.faults.cases == ("sink/quick",)
    assert [name.rpartition(":")[2] for name in certificate.sink.faults.against] == [
        "ReferenceSource",
        "FilesystemStore",
    ]
    assert (certificate.combination.kills, certificate.combination.seeds) == (5, (3,))
    assert certificate.combination.against == ()


def test_certificate_turns_stale_when_the_sink_is_edited(thirdparty: Path, quick: QuickSuite, tmp_path: Path) -> None:
    certify("thirdlake:LakeHarness", out=tmp_path / "out", **ARGUMENTS)
    thirdparty.write_text(thirdparty.read_text().replace("pass", "retries = 1", 1))
    names = ("NexmarkSource", "thirdlake:LakeHarness", "FilesystemStore")
    assert standing(only(tmp_path / "out"), *names) is Standing.STALE


def test_certify_refuses_every_combination_of_a_part_that_failed(
    thirdparty: Path, quick: QuickSuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick.failing = {"CsvSource"}
    code = certify("thirdlake:LakeHarness", source=("NexmarkSource", "CsvSource"), out=tmp_path / "out", jobs=2)
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "CsvSource-follow_Lake_FilesystemStore.json",
        "NexmarkSource_Lake_FilesystemStore.json",
    ]
    printed = capsys.readouterr().out
    assert "FAIL CsvSource  source/quick" in printed
    assert "it was to fail" in printed
    assert "certify krishiv_conformance._shipped._sources:CsvSourceHarness --case 'source/quick' --seed 0" in printed
    assert "not certified CsvSource x Lake x FilesystemStore" in printed


def test_certify_certifies_nothing_if_the_code_changed_meanwhile(
    thirdparty: Path, quick: QuickSuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick.meanwhile = lambda: thirdparty.write_text(thirdparty.read_text().replace("pass", "retries = 1", 1))
    assert certify("thirdlake:LakeHarness", out=tmp_path / "out", **ARGUMENTS) == 1
    assert not (tmp_path / "out").exists()
    assert "edited while the cases ran" in capsys.readouterr().out


def test_certify_takes_results_of_partners_from_a_certificate_over_the_same_code(
    thirdparty: Path, quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify("JsonSink", out=tmp_path / "first", **ARGUMENTS)
    monkeypatch.setattr(_certify, "installed_certificates", lambda: CertificateIndex([only(tmp_path / "first")]))
    quick.ran.clear()
    certify("thirdlake:LakeHarness", out=tmp_path / "second", **ARGUMENTS)
    assert quick.ran == ["sink Lake"]
    assert only(tmp_path / "second").source.faults == only(tmp_path / "first").source.faults


def test_certify_runs_partners_again_if_asked_or_if_the_suite_grew(
    thirdparty: Path, quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify("JsonSink", out=tmp_path / "first", **ARGUMENTS)
    monkeypatch.setattr(_certify, "installed_certificates", lambda: CertificateIndex([only(tmp_path / "first")]))
    everything = ["sink Lake", "source NexmarkSource", "store FilesystemStore"]
    quick.ran.clear()
    certify("thirdlake:LakeHarness", out=tmp_path / "second", again=True, **ARGUMENTS)
    assert sorted(quick.ran) == everything
    monkeypatch.setattr("krishiv_conformance._evidence.SUITE_VERSION", "of tomorrow")
    quick.ran.clear()
    certify("thirdlake:LakeHarness", out=tmp_path / "third", **ARGUMENTS)
    assert sorted(quick.ran) == everything


def test_certify_runs_the_class_named_although_a_certificate_has_its_results(
    quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify("JsonSink", out=tmp_path / "first", **ARGUMENTS)
    monkeypatch.setattr(_certify, "installed_certificates", lambda: CertificateIndex([only(tmp_path / "first")]))
    quick.ran.clear()
    certify("JsonSink", out=tmp_path / "second", **ARGUMENTS)
    assert quick.ran == ["sink JsonSink"]


def test_certify_with_a_case_runs_that_alone_and_writes_nothing(
    quick: QuickSuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certify("JsonSink", case=("combination/quick-[12]",), out=tmp_path / "out", **ARGUMENTS) == 0
    assert quick.ran == []
    assert capsys.readouterr().out.count("combination/quick") == 2
    assert not (tmp_path / "out").exists()
    quick.failing = {"JsonSink"}
    assert certify("JsonSink", case=("sink/*",), out=tmp_path / "out", **ARGUMENTS) == 1


def test_certify_prints_one_document_as_json(
    quick: QuickSuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick.failing = {"JsonSink"}
    certify("JsonSink", out=tmp_path / "out", json=True, **ARGUMENTS)
    document = json.loads(capsys.readouterr().out)
    assert document["certificates"] == []
    assert document["refused"] == ["NexmarkSource x JsonSink x FilesystemStore"]
    failed = [case for case in document["cases"] if not case["passed"]]
    assert [(case["name"], case["seed"], case["problem"]) for case in failed] == [("sink/quick", 0, "it was to fail")]


def test_certify_lists_the_cases_with_what_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    certify("SqliteSink", list_cases=True, json=True, **ARGUMENTS)
    listed = {row["case"]: row["about"] for row in json.loads(capsys.readouterr().out)}
    assert listed["sink/kill/manifest.after"] == "Killed at manifest.after, in an epoch drawn by the seed."
    assert all(listed.values())
    assert len(listed) > 100


def test_certify_names_the_unknown(quick: QuickSuite) -> None:
    with pytest.raises(TargetMissing, match="nothing to certify"):
        certify()
    with pytest.raises(TargetMissing, match="no connector"):
        certify("ParquetSnik")
    with pytest.raises(TargetMissing, match="no module 'nowhere'"):
        certify("nowhere:Sink")
    with pytest.raises(CaseUnknown):
        certify("JsonSink", case=("sink/nothing",), **ARGUMENTS)


def test_connector_without_a_harness_is_told_how_to_get_one(thirdparty: Path) -> None:
    with pytest.raises(HarnessMissing, match="thirdlake:Pond"):
        find_harnesses("thirdlake:Pond")
    with pytest.raises(TargetMissing, match="has no 'Sea'"):
        find_harnesses("thirdlake:Sea")


def test_harness_is_found_by_connector_by_its_variants_and_by_place() -> None:
    assert [harness.name for harness in find_harnesses("ParquetSource")] == ["ParquetSource-follow", "ParquetSource"]
    assert [harness.name for harness in find_harnesses("CsvSource-follow")] == ["CsvSource-follow"]
    place = "krishiv_connectors.sqlite._sqlite_sink:SqliteSink"
    assert [harness.name for harness in find_harnesses(place)] == ["SqliteSink"]


class MemoryHarness(SinkHarness):
    """Of a sink that no crash of the process is survived by."""

    connector = MemorySink

    def make(self, workdir: Path) -> MemorySink:
        return MemorySink()

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        raise AssertionError("nothing is to be run")


class WrongHarness(MemoryHarness):
    """Says that it is for another class."""

    connector = find_harnesses("JsonSink")[0].connector


@pytest.mark.parametrize(
    ("name", "why"), [("MemoryHarness", "best_effort only"), ("WrongHarness", "makes a MemorySink")]
)
def test_certify_refuses_what_a_certificate_could_not_confirm(name: str, why: str) -> None:
    with pytest.raises(NotCertifiable, match=why):
        certify(f"{__name__}:{name}", **ARGUMENTS)


def test_release_check_names_what_is_missing_stale_and_too_much(quick: QuickSuite, tmp_path: Path) -> None:
    combinations = shipped_combinations()
    assert len(combinations) == len({combination.file_name for combination in combinations})
    certify("JsonSink", out=tmp_path, **ARGUMENTS)
    text = next(tmp_path.glob("*.json")).read_text()
    chosen = [each for each in combinations if str(each) == "NexmarkSource x JsonSink x FilesystemStore"]
    name = f"krishiv_conformance/{chosen[0].file_name}"
    assert list(problems(chosen, {name: text})) == []
    (missing,) = problems(chosen, {})
    assert "missing" in missing
    stale = certificate_of_another_day(text)
    (line,) = problems(chosen, {name: stale})
    assert "stale" in line
    (line,) = problems(chosen, {name: text, "krishiv_conformance/Other.json": text})
    assert "no shipped combination" in line


def certificate_of_another_day(text: str) -> str:
    """Return a certificate over other code of the commit path."""
    from dataclasses import replace

    certificate = Certificate.from_json(text, origin="test")
    return replace(
        certificate, commit_path={**certificate.commit_path, next(iter(certificate.commit_path)): "0" * 64}
    ).to_json()


def test_shipped_harnesses_make_what_they_say() -> None:
    parts = inspect_parts(shipped_harnesses()).parts
    assert {harness.name: part.short_class for harness, part in parts.items()} == {
        harness.name: harness.connector.__name__ for harness in shipped_harnesses()
    }
    assert all(part.modules for part in parts.values())
