"""Kafka in the suite: broken sinks are refused, the shipped pass, and a certificate is what grants exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import krishiv_stream as ks
from krishiv_conformance import run_case
from krishiv_conformance._command import certify
from krishiv_conformance._matrix import (
    combination_server_cases,
    reference_partners,
    server_cases,
    sink_cases,
    source_cases,
)
from krishiv_conformance._shipped import (
    KafkaFollowHarness,
    KafkaSinkHarness,
    KafkaSourceHarness,
    ParquetSinkHarness,
    ParquetSourceHarness,
)
from krishiv_conformance._shipped._kafka import BROKER
from krishiv_conformance._shipped._topics import TopicOutside
from krishiv_guarantees import CertificateIndex, Guarantee, GuaranteeError
from tests.integration.conformance import kafka_mutants

if TYPE_CHECKING:
    from krishiv_conformance import Case, CaseResult
    from krishiv_conformance._servers import Servers
    from tests.unit.conformance.conftest import QuickSuite

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180), pytest.mark.usefixtures("broker_command")]

SCHEMA = pa.schema([("a", pa.int64())])


def run(name: str, servers: Servers, **parts: Any) -> CaseResult:
    """Run the case called `name` with `parts`, and reference partners for the others."""
    source, sink, store = reference_partners()
    chosen = {"source": source, "sink": sink, "store": store, **parts}
    return run_case(case_of(name, chosen), seed=0, servers=servers, **chosen)


def case_of(name: str, parts: dict[str, Any]) -> Case:
    """Return the case called `name`, of whichever matrix it is."""
    cases = [
        *sink_cases(parts["sink"]),
        *source_cases(parts["source"], Path("/nowhere")),
        *server_cases("sink"),
        *server_cases("source"),
        *combination_server_cases(),
    ]
    return next(case for case in cases if case.name == name)


@pytest.mark.kill
@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        ("WritesOutsideTheTransaction", "sink/contract/racing-commits-publish-once"),
        ("WritesOutsideTheTransaction", "sink/kill/commit.during-1"),
        ("ForgetsTheMark", "sink/contract/a-second-commit-changes-nothing"),
        ("ForgetsTheMark", "sink/contract/last-applied-tells-what-is-published"),
        ("WritesAtPrepare", "sink/contract/prepared-rows-stay-invisible"),
        ("WritesAtPrepare", "sink/zombie/prepare.after-finished"),
    ],
)
def test_broken_kafka_sink_is_refused(servers: Servers, mutant: str, name: str) -> None:
    result = run(name, servers, sink=getattr(kafka_mutants, f"{mutant}Harness")())
    assert result.reached
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.kill
@pytest.mark.parametrize(
    "name",
    ["sink/contract/racing-commits-publish-once", "sink/kill/commit.during-1", "sink/zombie/commit.during-finished"],
)
def test_kafka_sink_passes(servers: Servers, name: str) -> None:
    result = run(name, servers, sink=KafkaSinkHarness())
    assert result.passed, result.problem
    assert result.reached


@pytest.mark.kill
@pytest.mark.parametrize("name", ["source/contract/new-splits-are-found", "source/follow/killed"])
def test_kafka_source_that_follows_passes(servers: Servers, name: str) -> None:
    result = run(name, servers, source=KafkaFollowHarness())
    assert result.passed, result.problem


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sink/server/commit.during-1", {"sink": KafkaSinkHarness}),
        ("source/server/under-a-job-1", {"source": KafkaSourceHarness}),
        ("combination/server", {"source": KafkaSourceHarness, "sink": KafkaSinkHarness}),
    ],
)
def test_kafka_connectors_bear_the_death_of_their_broker(servers: Servers, name: str, parts: dict[str, Any]) -> None:
    result = run(name, servers, **{role: kind() for role, kind in parts.items()})
    assert result.passed, result.problem
    assert result.kills > 0


# ---------------------------------------------------------------- what a certificate is for


PAIRS = {
    "kafka-kafka": (KafkaSourceHarness, KafkaSinkHarness),
    "kafka-follow-kafka": (KafkaFollowHarness, KafkaSinkHarness),
    "kafka-parquet": (KafkaSourceHarness, ParquetSinkHarness),
    "parquet-kafka": (ParquetSourceHarness, KafkaSinkHarness),
}


def pipeline(pair: str, broker: str, folder: Path) -> ks.Pipeline:
    """Return what a user would write."""
    first, _, second = pair.rpartition("-")
    for topic in ("in", "out"):
        TopicOutside(broker, f"{topic}-{pair}").make(1)
    pq.write_table(pa.table({"a": [1]}, SCHEMA), folder / "rows.parquet")
    source: Any = ks.ParquetSource(str(folder / "*.parquet"), schema=SCHEMA)
    if first.startswith("kafka"):
        source = ks.KafkaSource(broker, f"in-{pair}", schema=SCHEMA, until=None if "follow" in first else "latest")
    sink: Any = ks.KafkaSink(broker, f"out-{pair}") if second == "kafka" else ks.ParquetSink(folder / "out")
    return ks.read(source, name="rows").write(sink, name="out")


@pytest.mark.parametrize("pair", PAIRS)
def test_exactly_once_with_kafka_is_refused_without_a_certificate_and_granted_with_one(
    pair: str, servers: Servers, quick: QuickSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = CertificateIndex([])
    monkeypatch.setattr("krishiv_stream._guarantee_parts.installed_certificates", lambda: installed)
    monkeypatch.setattr("krishiv_conformance._certify.installed_certificates", lambda: installed)
    asked = pipeline(pair, servers.shared(BROKER).address, tmp_path)
    with monkeypatch.context() as environment:
        environment.delenv(BROKER.variable)  # no setting of a session
        session = ks.Session(profile="single-node-durable", data_dir=tmp_path / "data")
    with pytest.raises(GuaranteeError, match="exactly_once"):
        session.run(asked, job="asked", require="exactly_once")
    source, sink = (f"{kind.__module__}:{kind.__qualname__}" for kind in PAIRS[pair])
    assert certify(source, sink=(sink,), store=("FilesystemStore",), out=tmp_path / "certificates", jobs=1) == 0
    (text,) = (tmp_path / "certificates").glob("*.json")
    installed = CertificateIndex.from_texts({text.name: text.read_text()})
    with session.start(asked, job="asked", require="exactly_once") as job:
        job.stop()
    report = session.guarantee(asked)
    assert report.level is Guarantee.EXACTLY_ONCE, str(report)
    assert not report.warnings
