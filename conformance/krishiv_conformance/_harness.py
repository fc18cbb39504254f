"""What an author gives the suite: how to make the connector, and how to fill or read the other side without it."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore
    from krishiv_conformance._servers import Server
    from krishiv_connectors import Source, TwoPhaseSink
    from krishiv_guarantees import StoreCapabilities
    from krishiv_stream._session_options import SessionOptions

__all__ = ["Harness", "SinkHarness", "SourceHarness", "StoreHarness", "harness_at", "place_of", "tell_address"]

_ADDRESS, _NOBODY = "server.address", "127.0.0.1:1"


class Harness(ABC):
    """What the three kinds share. Made without arguments, in the suite's process and in every child.

    Every method gets `workdir`, a directory of this case alone; whatever must be remembered from one process to the
    next is kept there. For a system that is a server, see `server`, `address` and `own_name`.
    """

    role: ClassVar[str]
    """``"source"``, ``"sink"`` or ``"store"``."""
    connector: ClassVar[type]
    """The class under test: exactly the type of what `make` returns."""
    variant: ClassVar[str] = ""
    """What tells this configuration from others of the same class that are certified too: ``"follow"``."""
    server: ClassVar[Server | None] = None
    """The server that the connector talks to: the suite starts it, and kills it in cases of its own. None: none."""

    @property
    def name(self) -> str:
        """The connector's name, with the variant."""
        return f"{self.connector.__name__}-{self.variant}" if self.variant else self.connector.__name__

    def address(self, workdir: Path) -> str:
        """Return where the server of this case listens.

        `make` is also called to look at what a connector claims, when no server runs: then this is a place where
        nobody listens.
        """
        place = workdir / _ADDRESS
        return place.read_text(encoding="utf-8") if place.exists() else _NOBODY

    def own_name(self, workdir: Path) -> str:
        """Return a name for a topic, a table and so on, of letters, digits and ``_-``: nothing else has it."""
        return f"{workdir.parent.name}-{self.role}"

    def missing(self) -> str:
        """Return why the connector cannot be run here, as where its library is not installed; empty: it can."""
        return ""

    def set_up(self, workdir: Path) -> None:  # noqa: B027  an optional hook
        """Make what has to exist before a job starts: a table, a topic. Called once per case; the server runs."""

    def tear_down(self, workdir: Path) -> None:  # noqa: B027  an optional hook
        """Remove what `set_up` made outside of `workdir`. Called once per case, also after a failure.

        The server may be dead: trouble with it is not to be raised.
        """


class SinkHarness(Harness):
    """How the suite handles a two-phase sink."""

    role = "sink"
    lag: ClassVar[float] = 0.0
    """Seconds in which readers may not yet see what was committed: the suite waits so long for rows that it misses."""

    @abstractmethod
    def make(self, workdir: Path) -> TwoPhaseSink:
        """Return the sink, configured as it is to be certified. Every call: the same target, a fresh object."""

    @abstractmethod
    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Return every row that readers of the target see now, in any order.

        Read with a reader that shares no code with the sink: it is the witness. No target yet means no rows.

        Parameters
        ----------
        schema : pa.Schema
            What was written. The table returned has these columns in this order, cast to these types.
        """

    def read_whole(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Return every row that those readers see now who take epochs as a whole, as `read` does.

        A sink that claims `atomic_epochs` is held to it here. To be defined where epochs are whole only to readers that
        look for it (in a manifest, say), and `read` looks at everything.
        """
        return self.read(workdir, schema)


class SourceHarness(Harness):
    """How the suite handles a source."""

    role = "source"
    quiet: ClassVar[float] = 0.3
    """Seconds without a row after which a split that never ends has given all it has, the first row included."""

    @abstractmethod
    def make(self, workdir: Path) -> Source[Any]:
        """Return the source, configured as it is to be certified, over everything that `fill` puts there.

        One that never ends is fine: its jobs are stopped when all rows have arrived.
        """

    @abstractmethod
    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Put `rows` where the source finds them, without using the source's code.

        Parameters
        ----------
        part : int
            0, 1, 2 ...: each call brings a new one, to be a split of its own where the source has splits (a file, a
            partition).
        rows : pa.Table, n rows x `SCHEMA`
        """

    def own_rows(self, workdir: Path) -> pa.Table | None:
        """Return the rows of a source that makes its own (a generator); then `fill` is never called.

        Two children, each killed somewhere, are compared with these; make them in one go.
        """
        return None


class StoreHarness(Harness):
    """How the suite handles a checkpoint store."""

    role = "store"

    @abstractmethod
    def make(self, workdir: Path, job: str) -> CheckpointStore:
        """Return the store in which a session with `settings` keeps the checkpoints of `job`: a fresh object."""

    @abstractmethod
    def settings(self, workdir: Path) -> SessionOptions:
        """Return the session's settings that keep checkpoints in such a store."""

    def capabilities(self, workdir: Path) -> StoreCapabilities:
        """Return what the store can do. One that asks its server: what it is to say once there is one."""
        return self.make(workdir, "").capabilities()


def tell_address(workdir: Path, address: str) -> None:
    """Have `Harness.address` return `address`, in every process."""
    (workdir / _ADDRESS).write_text(address, encoding="utf-8")


def place_of(harness: Harness) -> str:
    """Return ``"module:Class"`` of a harness, by which a child finds it."""
    kind = type(harness)
    return f"{kind.__module__}:{kind.__qualname__}"


def harness_at(place: str) -> Any:
    """Return a new harness of the class at ``"module:Class"``."""
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found()
