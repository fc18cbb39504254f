"""``python -m bench.s3``: a large state into a bucket and out of it, beside bare transfers of as many bytes.

Prints, and saves ``bench/S3.md``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench._machine import machine
from bench.s3._runs import Bucket, Moved
from tests.services.s3.gateway import Gateway

_PAGE = Path(__file__).parents[1] / "S3.md"
_KEYS = {False: 14_000_000, True: 1_000_000}
_TABLE = (
    ("put", ""),
    ("put s3fs", "put"),
    ("checkpoint", "put"),
    ("get", ""),
    ("get s3fs", "get"),
    ("restore", "get"),
)
"""What is shown, and what each is compared with."""
_NAMES = {"put": "put, obstore", "get": "get, obstore", "put s3fs": "put, s3fs", "get s3fs": "get, s3fs"}
_HEAD = """\
# What was measured of checkpoints in a bucket

Written by `make bench-s3`{mode}: a job with {keys:,} live keys, whose state is {size:,.0f} MB in {files} files, takes
its first checkpoint into an S3 server on the same machine (Ceph's gateway over a store in memory), and is started
again from it, in a fresh process. Beside it, in turns, as many bytes in as many objects are put (multipart, parts of
8 MiB, 8 at once, one object after the other) and got by obstore alone, and by s3fs alone, each run in a fresh
process. Median of {repeats}.

The checkpoint's time is from its trigger to its manifest: the state is taken out of the operators, hashed, and put in
parts as it comes. The restore's is from starting the job to the first row read: listing the log, getting the files in
parts, verifying, building the tables of keys. Client, server and storage share the machine's cores; how busy these were
is said beside it.
"""


def _one(kind: str, bucket: Bucket) -> Moved:
    """Measure one run in a process of its own."""
    given = msgspec.json.encode(bucket).decode()
    done = subprocess.run(
        [sys.executable, "-m", "bench.s3._runs", kind, given], stdout=subprocess.PIPE, check=True, text=True
    )
    moved = msgspec.json.decode(done.stdout, type=Moved)
    print(f"  {kind:12} {moved.rate:8.1f} MB/s  {moved.seconds:6.2f} s  {moved.size / 1e6:,.0f} MB", flush=True)
    return moved


def _round(gateway: Gateway, keys: int, round: int) -> dict[str, Moved]:
    bucket = Bucket(options=gateway.options(), name=gateway.new_bucket(), keys=keys)
    found = {"checkpoint": _one("checkpoint", bucket)}
    found["restore"] = _one("restore", bucket)
    bare = msgspec.structs.replace(bucket, size=found["checkpoint"].size, files=found["checkpoint"].files)
    for kind in ("put", "get", "put s3fs", "get s3fs"):
        found[kind] = _one(kind, bare)
    return found


def _page(found: list[dict[str, Moved]], given: argparse.Namespace, facts: dict[str, str]) -> str:
    first = found[0]["checkpoint"]
    mode = " --quick" if given.quick else ""
    lines = [
        _HEAD.format(
            mode=mode, keys=_KEYS[given.quick], size=first.size / 1e6, files=first.files, repeats=given.repeats
        ),
        "| | MB/s | seconds | CPU s of the client | machine busy | of obstore alone |",
        "|---|---|---|---|---|---|",
    ]
    for kind, bare in _TABLE:
        rate = statistics.median(each[kind].rate for each in found)
        seconds = statistics.median(each[kind].seconds for each in found)
        cpu = statistics.median(each[kind].cpu_seconds for each in found)
        busy = statistics.median(each[kind].busy for each in found)
        share = f"{statistics.median(each[kind].rate / each[bare].rate for each in found):.0%}" if bare else ""
        lines.append(f"| {_NAMES.get(kind, kind)} | {rate:,.0f} | {seconds:.2f} | {cpu:.2f} | {busy:.0%} | {share} |")
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the arguments, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m bench.s3", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small state; too small to judge by")
    parser.add_argument("--repeats", type=int, help="rounds [default: 3, quick: 1]")
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else 3)
    facts = {**machine(), "obstore": version("obstore")}
    found: list[dict[str, Moved]] = []
    for round in range(given.repeats):
        with Gateway() as gateway:  # a fresh one: its memory is what limits it
            found.append(_round(gateway, _KEYS[given.quick], round))
    text = _page(found, given, {**facts, "load after": f"{os.getloadavg()[0]:.2f}"})
    print(f"\n{text}")
    if not given.quick:
        _PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
