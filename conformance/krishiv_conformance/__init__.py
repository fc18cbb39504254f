"""Conformance suites for authors of sources, sinks and stores, and the command that certifies them."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["shipped_certificates"]


def shipped_certificates() -> dict[str, str]:
    """Return the text of every certificate that comes with this distribution, by file name."""
    folder = files("krishiv_conformance") / "certificates"
    if not folder.is_dir():
        return {}
    return {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith(".json")}
