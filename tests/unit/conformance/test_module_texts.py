"""Which source texts a certificate of a connector is bound to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_connectors import KafkaSink, Sink, Source, TwoPhaseSink, module_texts
from krishiv_connectors.objects import ObjectParquetSink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OF_SINK = ("krishiv_connectors._sink", "krishiv_connectors._errors")
"""What comes with the base class of sinks: its module, and what that imports."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return what writes one module of a package that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "thirdparty"]:
        monkeypatch.delitem(sys.modules, name)

    def write(name: str, text: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, *path.parent.parents):
            if folder == tmp_path:
                break
            (folder / "__init__.py").touch()
        path.write_text(text)

    return write


def load(module: str, name: str) -> type:
    """Return a class of the third-party package, imported anew."""
    for known in [known for known in sys.modules if known.partition(".")[0] == "thirdparty"]:
        del sys.modules[known]
    found = __import__(module, fromlist=[name])
    return getattr(found, name)  # type: ignore[no-any-return]  # a class by name


def test_module_texts_of_a_module_in_the_top_level_package_is_that_module_alone() -> None:
    assert list(module_texts(Source)) == ["krishiv_connectors._source"]


def test_module_texts_hold_the_base_classes_modules_outside_the_standard_library(
    package: Callable[[str, str], None],
) -> None:
    package("thirdparty.sink", "from krishiv_connectors import TwoPhaseSink\nclass Mine(TwoPhaseSink): ...\n")
    texts = module_texts(load("thirdparty.sink", "Mine"))
    assert list(texts) == ["thirdparty.sink", *OF_SINK]
    assert texts["thirdparty.sink"].startswith("from krishiv_connectors")
    assert texts["krishiv_connectors._sink"] == module_texts(TwoPhaseSink)["krishiv_connectors._sink"]


def test_module_texts_hold_the_whole_folder_of_a_connector_that_has_its_own(
    package: Callable[[str, str], None],
) -> None:
    package("thirdparty.lake.sink", "from krishiv_connectors import Sink\nclass Lake(Sink): ...\n")
    package("thirdparty.lake.naming", "EPOCH = 'epoch'\n")
    package("thirdparty.other", "OTHER = 1\n")
    assert list(module_texts(load("thirdparty.lake.sink", "Lake"))) == [
        "thirdparty.lake",
        "thirdparty.lake.naming",
        "thirdparty.lake.sink",
        *OF_SINK,
    ]


def test_module_texts_hold_what_is_imported_from_the_same_top_level_package(
    package: Callable[[str, str], None],
) -> None:
    package(
        "thirdparty.lake.sink",
        "from typing import TYPE_CHECKING\n"
        "import json\n"
        "from krishiv_connectors import Sink\n"
        "from ..names import EPOCH\n"
        "if TYPE_CHECKING:\n    import thirdparty.types\n"
        "class Lake(Sink):\n"
        "    def open(self):\n"
        "        with open('x'):\n"
        "            from thirdparty import late\n",
    )
    package("thirdparty.names", "import thirdparty.deep.letters\nEPOCH = 'epoch'\n")
    package("thirdparty.deep.letters", "import thirdparty.names\n")
    package("thirdparty.late", "class Late: ...\n")
    for name in ("thirdparty.types", "thirdparty.deep.unused", "thirdparty.unused"):
        package(name, "UNUSED = 1\n")
    assert set(module_texts(load("thirdparty.lake.sink", "Lake"))) == {
        "thirdparty",
        "thirdparty.lake",
        "thirdparty.lake.sink",
        "thirdparty.names",
        "thirdparty.deep.letters",
        "thirdparty.late",
        *OF_SINK,
    }


def test_module_texts_hold_what_a_package_loads_when_it_is_asked_for(package: Callable[[str, str], None]) -> None:
    package("thirdparty.sink", "from thirdparty.codecs import Json\nclass Mine: ...\n")
    package("thirdparty.codecs.json", "class Json: ...\n")
    package(
        "thirdparty.codecs.__init__",
        "from importlib import import_module\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from thirdparty.codecs.json import Json\n"
        "def __getattr__(name):\n    return getattr(import_module('thirdparty.codecs.json'), name)\n",
    )
    assert set(module_texts(load("thirdparty.sink", "Mine"))) == {
        "thirdparty.sink",
        "thirdparty.codecs",
        "thirdparty.codecs.json",
    }


def test_module_texts_of_a_codec_belong_to_what_encodes_with_it() -> None:
    assert "krishiv_connectors.codecs._json_codec" in module_texts(KafkaSink)
    assert "krishiv_connectors.files._partitions" in module_texts(ObjectParquetSink)


def test_module_texts_follow_an_edit_on_the_disk(package: Callable[[str, str], None]) -> None:
    package("thirdparty.sink", "class Mine: ...\n")
    mine = load("thirdparty.sink", "Mine")
    package("thirdparty.sink", "class Mine: value = 1\n")
    assert module_texts(mine) == {"thirdparty.sink": "class Mine: value = 1\n"}


def test_module_texts_are_empty_for_a_class_without_a_file() -> None:
    assert module_texts(type("Typed", (Sink,), {"__module__": "nowhere.to.be.found"})) == {}


def test_module_texts_leave_out_base_classes_of_compiled_modules(package: Callable[[str, str], None]) -> None:
    package("thirdparty.sink", "import pyarrow.lib\nclass Mine(pyarrow.lib._Weakrefable): ...\n")
    assert list(module_texts(load("thirdparty.sink", "Mine"))) == ["thirdparty.sink"]


def test_module_texts_are_found_when_the_module_is_run_with_dash_m(
    package: Callable[[str, str], None], tmp_path: Path
) -> None:
    text = "from krishiv_connectors import Sink, module_texts\nclass Mine(Sink): ...\nprint(*module_texts(Mine))\n"
    package("thirdparty.job", text)
    command = [sys.executable, "-m", "thirdparty.job"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__main__", *OF_SINK]
