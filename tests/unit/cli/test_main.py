"""The command line as a whole: help, versions, mistakes and defects."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from krishiv_stream._cli import _app
from krishiv_stream._cli._app import build_app
from krishiv_stream._cli._exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Outcome

    Cli = Callable[..., Outcome]


def test_help_lists_every_command(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.code == Exit.OK
    for command in (
        "run",
        "explain",
        "check",
        "demo",
        "certify",
        "checkpoints",
        "savepoints",
        "doctor",
        "config",
        "completion",
    ):
        assert f" {command} " in outcome.out


def test_version_is_the_distributions(cli: Cli) -> None:
    assert cli("--version").out.strip() == version("krishiv-stream")


@pytest.mark.parametrize("command", sorted(_app._COMMANDS))
def test_command_explains_itself(cli: Cli, command: str) -> None:
    outcome = cli(command, "--help")
    assert outcome.code == Exit.OK, outcome.err
    assert f"krishiv-stream {command}" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [("runn", "x:y"), ("run",), ("config", "show", "--bogus"), ("run", "x:y", "--on-sink-ahead", "perhaps")],
)
def test_command_line_is_refused_when_it_is_mistyped(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == Exit.USAGE
    assert outcome.out == ""
    assert "Error" in outcome.err


def test_error_shows_code_message_and_hint_without_a_traceback(cli: Cli) -> None:
    outcome = cli("config", "show", "--profile", "dev-locl")
    assert outcome.code == Exit.USAGE
    assert "error KS-SETTING-UNKNOWN: " in outcome.err
    assert "  hint: did you mean 'dev-local'?" in outcome.err
    assert "Traceback" not in outcome.err


def test_error_is_json_when_json_was_asked_for(cli: Cli) -> None:
    outcome = cli("config", "show", "--json", "--parallelism", "0")
    assert (outcome.code, outcome.out) == (Exit.USAGE, "")
    assert json.loads(outcome.err)["error"]["code"] == "KS-SETTING-INVALID"


def test_error_shows_its_traceback_when_debugging(cli: Cli) -> None:
    outcome = cli("config", "show", "--parallelism", "0", "--debug")
    assert outcome.code == Exit.USAGE
    assert "Traceback" in outcome.err


def fail() -> None:
    raise ZeroDivisionError("a defect")


def be_interrupted() -> None:
    raise KeyboardInterrupt


def lose_its_reader() -> None:
    raise BrokenPipeError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the commands by ones that end badly."""
    here = f"{__name__}:"
    commands = {name: (f"{here}{name}", "") for name in ("fail", "be_interrupted")}
    monkeypatch.setattr(_app, "_COMMANDS", commands)


@pytest.mark.usefixtures("commands")
def test_defect_is_told_from_a_users_mistake(cli: Cli) -> None:
    outcome = cli("fail")
    assert outcome.code == Exit.DEFECT
    assert "unexpected ZeroDivisionError: a defect" in outcome.err
    with pytest.raises(ZeroDivisionError):
        cli("fail", "--debug")


@pytest.mark.usefixtures("commands")
def test_interrupt_ends_in_its_own_code(cli: Cli) -> None:
    assert cli("be_interrupted").code == Exit.INTERRUPTED


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(cli: Cli, shell: str) -> None:
    outcome = cli("completion", shell)
    assert outcome.code == Exit.OK
    assert "krishiv-stream" in outcome.out


def test_every_command_of_another_package_is_there_by_its_entry_point() -> None:
    assert "certify" in build_app()


def test_config_shows_values_and_their_origins(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "krishiv.toml").write_text('linger = "1ms"\nparallelism = 2\n')
    monkeypatch.setenv("KRISHIV_PARALLELISM", "3")
    monkeypatch.setenv("KRISHIV_CONTROL_TOKEN", "hunter2")
    shown = cli("config", "show", "--origin", "--json", "--data-dir", "d").json
    assert shown["linger"] == {"value": "1ms", "origin": f"file {folder / 'krishiv.toml'}"}
    assert shown["parallelism"] == {"value": "3", "origin": "environment KRISHIV_PARALLELISM"}
    assert shown["data_dir"] == {"value": str(folder / "d"), "origin": "flag --data-dir"}
    assert shown["control_token"] == {"value": "***", "origin": "environment KRISHIV_CONTROL_TOKEN"}
    assert "hunter2" not in cli("config", "show", "--origin").out


def test_config_is_refused_when_the_settings_do_not_go_together(cli: Cli) -> None:
    outcome = cli("config", "show", "--profile", "single-node-durable")
    assert outcome.code == Exit.USAGE
    assert "data_dir" in outcome.err


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("explain",),
        ("check",),
        ("checkpoints", "ls"),
        ("checkpoints", "show"),
        ("checkpoints", "verify"),
        ("savepoints", "ls"),
        ("savepoints", "show"),
        ("config", "show"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_command_that_reads_can_print_json(cli: Cli, command: tuple[str, ...]) -> None:
    assert "--json" in cli(*command, "--help").out


def test_completion_is_installed_where_the_shell_finds_it(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    outcome = cli("completion", "fish", "--install")
    written = folder / ".config" / "fish" / "completions" / "krishiv-stream.fish"
    assert (outcome.code, outcome.out) == (Exit.OK, f"wrote {written}\n")
    assert "checkpoints" in written.read_text()
