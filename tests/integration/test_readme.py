"""The example in the README runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the README's pipeline in the file that it names."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "bids.py").write_text(example)
    return tmp_path


def rows(project: Path) -> int:
    """Return how many rows the pipeline has written."""
    return sum(pq.read_metadata(path).num_rows for path in (project / "out" / "totals").rglob("*.parquet"))


def run(project: Path, *arguments: str) -> str:
    """Run Python with `arguments` in the project; returns its output."""
    result = subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_readme_example_runs_as_a_script(project: Path) -> None:
    output = run(project, "bids.py")
    assert "guarantee: " in output
    assert rows(project) > 0


def test_readme_commands_run_the_example(project: Path) -> None:
    commands = re.findall(r"^    krishiv-stream (.+)$", README, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["explain", "run"]
    for command in commands:
        run(project, "-m", "krishiv_stream", *command.split())
    assert rows(project) > 0
