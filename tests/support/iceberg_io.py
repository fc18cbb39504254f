"""Storage of an Iceberg table whose process is killed while it writes one of the files of a commit."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

from krishiv_connectors.iceberg._durable_io import DurableFileIO

__all__ = ["KillingIO"]

_COUNT = itertools.count(1)


class KillingIO(DurableFileIO):
    """Kills this process when the `kill.number`-th file whose name holds `kill.name` has been written."""

    def new_output(self, location: str) -> Any:
        """Return where to write `location`."""
        output = super().new_output(location)
        name = self.properties.get("kill.name")
        if name and name in location.rpartition("/")[2] and next(_COUNT) == int(self.properties["kill.number"]):
            output.create = _killing(output.create)  # type: ignore[method-assign]
        return output


def _killing(create: Any) -> Any:
    def opened(overwrite: bool = False) -> Any:
        stream = create(overwrite)
        close = stream.close

        def end() -> None:
            close()
            os.kill(os.getpid(), signal.SIGKILL)

        stream.close = end
        return stream

    return opened
