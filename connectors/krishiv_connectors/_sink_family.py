"""Sinks whose way of delivery depends on their options: one name for users, a class for each way."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from krishiv_connectors._sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext
    from krishiv_guarantees import SinkCapabilities

__all__ = ["SinkFamily"]


class SinkFamily(Sink):
    """What such a name stands for: arguments, checks and all else that the ways share. Calling it gives a subclass.

    No object is of this class, so what the subclasses do is not done here; they name their base style before it.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Make an object of the class that is picked."""
        made: Self = object.__new__(cls.pick(options))
        return made

    @classmethod
    @abstractmethod
    def pick(cls, options: Mapping[str, Any]) -> type[Any]:
        """Return the class that `options` ask for; itself, if it is one already."""

    def open(self, ctx: SinkContext) -> None:
        """Connect."""
        raise NotImplementedError

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        raise NotImplementedError

    def flush(self) -> None:
        """Wait until they are durable."""
        raise NotImplementedError

    def capabilities(self) -> SinkCapabilities:
        """Return what the picked class can do."""
        raise NotImplementedError
