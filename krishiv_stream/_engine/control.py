"""What all tasks of an attempt share: whether it goes on, how far checkpoints have come, and who hears of failures."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Control"]


class Control:
    """Shared by the tasks of one attempt.

    Parameters
    ----------
    token : int
        The attempt's fencing token.
    on_failure : callable
        Hears the first error of any task.
    on_ended : callable
        Hears the id of each task that has seen the end of its input.
    """

    def __init__(
        self,
        token: int,
        on_failure: Callable[[str, BaseException], None],
        on_ended: Callable[[str], None],
    ) -> None:
        self.token = token
        self.completed = 0
        self.cancelled = threading.Event()
        self.draining = threading.Event()
        self.on_failure = on_failure
        self.on_ended = on_ended
