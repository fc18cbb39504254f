"""Flags that several commands share: one per setting of the session, made from the table of settings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from krishiv_stream._config import ResolvedSettings, resolve_settings
from krishiv_stream._setting_kinds import FLAG
from krishiv_stream._settings import SETTINGS, Setting

__all__ = ["DataDir", "Place", "Settings", "given", "resolve"]

_GROUP = Group("Settings", help="Each is also a KRISHIV_* variable and a key of krishiv.toml.", sort_key=10)


def _flag(setting: Setting) -> tuple[str, Any, Any]:
    shown = "***" if setting.name == "control_token" else setting.kind.shows(setting.default)
    help = f"{setting.help[0].upper()}{setting.help[1:]} [{setting.kind.syntax}; default: {shown}]"
    parameter = Parameter(name=setting.flag, help=help, group=_GROUP, show_default=False)
    kind: Any = bool | None if setting.kind is FLAG else str | None
    return setting.name, Annotated[kind, parameter], field(default=None)


if TYPE_CHECKING:

    class Settings:
        """The flags of all settings; None where a flag was not given."""
else:
    # Made from the table, so that a setting is written down once. A secret is no flag: command lines can be seen.
    Settings = Parameter(name="*")(
        make_dataclass(
            "Settings",
            [_flag(setting) for setting in SETTINGS.values() if setting.name != "control_token"],
            kw_only=True,
            namespace={"__module__": __name__},
        )
    )

DataDir = Annotated[str | None, Parameter(name="--data-dir", help=SETTINGS["data_dir"].help.capitalize(), group=_GROUP)]
Checkpoints = Annotated[
    str | None, Parameter(name="--checkpoints", help=SETTINGS["checkpoints"].help.capitalize(), group=_GROUP)
]
Storage = Annotated[str | None, Parameter(name="--storage", help=SETTINGS["storage"].help.capitalize(), group=_GROUP)]


@Parameter(name="*")
@dataclass(kw_only=True)
class Place:
    """The flags of commands that only look at what is stored."""

    data_dir: DataDir = None
    checkpoints: Checkpoints = None
    storage: Storage = None


def given(flags: Settings | Place | None) -> dict[str, Any]:
    """Return the settings that were given as flags, as they were typed."""
    return {} if flags is None else {name: value for name, value in vars(flags).items() if value is not None}


def resolve(flags: Settings | Place | None) -> ResolvedSettings:
    """Return the settings that hold for this command."""
    return resolve_settings({}, os.environ, Path.cwd(), flags=given(flags))
