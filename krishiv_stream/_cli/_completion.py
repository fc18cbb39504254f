"""``krishiv-stream completion``: what makes a shell complete our commands and flags."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["completion"]

Shell = Annotated[
    Literal["bash", "zsh", "fish"] | None, Parameter(help="The shell; left out: the one that this runs in.")
]
Install = Annotated[bool, Parameter(negative="", help="Write it where the shell finds it, and say where.")]


def completion(shell: Shell = None, *, install: Install = False) -> None:
    """Print the completion script of your shell, or install it."""
    from krishiv_stream._cli._app import build_app

    app = build_app()
    if install:
        print(f"wrote {app.install_completion(shell=shell)}")
    else:
        print(app.generate_completion(shell=shell))
