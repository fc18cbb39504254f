"""The wheel: built without a network, installed into a clean environment, imported beside folders of the same names."""

from __future__ import annotations

import configparser
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "krishiv_guarantees": "guarantees/krishiv_guarantees",
    "krishiv_checkpoint": "checkpoint/krishiv_checkpoint",
    "krishiv_connectors": "connectors/krishiv_connectors",
    "krishiv_stream": "krishiv_stream",
    "krishiv_conformance": "conformance/krishiv_conformance",
}


def run(*command: str | Path, cwd: Path) -> str:
    """Run `command`, and give its output; fail with all that it said."""
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source tree."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ".", cwd=ROOT)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel; its dependencies come from the running environment."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    # A plain line in a .pth file adds that folder, but not what the folder's own .pth files add: the source tree of
    # an editable install stays out of reach.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project whose folders and modules have the names of ours."""
    shout = "raise ImportError('the decoy was imported')\n"
    for decoy in ("connectors/__init__.py", "checkpoint.py", "guarantees/__init__.py", "conformance/__init__.py"):
        (tmp_path / decoy).parent.mkdir(exist_ok=True)
        (tmp_path / decoy).write_text(shout)
    return tmp_path


def test_wheel_holds_every_file_of_the_five_packages(wheel: Path) -> None:
    expected = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_wheel_names_the_entry_points_and_the_license(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    archive = ZipFile(wheel)
    info = f"krishiv_stream-{project['version']}.dist-info"
    written = configparser.ConfigParser()
    written.read_string(archive.read(f"{info}/entry_points.txt").decode())
    assert dict(written["console_scripts"]) == project["scripts"]
    for group, points in project["entry-points"].items():
        assert dict(written[group]) == points
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


def test_packages_are_imported_from_the_wheel_when_the_users_folders_have_our_names(
    python: Path, project: Path
) -> None:
    program = f"import {', '.join(PACKAGES)}\n" + "\n".join(f"print({package}.__file__)" for package in PACKAGES)
    origins = run(python, "-c", program, cwd=project).splitlines()
    home = python.parents[1]
    assert [Path(origin).is_relative_to(home) for origin in origins] == [True] * len(PACKAGES), origins


def test_command_runs_from_the_wheel_when_the_users_folders_have_our_names(python: Path, project: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run(python.parent / "krishiv-stream", "--version", cwd=project).strip() == version
    assert run(python, "-m", "krishiv_stream", "--version", cwd=project).strip() == version


def test_entry_points_load_from_the_wheel(python: Path, project: Path) -> None:
    program = (
        "from importlib.metadata import entry_points\n"
        "for group in ('krishiv_stream.certificates', 'krishiv_stream.commands'):\n"
        "    for point in entry_points(group=group):\n"
        "        assert callable(point.load()), point\n"
        "        print(point.name)"
    )
    assert run(python, "-c", program, cwd=project).split() == ["krishiv_conformance", "certify"]
