"""Deterministic concurrency: blocking code runs on threads of which exactly one moves at a time, by a seeded choice.

Code that blocks (the real log, recovery, steps) runs in *fibers*. Wherever it touches the outside world it calls
`Kernel.point`: there the fiber may be put aside for others, its process may be stopped (SIGSTOP) for as long as the
world likes, or be dead, and then `Killed` unwinds it before anything more takes effect.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CooperativeLock", "Fiber", "Group", "Kernel", "Killed", "Stuck"]

STRAIGHT_ON = 0.6
"""How often a fiber goes on at a point without anyone else being asked."""


class Killed(BaseException):
    """The process of this fiber is dead."""


class Stuck(Exception):
    """Nothing can move, or nothing comes to an end."""


def _shut_gate() -> threading.Lock:
    """Return a lock that the next `acquire` waits at until somebody calls `release`."""
    gate = threading.Lock()
    gate.acquire()
    return gate


class Group:
    """What dies and stops together: one simulated process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False


class Fiber:
    """A line of blocking code of one process."""

    def __init__(self, kernel: Kernel, group: Group, name: str, work: Callable[[], None]) -> None:
        self.group = group
        self.name = f"{group.name}/{name}"
        self.done = False
        self.waits_for: CooperativeLock | None = None
        self.error: BaseException | None = None
        self._kernel = kernel
        self._work = work
        self._go = _shut_gate()
        self._thread = threading.Thread(target=self._main, name=f"simulated-{self.name}", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether it can move."""
        if self.done or self.group.stopped:
            return False
        return self.group.dead or self.waits_for is None or self.waits_for.free_for(self)

    def resume(self) -> None:
        """Let it move to its next point. Called by the scheduler."""
        self._kernel.current = self
        self._go.release()
        self._kernel.back.acquire()
        self._kernel.current = None
        if self.done:
            self._thread.join()

    def pause(self) -> None:
        """Give the scheduler its turn. Called by the fiber."""
        self._kernel.back.release()
        self._go.acquire()
        self._kernel.current = self

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self.group.dead:
                self._work()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._kernel.back.release()


class Kernel:
    """The seeded scheduler's tools.

    Parameters
    ----------
    seed : int
        Of every choice.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.trace: list[str] = []
        self.current: Fiber | None = None
        self.back = _shut_gate()
        self.fibers: list[Fiber] = []
        self.points = 0
        self.at_point: Callable[[int, Group, str], None] = lambda number, group, label: None

    def spawn(self, group: Group, name: str, work: Callable[[], None]) -> Fiber:
        """Begin a fiber; it first moves when it is resumed."""
        fiber = Fiber(self, group, name, work)
        self.fibers.append(fiber)
        return fiber

    def point(self, label: str) -> None:
        """A place where anything may happen between two steps of a fiber; nothing for code outside of fibers."""
        fiber = self.current
        if fiber is None:
            return
        self._pass(fiber.group, fiber.name, label)
        if fiber.group.stopped or fiber.group.dead or self.random.random() >= STRAIGHT_ON:
            fiber.pause()
        if fiber.group.dead:
            raise Killed

    def line(self, group: Group, label: str) -> None:
        """The same for a line of code outside of fibers, whose caller looks afterwards whether it may go on."""
        self._pass(group, group.name, label)

    def _pass(self, group: Group, name: str, label: str) -> None:
        self.points += 1
        self.trace.append(f"{name}: {label}")
        self.at_point(self.points, group, label)

    def kill(self, group: Group) -> None:
        """SIGKILL: no line of the group's code takes effect any more."""
        group.dead = True
        group.stopped = False

    def reap(self) -> None:
        """Unwind the fibers of dead groups and forget what is done."""
        for fiber in self.fibers:
            if fiber.group.dead and fiber is not self.current:
                while not fiber.done:
                    fiber.resume()
        self.fibers = [fiber for fiber in self.fibers if not fiber.done]

    def close(self) -> None:
        """Kill whatever is left."""
        for fiber in self.fibers:
            self.kill(fiber.group)
        self.reap()


class CooperativeLock:
    """A re-entrant lock between fibers: waiting for it is a turn of the scheduler, not a blocked thread."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._owner: Fiber | None = None
        self._depth = 0

    def free_for(self, fiber: Fiber) -> bool:
        """Whether `fiber` could have it."""
        return self._owner is None or self._owner is fiber

    def __enter__(self) -> None:
        fiber = self._kernel.current
        while fiber is not None and not self.free_for(fiber):
            fiber.waits_for = self
            fiber.pause()
            fiber.waits_for = None
            if fiber.group.dead:
                raise Killed
        if fiber is None and self._owner is not None:
            raise Stuck("code outside of fibers wants a lock that a fiber holds")
        self._owner = fiber
        self._depth += 1

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
