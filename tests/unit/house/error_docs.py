"""Write docs/errors.md from the error classes of the five packages: ``python -m tests.unit.house.error_docs``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["PACKAGES", "PAGE", "error_classes", "modules", "page"]

PACKAGES = ("krishiv_guarantees", "krishiv_checkpoint", "krishiv_connectors", "krishiv_stream", "krishiv_conformance")
PAGE = Path(__file__).parents[3] / "docs" / "errors.md"

_HEAD = """# Error codes

Every error that krishiv-stream raises on purpose has a code, a message, a hint that says what to do, and fields that
programs can read. The third column is what the runtime does with it. This page is written from the code by
`make docs`.

| code | meaning | kind | class |
|---|---|---|---|
"""


def modules() -> Iterator[ModuleType]:
    """Import every module of the five packages, in order of name."""
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def error_classes() -> list[type[KrishivError]]:
    """Return every error class defined in the five packages, once, in order of code."""
    found = {
        value
        for module in modules()
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, KrishivError) and value.__module__ == module.__name__
    }
    return sorted(found, key=lambda error: (error.code, error.__qualname__))


def page() -> str:
    """Return the text of docs/errors.md."""
    return _HEAD + "".join(f"{_row(error)}\n" for error in error_classes())


def _row(error: type[KrishivError]) -> str:
    meaning = " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split()).replace("|", r"\|")
    name = f"{error.__module__.split('.')[0]}.{error.__name__}"
    return f"| `{error.code}` | {meaning} | {_kind(error)} | `{name}` |"


def _kind(error: type[KrishivError]) -> str:
    """Return the name of the branch of the tree that `error` hangs on."""
    branch = [base for base in error.__mro__ if issubclass(base, KrishivError)][-2:]
    return branch[0].__name__


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}: {len(error_classes())} codes")
