"""``krishiv-stream config``: the settings that hold here, and where each comes from."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from krishiv_stream._admission import check_settings
from krishiv_stream._cli._options import Settings, resolve
from krishiv_stream._cli._output import Json, print_json, print_table
from krishiv_stream._settings import SETTINGS

__all__ = ["app"]

app = App(name="config", help="Show the settings that hold.")

Origin = Annotated[bool, Parameter(negative="", help="Also show where each value comes from.")]


@app.command
def show(*, origin: Origin = False, json: Json = False, settings: Settings | None = None) -> None:
    """Show every setting, checked; flags here count as they would for `run`."""
    resolved = resolve(settings)
    check_settings(resolved.settings)
    shown = {name: setting.kind.shows(getattr(resolved.settings, name)) for name, setting in SETTINGS.items()}
    if json:
        print_json(
            {
                name: {"value": text, "origin": str(resolved.origin(name))} if origin else text
                for name, text in shown.items()
            }
        )
    elif origin:
        print_table(
            ("setting", "value", "origin"), [(name, text, resolved.origin(name)) for name, text in shown.items()]
        )
    else:
        print_table(("setting", "value"), list(shown.items()))
