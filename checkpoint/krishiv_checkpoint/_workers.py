"""Threads for what blocks: one per name, each doing its work in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

__all__ = ["Workers"]


class Workers:
    """Named workers, started when they get their first work. Used from one thread.

    Parameters
    ----------
    prefix : str
        Begins the names of their threads.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def submit(self, worker: str, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue `work` for `worker`. It must not raise: nobody would hear."""
        if worker not in self._pools:
            self._pools[worker] = ThreadPoolExecutor(1, thread_name_prefix=f"{self._prefix}-{worker}")
        self._pools[worker].submit(work, *args, **kwargs)

    def close(self) -> None:
        """Wait for all that is queued, then end the threads."""
        for pool in self._pools.values():
            pool.shutdown(wait=True)
