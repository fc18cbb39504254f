"""Certifying where a server is missing: what is left out is said, and nothing is certified without it."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from krishiv_conformance import ServerFailed, ServerMissing, _certify, _command
from krishiv_conformance._command import certify
from krishiv_conformance._shipped import _kafka, _postgres, _s3
from krishiv_conformance.release import shipped_combinations
from krishiv_guarantees import CertificateIndex

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conformance.conftest import QuickSuite

BROKER = _kafka.BROKER.variable


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no certificates and no servers."""
    monkeypatch.setattr(_certify, "installed_certificates", CertificateIndex)
    monkeypatch.delenv(BROKER, raising=False)
    monkeypatch.delenv(_postgres.DATABASE.variable, raising=False)
    monkeypatch.delenv(_s3.BUCKETS.variable, raising=False)


def written(folder: Path) -> list[str]:
    """Return the names of the certificates in `folder`."""
    return sorted(path.name for path in folder.glob("*.json"))


def test_certify_of_the_shipped_ones_says_what_it_leaves_out_and_fails(
    quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_command, "SHIPPED", tmp_path)
    (tmp_path / "KafkaSource_KafkaSink_FilesystemStore.json").write_text("an older one")
    assert certify(shipped=True, jobs=1) == 1
    combinations = shipped_combinations()
    wanted = [each.file_name for each in combinations if all(part.server is None for part in each.parts)]
    assert written(tmp_path) == sorted([*wanted, "KafkaSource_KafkaSink_FilesystemStore.json"])
    assert (tmp_path / "KafkaSource_KafkaSink_FilesystemStore.json").read_text() == "an older one"
    # Said before the cases, and once more after them.
    said = " ".join(capsys.readouterr().out.split())
    for server in (_kafka.BROKER, _postgres.DATABASE, _s3.BUCKETS):
        count = sum(any(part.server == server for part in each.parts) for each in combinations)
        assert len(re.findall(rf"left out {count} combinations with [^:]*: {server.what}", said)) == 2
        assert f"{server.variable} names no command that starts one" in said
    assert not [name for name in quick.ran if any(part in name for part in ("Kafka", "Postgres", "s3", "ObjectStore"))]


def test_certify_leaves_out_partners_that_nobody_named(
    quick: QuickSuite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certify("JsonSink", out=tmp_path, json=True, jobs=1) == 0
    document = json.loads(capsys.readouterr().out)
    kafka, s3, postgres = sorted(document["left_out"], key=lambda each: sorted(each["parts"]))
    assert sorted(kafka["parts"]) == ["KafkaSource", "KafkaSource-follow"]
    assert len(kafka["combinations"]) == 4
    assert sorted(s3["parts"]) == ["ObjectStore", "ParquetSource-s3", "ParquetSource-s3-follow"]
    assert postgres["parts"] == ["PostgresSource"]
    assert not [name for name in written(tmp_path) if "Kafka" in name]


@pytest.mark.parametrize("options", [{"sink": ("KafkaSink",)}, {"source": ("KafkaSource",)}])
def test_certify_refuses_what_was_named_and_has_no_server(
    quick: QuickSuite, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ServerMissing, match="a Kafka broker is needed"):
        certify("JsonSource" if "sink" in options else "JsonSink", out=tmp_path, jobs=1, **options)
    assert quick.ran == []


def test_certify_refuses_a_server_that_does_not_start(
    quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no Java here')")
    monkeypatch.setenv(BROKER, f"{sys.executable} {script}")
    with pytest.raises(ServerFailed, match="no Java here"):
        certify("KafkaSink", source=("NexmarkSource",), out=tmp_path, jobs=1)
    monkeypatch.setenv(BROKER, "/nowhere/broker")
    with pytest.raises(ServerMissing, match="no command"):
        certify("KafkaSink", source=("NexmarkSource",), out=tmp_path, jobs=1)


def test_certify_refuses_a_connector_whose_library_is_not_installed(
    quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_conformance._shipped._kafka.find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="confluent-kafka is not installed"):
        certify("KafkaSink", source=("NexmarkSource",), out=tmp_path, jobs=1)


def test_certify_lists_the_cases_of_what_needs_a_server_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    certify("KafkaSink", source=("KafkaSource",), list_cases=True, json=True)
    cases = {row["case"] for row in json.loads(capsys.readouterr().out)}
    assert {"sink/server/commit.during-1", "source/server/under-a-job-1", "combination/server"} <= cases
