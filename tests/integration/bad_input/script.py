"""A user's script that runs a job: ``python -m tests.integration.bad_input.script SPEC.json run | run_async``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import krishiv_stream as ks
from tests.fault import child


def main() -> None:
    """Run the job of the spec file; print how it ended."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    session = ks.Session(profile="single-node-durable", allow_uncertified=True, **spec["session"])
    if sys.argv[2] == "run":
        result = session.run(child.pipeline(spec), job=spec["job"])
    else:
        result = asyncio.run(session.run_async(child.pipeline(spec), job=spec["job"]))
    print(json.dumps({"state": result.state, "rows_in": result.status.rows_in}))


if __name__ == "__main__":
    main()
