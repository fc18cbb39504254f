"""Every error of the five packages: a code of its own, a place in the drawing, a row in the docs."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.unit.house.error_docs import PAGE, error_classes, page

if TYPE_CHECKING:
    from krishiv_guarantees import KrishivError

ERRORS = error_classes()


def test_errors_have_a_code_of_their_own() -> None:
    without = [error for error in ERRORS if "code" not in vars(error)]
    assert without == []
    doubled = [code for code, count in Counter(error.code for error in ERRORS).items() if count > 1]
    assert doubled == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_code_is_stable_in_form(error: type[KrishivError]) -> None:
    assert re.fullmatch(r"KS(-[A-Z0-9]+)+", error.code)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_is_drawn_in_the_docstring_of_its_module(error: type[KrishivError]) -> None:
    drawing = importlib.import_module(error.__module__).__doc__ or ""
    assert re.search(rf"^\s*([│ ]*[├└]── )?{error.__name__}\b", drawing, re.MULTILINE), error.__module__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_says_what_it_means(error: type[KrishivError]) -> None:
    assert vars(error).get("__doc__")


def test_errors_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "write it anew with `make docs`"
