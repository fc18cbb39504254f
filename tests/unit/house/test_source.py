"""The source itself: how long things are, what the packages export, and that the examples in docstrings hold."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.house.error_docs import PACKAGES, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
MODULE_LINES = 600
FUNCTION_LINES = 60

SOURCES = sorted(
    path
    for folder in (
        "guarantees",
        "checkpoint",
        "connectors",
        "krishiv_stream",
        "conformance",
        "tests",
        "bench",
        "examples",
    )
    for path in (ROOT / folder).rglob("*.py")
)


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its lines, the docstring's not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the docstring of `node` takes."""
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def test_modules_are_short_enough_to_hold_one_idea() -> None:
    long = {
        str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := path.read_text().count("\n")) > MODULE_LINES
    }
    assert long == {}


def test_functions_are_short_enough_to_be_seen_at_once() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in SOURCES
        for name, lines in functions(ast.parse(path.read_text()))
        if lines > FUNCTION_LINES
    }
    assert long == {}


def test_function_lines_are_counted_without_the_docstring() -> None:
    tree = ast.parse('def long():\n    """One.\n\n    Two.\n    """\n    return 1\n\n\ndef short(): ...\n')
    assert dict(functions(tree)) == {"long": 2, "short": 1}


def test_test_folders_are_packages_so_that_their_modules_have_names_of_their_own() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_exports_what_it_lists_and_lists_it_sorted(package: str) -> None:
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if getattr(module, name, None) is None] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_documents_what_it_exports(package: str) -> None:
    module = importlib.import_module(package)
    exported = {name: getattr(module, name) for name in module.__all__}
    objects = {name: value for name, value in exported.items() if inspect.isclass(value) or inspect.isfunction(value)}
    silent = [name for name, value in objects.items() if not inspect.getdoc(value)]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_modules_hide_no_exported_name(package: str) -> None:
    module = importlib.import_module(package)
    modules = {
        path.stem
        for path in Path(module.__path__[0]).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    # `testing` is the module that users name: it is exported as itself.
    assert modules & set(module.__all__) <= {"testing"}


EXAMPLES = [
    test
    for module in modules()
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__)
    if test.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_docstring_example_holds(example: doctest.DocTest, capsys: pytest.CaptureFixture[str]) -> None:
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert failed == 0, capsys.readouterr().out


def test_docstring_examples_exist() -> None:
    assert EXAMPLES
