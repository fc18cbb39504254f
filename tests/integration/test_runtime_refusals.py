"""What a session may run on: nine pairs of mode and placement, nine of mode and profile, and never a fallback."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_guarantees import Profile
from krishiv_stream._errors import InvalidPlacement
from krishiv_stream._modes import ExecutionPlacement, RuntimeMode
from krishiv_stream._runtime.embedded import EmbeddedJob

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDED, SINGLE_NODE, DISTRIBUTED = (mode.value for mode in RuntimeMode)
LOCAL, DAEMON, REMOTE = (placement.value for placement in ExecutionPlacement)
DEV, DURABLE, EVERYWHERE = (profile.label for profile in Profile)

VALID = {
    (EMBEDDED, LOCAL): None,
    (SINGLE_NODE, LOCAL): None,
    (SINGLE_NODE, DAEMON): "grpc://127.0.0.1:7411",
    (DISTRIBUTED, REMOTE): "grpc://127.0.0.1:7411",
}
"""The pairs that exist, each with the coordinator it needs."""


class Engine:
    """Counts the jobs that reach the engine of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs = 0
        begin = EmbeddedJob.start

        def start(job: EmbeddedJob) -> None:
            self.jobs += 1
            begin(job)

        monkeypatch.setattr(EmbeddedJob, "start", start)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of this process, watched."""
    for name in ("MODE", "PROFILE", "PLACEMENT", "COORDINATOR"):
        monkeypatch.delenv(f"KRISHIV_{name}", raising=False)
    return Engine(monkeypatch)


def run(**options: Any) -> ks.JobResult:
    """Run a pipeline in a session with `options`."""
    sink = ks.MemorySink()
    with ks.Session(**options) as session:
        result = session.run(ks.read(ks.MemorySource(pa.table({"x": [1, 2, 3]}))).write(sink, name="out"), job="job")
    assert sink.table().num_rows == 3
    return result


@pytest.mark.parametrize(
    ("mode", "placement"), [*product((EMBEDDED, SINGLE_NODE, DISTRIBUTED), (LOCAL, DAEMON, REMOTE))]
)
def test_only_the_embedded_pair_reaches_the_engine_of_this_process(engine: Engine, mode: str, placement: str) -> None:
    asked = {"mode": mode, "placement": placement, "coordinator": VALID.get((mode, placement))}
    if (mode, placement) == (EMBEDDED, LOCAL):
        assert run(**asked).state == "finished"
        assert engine.jobs == 1
        return
    refusal = ks.NotAvailable if (mode, placement) in VALID else InvalidPlacement
    with pytest.raises(refusal) as told:
        run(**asked)
    assert type(told.value) is refusal
    assert mode in told.value.message
    assert placement in told.value.message
    assert told.value.hint
    assert engine.jobs == 0


@pytest.mark.parametrize("mode", [SINGLE_NODE, DISTRIBUTED])
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_mode_of_another_build_is_refused_before_anything_is_stored(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, way: str
) -> None:
    options: dict[str, Any] = {"data_dir": tmp_path / "data"}
    coordinator = "grpc://127.0.0.1:7411" if mode == DISTRIBUTED else None
    if way == "argument":
        options |= {"mode": mode, "coordinator": coordinator}
    else:
        monkeypatch.setenv("KRISHIV_MODE", mode)
        if coordinator:
            monkeypatch.setenv("KRISHIV_COORDINATOR", coordinator)
    with pytest.raises(ks.NotAvailable, match="not available in this build") as told:
        run(**options)
    assert "embedded" in told.value.hint
    assert engine.jobs == 0
    assert not (tmp_path / "data").exists()


def test_distributed_session_without_a_coordinator_does_not_fall_back(engine: Engine) -> None:
    with pytest.raises(ks.CoordinatorUnfit, match="needs a coordinator"):
        run(mode=DISTRIBUTED)
    assert engine.jobs == 0


def test_session_from_the_environment_does_not_pass_over_a_coordinator(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRISHIV_COORDINATOR", "grpc://127.0.0.1:7411")
    with pytest.raises(ks.NotAvailable, match=r"127\.0\.0\.1:7411"):
        ks.Session.from_env()
    monkeypatch.delenv("KRISHIV_COORDINATOR")
    with ks.Session.from_env() as session:
        assert session.settings.mode is RuntimeMode.EMBEDDED
    assert engine.jobs == 0


SETTINGS: dict[str, dict[str, Any]] = {
    DEV: {},
    DURABLE: {"data_dir": "data", "control_token": "secret"},
    EVERYWHERE: {
        "checkpoints": "s3://bucket/checkpoints",
        "metadata": "etcd://127.0.0.1:2379",
        "control_token": "secret",
    },
}
"""What each profile asks for, so that nothing but the mode decides."""


@pytest.mark.parametrize(
    ("mode", "profile"), [*product((EMBEDDED, SINGLE_NODE, DISTRIBUTED), (DEV, DURABLE, EVERYWHERE))]
)
def test_profile_runs_here_or_is_refused_by_name(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, profile: str
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"mode": mode, "profile": profile, **SETTINGS[profile]}
    if mode == DISTRIBUTED:
        asked["coordinator"] = "grpc://10.0.0.7:7411"
    match mode, profile:
        case ("embedded", "dev-local" | "single-node-durable"):
            assert run(**asked).state == "finished"
            assert engine.jobs == 1
            return
        case ("distributed", "single-node-durable"):
            refusal, code = ks.ProfileUnfit, "KS-MODE-PROFILE"
        case _:
            refusal, code = ks.NotAvailable, "KS-NOT-AVAILABLE"
    with pytest.raises(refusal) as told:
        run(**asked)
    assert (type(told.value), told.value.code, bool(told.value.hint)) == (refusal, code, True)
    assert engine.jobs == 0
    assert not (tmp_path / "data").exists()
