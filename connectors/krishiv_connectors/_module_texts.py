"""The source text that a certificate of a connector is bound to."""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from importlib.resources import files
from importlib.util import decode_source, find_spec, resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

__all__ = ["module_texts"]


def module_texts(cls: type) -> dict[str, str]:
    """Return the texts of the modules that make up a connector, as they are on the disk now.

    These are its own module (all modules of its folder, where it lives in a folder below its top-level package), the
    modules of its base classes outside the standard library, and what any of these imports from the top-level package
    that it lives in itself, be it within a function; and so on.

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
    _add_imported(texts)
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


def _add_imported(texts: dict[str, str]) -> None:
    """Add to `texts` what they import from their own top-level packages."""
    left = list(texts)
    seen = set(left)
    while left:
        importer = left.pop()
        for name in _imported(importer, texts[importer]):
            if name not in seen:
                seen.add(name)
                found = dict(_text(name))
                texts.update(found)
                left += found


def _imported(importer: str, text: str) -> Iterator[str]:
    """Yield names of modules, and of what only may be one, in the top-level package of `importer`."""
    own = importer.partition(".")[0]
    spec = _spec(importer)
    package = (spec.parent if spec else None) or ""
    # A package that loads its modules when they are first asked for names them for type checkers only.
    for name, attributes in _imports(text, for_types=_is_package(spec)):
        module = resolve_name(name, package) if package else name
        if module.partition(".")[0] == own:
            yield module
            if _is_package(_spec(module)):
                yield from (f"{module}.{attribute}" for attribute in attributes)


def _is_package(spec: ModuleSpec | None) -> bool:
    return spec is not None and spec.submodule_search_locations is not None


@lru_cache(maxsize=512)
def _imports(text: str, *, for_types: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what a module imports: names (relative ones with their dots), and what is taken from each.

    Empty if it cannot be parsed: who takes its digest says so.

    Parameters
    ----------
    for_types : bool
        Whether what only type checkers see counts.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    try:
        left: list[ast.AST] = [ast.parse(text.removeprefix("\ufeff"))]
    except (SyntaxError, ValueError):
        return ()
    while left:
        match node := left.pop():
            case ast.Import(names):
                found += ((alias.name, ()) for alias in names)
            case ast.ImportFrom(module, names, level):
                found.append(("." * (level or 0) + (module or ""), tuple(alias.name for alias in names)))
            case ast.If(test, _, orelse) if not for_types and _is_for_types(test):
                left += orelse
            case _:
                left += _statements(node)
    return tuple(found)


def _statements(node: ast.AST) -> Iterable[ast.AST]:
    """Return what is below `node` and may hold an import."""
    return (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


def _is_for_types(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


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
