"""Digests of source text that follow what the code does, not how it is laid out.

The digest is SHA-256 over the syntax tree in a canonical form: node types and non-empty fields, sorted by name, without
docstrings. It is the same on every supported Python, although their trees differ:

- fields that later versions add (`type_params`, `type_ignores`, `is_lazy` ...) are empty for code that both can parse;
- 3.12 leaves empty constants at the end of nested f-string formats: adjacent text parts are merged, empty ones dropped;
- the ``u`` prefix of a string (`kind`) changes nothing and is left out;
- what counts as printable in `repr` of a string follows each version's Unicode tables: texts are written in ASCII.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from krishiv_guarantees._errors import SourceTextUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["combined_digest", "module_digest", "syntax_digest", "syntax_digests"]

_FORM = "krishiv-syntax-1"
"""Hashed first: a later canonical form gives other digests on purpose."""


@lru_cache(maxsize=512)
def syntax_digest(source_text: str) -> str:
    """Return the SHA-256 of a module's canonical syntax tree.

    Parameters
    ----------
    source_text : str
        The module's text.

    Returns
    -------
    str
        64 hex digits. Equal for texts that differ in docstrings, comments and layout only.

    Raises
    ------
    SourceTextUnreadable
        If this interpreter cannot parse the text.

    Examples
    --------
    >>> syntax_digest("x = 1  # one") == syntax_digest('"One."\\nx = 1')
    True
    >>> syntax_digest("x = 1") == syntax_digest("x = True")
    False
    """
    digest = hashlib.sha256(_FORM.encode())
    for token in _tokens(_parse(source_text)):
        digest.update(b"\n" + token.encode("ascii"))
    return digest.hexdigest()


def syntax_digests(modules: Mapping[str, str]) -> dict[str, str]:
    """Return the `syntax_digest` of each module: name to digest, from name to text."""
    return {name: syntax_digest(modules[name]) for name in sorted(modules)}


def combined_digest(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 over several modules' digests, by name; the order of the mapping does not count."""
    lines = "".join(f"{name!a} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode("ascii")).hexdigest()


def module_digest(modules: Mapping[str, str]) -> str:
    """Return one digest over the texts of several modules, from name to text.

    Raises
    ------
    SourceTextUnreadable
        If one of them cannot be parsed.
    """
    return combined_digest(syntax_digests(modules))


def _parse(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # An invalid escape in somebody's module warned when it was imported; here it is no news.
            warnings.simplefilter("ignore")
            return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError) as error:
        raise SourceTextUnreadable(
            f"source text cannot be parsed: {error}",
            hint="give the text of the module as it is imported, on a Python that supports its syntax",
        ) from error


def _tokens(tree: ast.AST) -> Iterator[str]:
    """Yield the canonical form, depth first; a stack, so that deep expressions need no deep recursion."""
    stack: list[object] = [tree]
    while stack:
        item = stack.pop()
        match item:
            case str():
                yield item
            case ast.JoinedStr():
                stack += _reversed("JoinedStr(", *_merged(item.values), ")")
            case ast.AST():
                stack += _reversed(f"{type(item).__name__}(", *_fields(item), ")")
            case list():
                stack += _reversed("[", *(_encoded(element) for element in item if not _is_bare_text(element)), "]")
            case _:
                raise AssertionError(f"not part of a syntax tree: {item!r}")


def _reversed(*items: object) -> list[object]:
    return list(reversed(items))


def _fields(node: ast.AST) -> Iterator[object]:
    """Yield name and value of each field that says something. Zero, None and [] are what an absent field means."""
    if isinstance(node, ast.Constant | ast.MatchSingleton):
        yield _literal(node.value)  # here None and 0 are the code's own values
        return
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if value and not _is_empty_format(value):
            yield f"{name}="
            yield _encoded(value)


def _encoded(value: object) -> object:
    """Return `value` as it goes on the stack: nodes and lists as they are, everything else as a token."""
    return value if isinstance(value, ast.AST | list) else _literal(value)


def _literal(value: object) -> str:
    # hex: decimal conversion of huge integers is limited, and the limit is a setting
    text = hex(value) if type(value) is int else ascii(value)
    return f"{type(value).__name__} {text}"


def _is_bare_text(element: object) -> bool:
    """Whether a list's element is a string that stands alone as a statement: a docstring, of whatever it may be."""
    return (
        isinstance(element, ast.Expr)
        and isinstance(element.value, ast.Constant)
        and isinstance(element.value.value, str)
    )


def _merged(parts: list[ast.expr]) -> list[object]:
    """Return the parts of an f-string with adjacent texts as one token and without empty ones."""
    merged: list[object] = []
    text = ""
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            text += part.value
            continue
        if text:
            merged.append(_literal(text))
            text = ""
        merged.append(part)
    return [*merged, _literal(text)] if text else merged


def _is_empty_format(value: object) -> bool:
    """Whether `value` is the format of ``f"{x:}"``, which some versions write as text of no characters."""
    return isinstance(value, ast.JoinedStr) and not _merged(value.values)
