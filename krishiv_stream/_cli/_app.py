"""The commands by name. Each is imported only when it is used, so that every command starts fast."""

from __future__ import annotations

from importlib.metadata import entry_points, version

from cyclopts import App

__all__ = ["COMMANDS_GROUP", "build_app"]

COMMANDS_GROUP = "krishiv_stream.commands"
"""Entry-point group by which other packages add commands: a function or an App, parsed by cyclopts."""

_HELP = "Run streaming pipelines whose delivery guarantee is a proof, not a label."
_EPILOGUE = "--debug shows tracebacks. Exit codes: docs/cli.md."

_COMMANDS = {
    "run": ("_run:run", "Run a pipeline until it finishes or is stopped."),
    "explain": ("_explain:explain", "Show a pipeline's plan and what it guarantees."),
    "check": ("_explain:check", "Check a pipeline and the settings without running it."),
    "demo": (
        "krishiv_stream._demo:run_demo",
        "Run the main job, kill it three times, and compare its output with a batch query.",
    ),
    "checkpoints": ("_checkpoints:app", "Look at the checkpoints of a job."),
    "savepoints": ("_savepoints:app", "Look at the savepoints of a job, and remove them."),
    "config": ("_config_command:app", "Show the settings that hold."),
    "doctor": ("_doctor:doctor", "Check this machine and this installation."),
    "completion": ("_completion:completion", "Print or install completion for your shell."),
}


def build_app() -> App:
    """Return the application with all its commands, those of other packages included."""
    app = App(
        name="krishiv-stream",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        version=version("krishiv-stream"),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for name, (place, help) in _COMMANDS.items():
        app.command(place if "." in place else f"{__package__}.{place}", name=name, help=help)
    for point in entry_points(group=COMMANDS_GROUP):
        app.command(point.value, name=point.name, help=_help_of(point.name, point.dist))
    return app


def _help_of(name: str, distribution: object) -> str:
    if name == "certify":
        return "Kill a source and a sink at every step, and write the certificate that they earn."
    return f"From {getattr(distribution, 'name', 'another package')}."
