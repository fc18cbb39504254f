"""Certificates as files: those that are shipped, and those of other packages."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["certificates_in", "shipped_certificates"]

_FOLDER = "certificates"


def shipped_certificates() -> dict[str, str]:
    """Return the certificates that come with krishiv-stream: text by name."""
    return certificates_in(__name__.partition(".")[0])


def certificates_in(package: str) -> dict[str, str]:
    """Return the certificates in the folder ``certificates`` of a package: text by name.

    A package of connectors offers its own so: a function that returns ``certificates_in(__name__)``, named by an
    entry point in the group ``krishiv_stream.certificates``.
    """
    folder = files(package).joinpath(_FOLDER)
    found: list[Traversable] = list(folder.iterdir()) if folder.is_dir() else []
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in found if entry.name.endswith(".json")}
    return {f"{package}/{name}": texts[name] for name in sorted(texts)}
