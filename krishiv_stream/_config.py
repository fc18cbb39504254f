"""Where settings come from: arguments, then flags, then the environment, then `krishiv.toml`, then defaults."""

from __future__ import annotations

import tomllib
from collections import ChainMap
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from krishiv_guarantees import ConfigurationError
from krishiv_stream._errors import InvalidSetting, UnknownSetting
from krishiv_stream._setting_kinds import suggest
from krishiv_stream._settings import SETTINGS, Setting, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONFIG_FILE", "OTHER_VARIABLES", "Origin", "OriginKind", "ResolvedSettings", "resolve_settings"]

CONFIG_FILE: Final = "krishiv.toml"
OTHER_VARIABLES: Final = (
    "KRISHIV_CERTIFY_KAFKA",
    "KRISHIV_FAILPOINTS",
    "KRISHIV_REQUIRE_SERVERS",
    "KRISHIV_SERVICES_CACHE",
)
"""Variables with our prefix that set something else than a session's settings."""

_PREFIX: Final = "KRISHIV_"


class OriginKind(StrEnum):
    """The places that a value can come from, the strongest first."""

    ARGUMENT = "argument"
    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True)
class Origin:
    """Where one value came from.

    Parameters
    ----------
    kind : OriginKind
    name : str
        The flag, the variable or the file; empty for arguments and defaults.
    """

    kind: OriginKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}".rstrip()


_DEFAULT: Final = Origin(OriginKind.DEFAULT)


@dataclass(frozen=True)
class ResolvedSettings:
    """Settings, and where each of them came from.

    Parameters
    ----------
    settings : Settings
    origins : mapping of setting name to Origin
        Only of those that were set somewhere.
    """

    settings: Settings
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def origin(self, name: str) -> Origin:
        """Return where the value of setting `name` came from."""
        return self.origins.get(name, _DEFAULT)

    def is_set(self, name: str) -> bool:
        """Whether anything but the default gave setting `name` its value."""
        return name in self.origins


def resolve_settings(
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    flags: Mapping[str, object] | None = None,
) -> ResolvedSettings:
    """Return the settings that hold, each checked by itself and each with its origin.

    Parameters
    ----------
    overrides : mapping of setting name to value
        The arguments of `Session`: only those that were given. None is a value where the setting allows it.
    environ : mapping
        The environment; variables named ``KRISHIV_<SETTING>`` count.
    cwd : Path
        Folder where `krishiv.toml` is looked for, and that relative paths start from.
    flags : mapping of setting name to value, optional
        The command line's: only those that were given.

    Raises
    ------
    UnknownSetting
        For a name that is no setting, wherever it was found, with what it may have meant.
    InvalidSetting
        For a value that cannot be used, with where it was written.
    """
    found = ChainMap(
        _of_arguments(overrides),
        _of_flags(flags or {}),
        _of_environment(environ),
        _of_file(cwd / CONFIG_FILE),
    )
    values: dict[str, Any] = {
        name: _read(SETTINGS[name], value, origin, cwd) for name, (value, origin) in found.items()
    }
    return ResolvedSettings(Settings(**values), {name: origin for name, (_, origin) in found.items()})


def _of_arguments(overrides: Mapping[str, object]) -> dict[str, tuple[object, Origin]]:
    origin = Origin(OriginKind.ARGUMENT)
    return {_known(name, list(SETTINGS), origin): (value, origin) for name, value in overrides.items()}


def _of_flags(flags: Mapping[str, object]) -> dict[str, tuple[object, Origin]]:
    return {name: (value, Origin(OriginKind.FLAG, SETTINGS[name].flag)) for name, value in flags.items()}


def _of_environment(environ: Mapping[str, str]) -> dict[str, tuple[object, Origin]]:
    names = {setting.variable: name for name, setting in SETTINGS.items()}
    found: dict[str, tuple[object, Origin]] = {}
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX) or variable in OTHER_VARIABLES:
            continue
        _known(variable, [*names, *OTHER_VARIABLES], Origin(OriginKind.ENVIRONMENT))
        found[names[variable]] = (value, Origin(OriginKind.ENVIRONMENT, variable))
    return found


def _of_file(path: Path) -> dict[str, tuple[object, Origin]]:
    origin = Origin(OriginKind.FILE, str(path))
    return {_known(name, list(SETTINGS), origin): (value, origin) for name, value in _load(path).items()}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path} is not TOML: {error}", hint="mend that line", where=str(path)) from None
    except OSError as error:
        raise InvalidSetting(
            f"{path} cannot be read: {error.strerror}", hint="make it readable, or remove it", where=str(path)
        ) from error


def _known(name: str, valid: list[str], origin: Origin) -> str:
    if name not in valid:
        raise UnknownSetting(
            f"there is no setting {name!r} ({origin})", hint=suggest(name, valid), name=name, where=origin, valid=valid
        )
    return name


def _read(setting: Setting, value: object, origin: Origin, cwd: Path) -> object:
    try:
        read = setting.kind.reads(value)
    except ConfigurationError as error:
        # An unknown mode or profile is a name that does not exist, like an unknown setting.
        kind = UnknownSetting if "valid" in error.fields else InvalidSetting
        raise kind(
            f"setting {setting.name} ({origin}): {error.message}",
            hint=error.hint,
            **{"name" if kind is UnknownSetting else "setting": setting.name, "where": origin, "value": value},
            **error.fields,
        ) from None
    return _from(cwd, setting.name, read)


def _from(cwd: Path, name: str, value: object) -> object:
    """Make paths absolute, so that a job means the same folder wherever it is looked at from."""
    if isinstance(value, Path):
        return cwd / value
    if name == "checkpoints" and isinstance(value, str) and "://" not in value:
        return str(cwd / value)
    return value
