"""At most one process runs a job on a data directory, unless it is told to take over (P10)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import JobLocked
from krishiv_checkpoint._stores._files import make_directory, store_errors

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["JobLock"]


class JobLock:
    """A lock on a job's directory, held until `release` or the end of the process.

    It only keeps honest newcomers out early. What protects the job is the token in its log: locks lie on network file
    systems, and a stopped process keeps one.

    Parameters
    ----------
    root : path
        Directory of the job; it is made if need be. The lock is the file ``lock`` in it.
    take_over : bool
        Go on without the lock if another process has it.

    Raises
    ------
    JobLocked
        If another process has it; names that process.
    StoreFull, StoreUnwritable
        If there is no space for the file, or no permission.
    """

    def __init__(self, root: str | os.PathLike[str], *, take_over: bool = False) -> None:
        path = Path(root) / "lock"
        with store_errors(str(path)):
            make_directory(path.parent)
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.held = _try_lock(self._descriptor)
        try:
            if self.held:
                _sign(self._descriptor, path)
            elif not take_over:
                raise _locked(self._descriptor, path)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the lock; again is fine. The file stays: removing it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self.held = False

    def __enter__(self) -> JobLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int, path: Path) -> None:
    """Write down who holds the lock."""
    with store_errors(str(path)):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _locked(descriptor: int, path: Path) -> JobLocked:
    holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
    return JobLocked(
        f"the process with id {holder} runs this job on {path.parent}",
        hint="wait for it, or stop it; if it hangs, take the job over with take_over=True (--take-over)",
        pid=int(holder) if holder.isdigit() else None,
        path=str(path),
    )
