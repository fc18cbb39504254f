"""The source text that a certificate of a connector is bound to."""

from __future__ import annotations

import sys
from importlib.resources import files
from importlib.util import decode_source, find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec

__all__ = ["module_texts"]


def module_texts(cls: type) -> dict[str, str]:
    """Return the texts of the modules that make up a connector, as they are on the disk now.

    These are its own module (all modules of its folder, where it lives in a folder below its top-level package) and
    the modules of its base classes outside the standard library.

    Parameters
    ----------
    cls : type
        A source, a sink or a checkpoint store.

    Returns
    -------
    dict of str to str
        Text by module name. Empty if the text of its own module cannot be had: then no certificate can be checked.

    Examples
    --------
    >>> from krishiv_connectors import Source
    >>> list(module_texts(Source))
    ['krishiv_connectors._source']
    """
    texts = dict(_own_texts(cls.__module__))
    if cls.__module__ not in texts:
        return {}
    for base in cls.__mro__[1:]:
        name = base.__module__
        if name not in texts and name.partition(".")[0] not in sys.stdlib_module_names:
            texts.update(_text(name))
    return texts


def _own_texts(name: str) -> Iterator[tuple[str, str]]:
    folder = name.rpartition(".")[0]
    if "." in folder and _spec(folder):
        yield from _folder_texts(folder)
    else:
        yield from _text(name)


def _folder_texts(package: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(files(package).iterdir(), key=lambda entry: entry.name):
        stem, dot, suffix = entry.name.rpartition(".")
        if (dot, suffix) == (".", "py"):
            yield package if stem == "__init__" else f"{package}.{stem}", decode_source(entry.read_bytes())


def _text(name: str) -> Iterator[tuple[str, str]]:
    """Yield the module's name and text; nothing for a compiled one, whose version is certified instead."""
    spec = _spec(name)
    if spec is None:
        return
    get_source = getattr(spec.loader, "get_source", None)
    # Of a module run with `python -m` the loader knows only the real name.
    text: str | None = get_source(spec.name) if get_source else None
    if text is not None:
        yield name, text


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # not importable by that name: typed in, or run as a script
        return None
