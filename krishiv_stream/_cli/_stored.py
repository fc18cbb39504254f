"""What is stored of jobs, found without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import FilesystemStore
from krishiv_stream._cli._options import Place, resolve
from krishiv_stream._errors import JobNotFound, NotAvailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["job_names", "open_job"]


def job_names(place: Place | None) -> list[str]:
    """Return the names of the jobs that are stored, sorted."""
    folder = _jobs_directory(place)
    return sorted(path.name for path in folder.iterdir() if (path / "log").is_dir()) if folder.is_dir() else []


def open_job(name: str, place: Place | None) -> FilesystemStore:
    """Open what is stored of the job called `name`.

    Raises
    ------
    JobNotFound
        If nothing is stored of it; the hint lists the jobs there are.
    """
    folder = _jobs_directory(place)
    names = job_names(place)
    if name not in names:
        raise JobNotFound(
            f"nothing is stored of a job {name!r} in {folder}",
            hint=f"jobs there: {', '.join(names) or 'none'}; another folder is named by --data-dir",
            job=name,
        )
    return FilesystemStore(folder / name)


def _jobs_directory(place: Place | None) -> Path:
    settings = resolve(place).settings
    folder = settings.jobs_directory
    if folder is None:
        where = "in memory" if settings.checkpoints is None else f"at {settings.checkpoints}"
        raise NotAvailable(
            f"checkpoints {where} cannot be looked at",
            hint="name the folder with --data-dir, KRISHIV_DATA_DIR or data_dir in krishiv.toml",
        )
    return folder
