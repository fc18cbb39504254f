"""The list of modules that decide what is committed."""

from __future__ import annotations

import ast
from pathlib import Path

import krishiv_checkpoint
from krishiv_checkpoint import COMMIT_PATH, commit_path_texts

NOT_ON_IT = {"__init__", "_commit_path", "_errors", "_failpoints", "_inspection", "_seams"}
"""Lists, messages, test hooks, views and types: they decide nothing."""

FOLDER = Path(krishiv_checkpoint.__path__[0])


def test_every_module_of_the_checkpoint_floor_is_on_the_commit_path_or_named_as_not() -> None:
    modules = {f"krishiv_checkpoint.{path.stem}" for path in FOLDER.glob("*.py") if path.stem not in NOT_ON_IT}
    assert set(COMMIT_PATH) == modules


def test_commit_path_is_sorted_and_names_each_module_once() -> None:
    assert list(COMMIT_PATH) == sorted(set(COMMIT_PATH))


def test_commit_path_texts_are_the_files_texts() -> None:
    texts = commit_path_texts()
    assert list(texts) == list(COMMIT_PATH)
    assert texts["krishiv_checkpoint._records"] == (FOLDER / "_records.py").read_text()


def test_modules_left_off_the_commit_path_define_no_behaviour_of_an_epoch() -> None:
    for stem in ("_errors", "_seams"):
        tree = ast.parse((FOLDER / f"{stem}.py").read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        bodies = [statement for function in functions for statement in function.body]
        assert all(isinstance(statement, ast.Expr) for statement in bodies), stem
