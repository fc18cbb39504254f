"""Who may import whom, and what an import costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("guarantees", "checkpoint", "connectors", "krishiv_stream", "conformance")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the import rules of the packages under `root`."""
    path = [str(root), *(str(root / folder) for folder in FOLDERS)]
    program = (
        f"import sys; sys.path[:0] = {path!r}\n"
        "from importlinter.cli import lint_imports_command\n"
        "lint_imports_command(['--no-cache'])"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house that a test may spoil."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_import_rules_are_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("guarantees/krishiv_guarantees/_levels.py", "import krishiv_checkpoint"),
        ("checkpoint/krishiv_checkpoint/_records.py", "import krishiv_connectors"),
        ("connectors/krishiv_connectors/_source.py", "import krishiv_stream"),
        ("krishiv_stream/_durations.py", "import krishiv_conformance"),
        ("guarantees/krishiv_guarantees/_levels.py", "import msgspec"),
        ("checkpoint/krishiv_checkpoint/_records.py", "from krishiv_checkpoint import _entries"),
    ],
)
def test_import_rules_are_broken_when_a_floor_looks_up_or_a_cycle_closes(
    house: Path, module: str, statement: str
) -> None:
    spoiled = house / module
    spoiled.write_text(f"{spoiled.read_text()}\n{statement}\n")
    result = lint_imports(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


HEAVY = {"pyarrow", "datafusion", "polars", "numpy", "rocksdict", "rich", "cyclopts", "asyncio"}
NEVER = {
    "confluent_kafka",
    "boto3",
    "botocore",
    "s3fs",
    "obstore",
    "deltalake",
    "pyiceberg",
    "sqlalchemy",
    "psycopg",
    "pgpq",
    "adbc_driver_postgresql",
    "starlette",
    "uvicorn",
    "ray",
}


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after `statement`."""
    program = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_of_the_package_loads_nothing_heavy_and_no_extra() -> None:
    assert modules_after("import krishiv_stream") & (HEAVY | NEVER) == set()


def test_import_of_every_floor_loads_no_extra() -> None:
    statement = "import krishiv_guarantees, krishiv_checkpoint, krishiv_connectors, krishiv_stream, krishiv_conformance"
    assert modules_after(statement) & NEVER == set()


def test_import_of_the_ground_floor_loads_the_standard_library_alone() -> None:
    ours = modules_after("import krishiv_guarantees") - modules_after("pass") - sys.stdlib_module_names
    assert ours == {"krishiv_guarantees"}
