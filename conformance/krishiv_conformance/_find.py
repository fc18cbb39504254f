"""From a name on the command line to a harness."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krishiv_conformance import _shipped
from krishiv_conformance._errors import HarnessMissing, TargetMissing
from krishiv_conformance._harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HARNESSES", "find_harnesses", "known_harnesses", "shipped_harnesses"]

HARNESSES = "krishiv_stream.harnesses"
"""Entry-point group by which packages name the harnesses of their connectors."""


def shipped_harnesses() -> list[Harness]:
    """Return a harness of each connector and store that comes with krishiv-stream."""
    return [getattr(_shipped, name)() for name in _shipped.__all__]


def known_harnesses() -> list[Harness]:
    """Return the shipped harnesses and those that installed packages name."""
    return [*shipped_harnesses(), *(point.load()() for point in entry_points(group=HARNESSES))]


def find_harnesses(target: str) -> list[Harness]:
    """Return the harnesses that `target` names: several, if a connector is certified in several variants.

    Parameters
    ----------
    target : str
        ``"module:Class"`` of a harness, or of a connector that a known harness is for; or that connector's bare name.

    Raises
    ------
    TargetMissing
        If there is no such class.
    HarnessMissing
        If it is a connector without a harness.
    """
    known = known_harnesses()
    if ":" not in target:
        return _by_name(target, known)
    found = _load(target)
    if isinstance(found, type) and issubclass(found, Harness):
        return [found()]
    if harnesses := [harness for harness in known if harness.connector is found]:
        return harnesses
    raise HarnessMissing(
        f"there is no harness for {target}",
        hint="write a SinkHarness, SourceHarness or StoreHarness for it (docs/certify.md) and certify that class",
        target=target,
    )


def _by_name(name: str, known: list[Harness]) -> list[Harness]:
    if harnesses := [harness for harness in known if name in (harness.name, harness.connector.__name__)]:
        return harnesses
    raise TargetMissing(
        f"{name!r} is no connector that there is a harness for",
        hint=f"write module:Class, or one of {', '.join(harness.name for harness in known)}",
        target=name,
    )


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise _missing(target, f"there is no module {error.name!r}") from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise _missing(target, f"module {module} has no {name!r}; it has {', '.join(_classes(module)) or 'no class'}")
    return found


def _classes(module: str) -> Iterator[str]:
    return (name for name, value in vars(sys.modules[module]).items() if isinstance(value, type))


def _missing(target: str, what: str) -> TargetMissing:
    return TargetMissing(f"{target} cannot be certified: {what}", hint="write module:Class", target=target)
