"""Finding a pipeline by ``module:name`` or ``file.py:name``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_guarantees import PlanError
from krishiv_stream._cli._load import load_pipeline
from krishiv_stream._errors import PipelineNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIPELINE = """
import pyarrow as pa
import krishiv_stream as ks

stream = ks.read(ks.MemorySource(pa.table({"a": [1, 2]})), name="rows")
pipeline = stream.write(ks.MemorySink(), name="out")
other = stream.write(ks.MemorySink(), name="other")

def make():
    return pipeline
"""


@pytest.fixture(autouse=True)
def imports(folder: Path) -> Iterator[None]:
    """Leave no trace in what is imported and where from."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("krishiv_pipeline_", "jobs")):
            del sys.modules[name]


@pytest.fixture
def jobs(folder: Path) -> Path:
    """A module with pipelines in the working folder."""
    path = folder / "jobs.py"
    path.write_text(PIPELINE)
    return path


@pytest.mark.parametrize(
    ("target", "name"),
    [("jobs:pipeline", "out"), ("jobs", "out"), ("jobs.py:other", "other"), ("./jobs.py", "out"), ("jobs:make", "out")],
)
@pytest.mark.usefixtures("jobs")
def test_pipeline_is_found_by_module_or_file(target: str, name: str) -> None:
    assert load_pipeline(target).name == name


def test_pipeline_file_may_import_its_neighbours_and_have_a_librarys_name(folder: Path) -> None:
    (folder / "jobs").mkdir()
    (folder / "jobs" / "rows.py").write_text(PIPELINE)
    (folder / "jobs" / "json.py").write_text("from rows import pipeline\n")
    assert load_pipeline("jobs/json.py:pipeline").name == "out"
    assert "JSONDecoder" in vars(sys.modules["json"])


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nosuch:pipeline", "no module 'nosuch'"),
        ("nosuch/file.py:pipeline", "no file nosuch/file.py"),
        ("jobs:nosuch", "nothing called 'nosuch'"),
        ("jobs:stream", "no pipeline called 'stream'"),
    ],
)
def test_pipeline_is_missed_with_what_was_looked_for(target: str, said: str) -> None:
    with pytest.raises(PipelineNotFound, match=said) as caught:
        load_pipeline(target)
    assert caught.value.hint


@pytest.mark.usefixtures("jobs")
def test_pipelines_that_are_there_are_listed_when_another_was_asked_for() -> None:
    with pytest.raises(PipelineNotFound) as caught:
        load_pipeline("jobs:nosuch")
    assert "pipeline, other" in caught.value.hint


@pytest.mark.parametrize("target", ["jobs:pipeline", "jobs.py:pipeline"])
@pytest.mark.parametrize("body", ["import nosuchlibrary\n", "1 / 0\n"])
def test_module_that_does_not_import_is_told_from_a_missing_one(folder: Path, target: str, body: str) -> None:
    (folder / "jobs.py").write_text(body)
    with pytest.raises(PipelineNotFound, match=r"importing .* failed") as caught:
        load_pipeline(target)
    assert "jobs.py:1" in caught.value.hint
    assert caught.value.__cause__ is not None


def test_mistake_in_a_pipeline_is_shown_as_it_was_raised(folder: Path) -> None:
    (folder / "jobs.py").write_text(f"{PIPELINE}\nstream.filter(ks.col('nosuch') > 1)\n")
    with pytest.raises(PlanError, match="nosuch"):
        load_pipeline("jobs.py:pipeline")
