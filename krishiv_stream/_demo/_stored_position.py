"""How much of the input the newest checkpoint covers, read from the job's log between two of its lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from krishiv_checkpoint import FilesystemStore, list_checkpoints
from krishiv_stream._demo._question import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["StoredPosition"]


class StoredPosition:
    """Reads the log of one job.

    Parameters
    ----------
    directory : Path
        Where the job keeps its checkpoints.
    files : mapping of str to int
        Rows of each input file.
    """

    def __init__(self, directory: Path, files: Mapping[str, int]) -> None:
        self._directory = directory
        self._files = files

    def rows(self) -> int:
        """Return the rows that the newest checkpoint covers; 0 if there is none. The job must not be running."""
        checkpoints = list_checkpoints(FilesystemStore(self._directory))
        if not checkpoints:
            return 0
        operators = checkpoints[-1].manifest.operators
        return self._covered([snapshot.inline for snapshot in operators if snapshot.operator == ROWS])

    def _covered(self, sources: Sequence[Mapping[str, Any]]) -> int:
        finished = {file for source in sources for file in source["finished"]}
        # A file that was restored and not taken by its barrier is where it was; one that was taken says so itself.
        entries = [entry for kind in ("waiting", "open") for source in sources for entry in source.get(kind, ())]
        positions = {entry["id"]: entry["position"] for entry in entries if entry["id"] not in finished}
        rows = sum(_rows_before(file, position) for file, position in positions.items())
        return rows + sum(self._files[file] for file in finished)


def _rows_before(file: str, position: Mapping[str, Any] | None) -> int:
    if position is None:
        return 0
    metadata = pq.read_metadata(file)
    groups = sum(metadata.row_group(group).num_rows for group in range(position["group"]))
    return int(groups + position["row"])
