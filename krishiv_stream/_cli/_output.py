"""What commands print: text for people, JSON for programs; errors go to standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from krishiv_connectors import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from krishiv_guarantees import KrishivError

__all__ = ["Json", "console", "plain", "print_error", "print_trace", "print_json", "print_records", "print_table"]

_WIDTH = 400

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of text.")]
"""The flag that every reading command has."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error; it colours only on a terminal."""
    from rich.console import Console

    # Where no one looks, nothing is cut to the width of a terminal.
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if stream.isatty() else _WIDTH)


def print_json(value: object) -> None:
    """Print `value` as one JSON document."""
    json.dump(plain(value), sys.stdout, indent=2)
    print()


def plain(value: object) -> Any:
    """Return `value` as what JSON can hold. Secrets become stars."""
    match value:
        case Secret() | Path():
            return str(value)
        case Enum():
            return plain(value.value)
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case _ if dataclasses.is_dataclass(value):
            return {column.name: plain(getattr(value, column.name)) for column in dataclasses.fields(value)}
        case _:
            return str(value)


def print_records(rows: Sequence[Mapping[str, object]], *, as_json: bool, none: str) -> None:
    """Print `rows`, which have the same keys, as JSON or as a table; `none` is said where there are none."""
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print(none)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a column whose cells are all numbers is aligned to the right."""
    from rich import box
    from rich.table import Table

    cells = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[index], int | float) for row in cells)
        table.add_column(column, justify="right" if numbers else "left", no_wrap=numbers)
    for row in cells:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console().print(table)


def print_trace(error: BaseException) -> None:
    """Print where `error` and what caused it came from to standard error; no lines of source: they may hold secrets."""
    import traceback

    cause: BaseException | None = error
    while cause is not None:
        print(f"Traceback of {type(cause).__module__}.{type(cause).__qualname__}:", file=sys.stderr)
        for frame in traceback.extract_tb(cause.__traceback__):
            print(f"  {frame.filename}:{frame.lineno}, in {frame.name}", file=sys.stderr)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def print_error(error: KrishivError, *, as_json: bool) -> None:
    """Print code, message and hint of `error` to standard error."""
    if as_json:
        document = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": document}), file=sys.stderr)
        return
    from rich.text import Text

    text = Text.assemble((f"error {error.code}: ", "bold red"), error.message)
    if error.hint:
        text.append_text(Text.assemble(("\n  hint: ", "bold"), error.hint))
    console(stderr=True).print(text)
