"""The one seam between the asynchronous methods, which do the work, and the synchronous ones, which call them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["block_on"]

T = TypeVar("T")


def block_on(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end and return its result; works inside a running event loop too.

    Without a running loop in this thread it runs here. With one (a notebook, a web handler) it runs on a loop of its
    own in another thread, while this one waits: blocking a loop is the caller's choice, a deadlock is not.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _elsewhere(coroutine)


def _elsewhere(coroutine: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ks-block-on")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
