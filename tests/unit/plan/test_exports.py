"""`import krishiv_stream as ks` is fast, complete, and hides no built-in function."""

from __future__ import annotations

import builtins
import subprocess
import sys

import pytest

import krishiv_stream as ks


def test_all_is_sorted_and_leaves_built_ins_alone() -> None:
    assert ks.__all__ == sorted(set(ks.__all__))
    assert not set(ks.__all__) & set(dir(builtins))


@pytest.mark.parametrize("name", [*ks.__all__, "sum", "min", "max"])
def test_every_name_is_there(name: str) -> None:
    assert getattr(ks, name) is not None
    assert name in dir(ks)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'krishiv_stream' has no attribute 'serssion'"):
        _ = ks.serssion  # type: ignore[attr-defined]


def test_a_star_import_gives_every_name() -> None:
    names: dict[str, object] = {}
    exec("from krishiv_stream import *", names)
    assert set(ks.__all__) <= set(names)


def test_importing_loads_nothing_heavy_and_no_extra() -> None:
    heavy = "{'pyarrow', 'datafusion', 'numpy', 'polars', 'msgspec', 'rich', 'rocksdict'}"
    code = f"import sys, krishiv_stream; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
