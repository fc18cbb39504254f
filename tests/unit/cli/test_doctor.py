"""The doctor: each check passes here, and fails where what it looks at is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krishiv_stream._cli import _doctor
from krishiv_stream._cli._exits import Exit

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from pathlib import Path

    from krishiv_checkpoint import FilesystemStore
    from tests.unit.cli.conftest import Outcome

    Cli = Callable[..., Outcome]


def found(outcome: Outcome) -> dict[str, str]:
    """Return each check's verdict."""
    return {finding["check"]: finding["verdict"] for finding in outcome.json}


def test_doctor_finds_this_machine_sound(cli: Cli, folder: Path) -> None:
    outcome = cli("doctor", "--json", "--data-dir", "data")
    verdicts = found(outcome)
    assert outcome.code == Exit.OK, outcome.json
    assert {"python", "pyarrow", "datafusion", "settings", "free space", "certificates"} <= set(verdicts)
    assert [verdicts[check] for check in ("file locks", "conditional create", "pyarrow", "settings")] == ["ok"] * 4
    assert list(folder.iterdir()) == []


def test_doctor_prints_a_table_for_people(cli: Cli) -> None:
    assert "conditional create" in cli("doctor").out


def refuse_nothing(store: FilesystemStore, key: str, data: bytes) -> None:
    path = store.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def broken_certificates() -> Any:
    raise ValueError("cannot be read")


@pytest.mark.parametrize(
    ("check", "place", "broken"),
    [
        ("conditional create", "krishiv_checkpoint.FilesystemStore.create", refuse_nothing),
        ("file locks", "krishiv_stream._cli._doctor.fcntl.flock", lambda *_: None),
        ("free space", "krishiv_stream._cli._doctor._NO_SPACE", 1 << 62),
        ("certificates", "krishiv_stream._guarantee_parts.installed_certificates", broken_certificates),
        ("pyarrow", "krishiv_stream._cli._doctor.version", None),
    ],
)
def test_doctor_fails_when_something_is_broken(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, check: str, place: str, broken: object
) -> None:
    monkeypatch.setattr(place, broken or missing)
    outcome = cli("doctor", "--json")
    assert outcome.code == Exit.FAILED
    assert found(outcome)[check] == "fail"


def missing(distribution: str) -> str:
    raise _doctor.PackageNotFoundError(distribution)


def test_doctor_fails_when_the_settings_do_not_go_together(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRISHIV_PROFILE", "single-node-durable")
    outcome = cli("doctor", "--json")
    assert (outcome.code, found(outcome)["settings"]) == (Exit.FAILED, "fail")


def test_doctor_warns_when_the_disk_is_slow(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "_SLOW_FSYNC", 0.0)
    outcome = cli("doctor", "--json")
    assert found(outcome)["fsync"] == "warn"


def test_doctor_fails_when_the_folder_cannot_be_written_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> contextlib.AbstractContextManager[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("krishiv_stream._cli._doctor.tempfile.TemporaryDirectory", refuse)
    outcome = cli("doctor", "--json")
    assert (outcome.code, found(outcome)["data folder"]) == (Exit.FAILED, "fail")
