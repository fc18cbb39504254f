"""What is stored of jobs, found without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_stream._cli._options import Place, resolve
from krishiv_stream._errors import JobNotFound, NotAvailable
from krishiv_stream._places import JobPlaces

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointStore

__all__ = ["job_names", "open_job"]


def job_names(place: Place | None) -> list[str]:
    """Return the names of the jobs that are stored, sorted."""
    return _places(place).names()


def open_job(name: str, place: Place | None) -> CheckpointStore:
    """Open what is stored of the job called `name`.

    Raises
    ------
    JobNotFound
        If nothing is stored of it; the hint lists the jobs there are.
    """
    places = _places(place)
    names = places.names()
    if name not in names:
        raise JobNotFound(
            f"nothing is stored of a job {name!r} in {places}",
            hint=f"jobs there: {', '.join(names) or 'none'}; another place is named by --data-dir or --checkpoints",
            job=name,
        )
    return places.store(name)


def _places(place: Place | None) -> JobPlaces:
    places = JobPlaces(resolve(place).settings)
    if not places.lasting:
        raise NotAvailable(
            "checkpoints in memory cannot be looked at",
            hint="name the folder with --data-dir, KRISHIV_DATA_DIR or data_dir in krishiv.toml",
        )
    return places
