"""Jobs that write Parquet into a bucket."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fault.harness import Job, make_input
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.objects import EpochWatcher, read_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.services.s3.gateway import Gateway

__all__ = ["COMMIT_STEPS", "RATE", "ROWS", "ObjectsJob", "left_to_commit", "objects_job", "server_of", "within_commit"]

ROWS, RATE = 20_000, 16_000
COMMIT_STEPS = ("begun", "first", "completed", "published")
"""Where ``commit.during`` is passed by each commit: "first" when the first upload is completed, "completed" when all
are, "published" when the manifest is there."""


def server_of(gateway: Gateway, endpoint: str | None = None) -> dict[str, str]:
    """Return how a server is reached, under the names of `ks.S3`."""
    access = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "us-east-1"}
    return {"endpoint": endpoint or gateway.endpoint, **access}


@dataclass
class ObjectsJob(Job):
    """A job that writes to a bucket."""

    @property
    def url(self) -> str:
        """Where it writes."""
        (sink,) = self.spec["sinks"].values()
        url: str = sink["url"]
        return url

    @property
    def read_by(self) -> dict[str, str]:
        """How readers from outside reach the server."""
        (sink,) = self.spec["sinks"].values()
        server: dict[str, str] = sink["reader"]
        return server

    def contents(self) -> list[tuple[str, str, int]]:
        """Return key, ETag and size of every object of the output, without the notes of what somebody prepared."""
        from krishiv_connectors._storage import S3
        from krishiv_connectors.objects._bucket import BucketAddress

        bucket = BucketAddress(self.url, S3(**self.read_by)).open()
        try:
            return [(found.key, found.etag, found.size) for found in bucket.list() if "/prepared/" not in found.key]
        finally:
            bucket.close()

    def entries(self) -> list[str]:
        """Return the names of the entries in its log."""
        return sorted(path.name for path in self.log.glob("*.json"))

    @property
    def log(self) -> Path:
        """The folder of its log."""
        return Path(self.spec["session"]["data_dir"]) / "jobs" / "job" / "log"

    def watcher(self) -> EpochWatcher:
        """Return a reader of manifests that looks all the time."""
        return EpochWatcher(self.url, self.read_by)

    def check_seen(self, watcher: EpochWatcher) -> None:
        """Compare what was seen at any time with what is there at the end: each epoch was seen as a whole."""
        looks = watcher.stop()
        last = self.watcher()
        final = last.stop()[-1:] or looks[-1:]
        assert len(looks) > 3
        for look in looks:
            assert look.items() <= final[0].items()
        frame = read_objects(self.url, self.read_by, "polars")
        assert sum(rows for rows, _ in final[0].values()) == frame.height
        assert sum(ids for _, ids in final[0].values()) == frame["id"].sum()


def objects_job(
    folder: Path,
    gateway: Gateway,
    *,
    endpoint: str | None = None,
    shape: str = "rows",
    seed: int = 0,
    rate: int = RATE,
    options: Mapping[str, Any] | None = None,
    **session: Any,
) -> ObjectsJob:
    """Return a job over fresh input into a bucket of its own.

    Parameters
    ----------
    endpoint : str, optional
        Where the job connects; by default where the server is.
    """
    pattern = make_input(folder / "in", rows=ROWS, seed=seed)
    url = f"s3://{gateway.new_bucket()}/out-{uuid.uuid4().hex[:4]}"
    target = {
        "kind": "objects",
        "url": url,
        "storage": server_of(gateway, endpoint),
        "reader": server_of(gateway),
        "options": dict(options or {}),
    }
    spec = {
        "source": {"kind": "parquet", "pattern": pattern},
        "rate": rate,
        "sinks": {shape: target},
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "100ms", "parallelism": 2, **session},
    }
    return ObjectsJob(folder, spec)


def within_commit(step: str, nth: int = 6) -> int:
    """Return which pass of ``commit.during`` is `step` of the `nth` commit."""
    return len(COMMIT_STEPS) * (nth - 1) + COMMIT_STEPS.index(step) + 1


def left_to_commit(job: ObjectsJob) -> dict[int, list[int]]:
    """Return, by slot, the epochs of which the newest manifest of the log does not say that they are applied."""
    entries = [json.loads(path.read_bytes())["entry"] for path in sorted(job.log.glob("*.json"))]
    newest: dict[str, Any] = [entry for entry in entries if entry["type"] == "manifest"][-1]
    epochs: dict[int, list[int]] = {}
    for each in newest["pending"]:
        epochs.setdefault(each["slot"], []).append(each["epoch"])
    return epochs
