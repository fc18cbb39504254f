"""A committer of a Delta table that races with another one: ``python -m tests.fault.delta_racer SPEC.json``.

Prints ``ready``, waits for a line on stdin, then commits each epoch of the spec until the sink says that it is applied.
Prints how often which outcome came.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pyarrow as pa

import krishiv_stream as ks
from krishiv_checkpoint import CommitStatus, Committable, FilesystemStore
from krishiv_connectors import SinkContext

if TYPE_CHECKING:
    from krishiv_connectors import TwoPhaseSink

__all__ = ["SCHEMA", "opened"]

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
LINEAGE = "a" * 32


def opened(spec: dict[str, Any], slot: int | None, token: int) -> TwoPhaseSink:
    """Return the sink of `spec`, open as a writer of `slot` or as a committer."""
    storage = ks.S3(**spec["storage"]) if "storage" in spec else None
    sink = cast("TwoPhaseSink", ks.DeltaSink(spec["uri"], storage=storage, **spec["options"]))
    store = FilesystemStore(spec["store"])
    sink.open(SinkContext(job="race", lineage=LINEAGE, sink_id="s", slot=slot, token=token, schema=SCHEMA, store=store))
    return sink


def main() -> None:
    """Race."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    committer = opened(spec, None, spec["token"])
    committables = [msgspec.json.decode(text, type=Committable) for text in spec["committables"]]
    print("ready", flush=True)
    sys.stdin.readline()
    outcomes: Counter[str] = Counter()
    for committable in committables:
        status = CommitStatus.RETRY_LATER
        while status is CommitStatus.RETRY_LATER:
            status = committer.commit(committable.epoch, [committable]).status
            outcomes[status.name] += 1
    committer.close()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
