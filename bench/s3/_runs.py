"""What is run, each in a process of its own: ``python -m bench.s3._runs KIND BUCKET``, prints a `Moved`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

import krishiv_stream as ks
from bench._sinks import DropSink
from krishiv_checkpoint import EpochPhase, ObjectStore
from krishiv_checkpoint._stores._buckets import open_bucket
from krishiv_guarantees import SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_checkpoint import CheckpointEvent
    from krishiv_connectors import SourceContext
    from krishiv_stream import JobHandle

__all__ = ["Bucket", "Moved", "Watch"]

_JOB = "large"
_SCATTER = 2_654_435_761  # odd: keys differ as long as there are fewer than 2**32
_VALUES = tuple(f"value{number}" for number in range(8))
"""Columns of noise, which no compression makes smaller."""
_PART, _AT_ONCE = 8 << 20, 8
"""As the store uploads its files."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where to, and how much.

    Parameters
    ----------
    options : dict
        Of the client, with the server's address and credentials.
    keys : int
        Live keys of the job.
    size, files : int
        What bare transfers move: bytes in all, and objects.
    """

    options: dict[str, str]
    name: str
    keys: int
    size: int = 0
    files: int = 0


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a run moved, in bytes, and what it took."""

    size: int
    files: int
    seconds: float
    cpu_seconds: float
    machine_seconds: float
    """CPU seconds of everything on the machine, the server included."""

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / 1e6 / self.seconds

    @property
    def busy(self) -> float:
        """Share of the machine's CPU time that was used by anything."""
        return self.machine_seconds / self.seconds / (os.cpu_count() or 1)


class Watch:
    """Notes what has been spent when it is made."""

    def __init__(self) -> None:
        self._cpu, self._machine, self._began = _cpu(), _machine(), time.perf_counter()

    def moved(self, size: int, files: int, seconds: float | None = None) -> Moved:
        """Return what has been spent since; `seconds` where they are known better."""
        passed = time.perf_counter() - self._began
        return Moved(
            size=size,
            files=files,
            seconds=passed if seconds is None else seconds,
            cpu_seconds=_cpu() - self._cpu,
            machine_seconds=_machine() - self._machine,
        )


class KeysSource(ks.Source[int]):
    """Each of `keys` keys once, and then nothing; where it is resumed at that point, one more row."""

    def __init__(self, keys: int) -> None:
        self.keys = keys

    def schema(self) -> pa.Schema:
        values = [(name, pa.int64()) for name in _VALUES]
        return pa.schema([("key", pa.int64()), *values, ("time", pa.timestamp("us", tz="UTC"))])

    def splits(self) -> list[ks.Split]:
        return [ks.Split("keys")]

    def open(self, split: ks.Split, position: int | None, ctx: SourceContext) -> KeysReader:
        return KeysReader(self, position or 0)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=False, replayable=True, exact_positions=True, ordered_replay=True)


class KeysReader(ks.Reader[int]):
    """Reads a `KeysSource`."""

    def __init__(self, source: KeysSource, position: int) -> None:
        self._source = source
        self._next = position
        self._end = source.keys + (position >= source.keys)

    def read(self) -> pa.RecordBatch | None:
        rows = min(65_536, self._end - self._next)
        if rows <= 0:
            return None
        numbers = np.arange(self._next, self._next + rows)
        self._next += rows
        times = pa.array(np.zeros(rows, dtype=np.int64)).cast(pa.timestamp("us", tz="UTC"))
        noise = np.random.default_rng(self._next).integers(0, 2**62, (len(_VALUES), rows))
        columns = [pa.array(numbers * _SCATTER % 2**32), *map(pa.array, noise), times]
        return pa.RecordBatch.from_arrays(columns, schema=self._source.schema())

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return False


def _job(bucket: Bucket, folder: str, seen: list[CheckpointEvent]) -> JobHandle:
    keys = ks.read(KeysSource(bucket.keys), event_time="time", watermark=ks.monotonic(), name="keys")
    totals = (
        keys.key_by("key")
        .window(ks.tumble("10s"))
        .aggregate(rows=ks.count(), **{name: ks.max(name) for name in _VALUES})
    )
    session = ks.Session(
        profile="single-node-durable",
        data_dir=Path(folder),
        checkpoints=f"s3://{bucket.name}",
        storage=_storage(bucket),
        checkpoint_interval=3_600,
        checkpoint_timeout=600,
        allow_uncertified=True,
    )
    return session.start_with(totals.write(DropSink(), name="totals"), (seen.append,), {"job": _JOB})


def _storage(bucket: Bucket) -> ks.S3:
    options = bucket.options
    return ks.S3(
        endpoint=options["aws_endpoint"],
        access_key=options["aws_access_key_id"],
        secret_key=options["aws_secret_access_key"],
        region=options["aws_region"],
    )


def _await(handle: JobHandle, reached: Callable[[], bool]) -> None:
    """Wait; if the job fails, raise what it failed with."""
    while not reached():
        with suppress(TimeoutError):
            handle.wait(0.005)
            raise RuntimeError("the job is over")


def _checkpoint(bucket: Bucket) -> Moved:
    seen: list[CheckpointEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        handle = _job(bucket, folder, seen)
        _await(handle, lambda: handle.status().rows_in >= bucket.keys)
        time.sleep(1.0)  # the rows that are on their way
        watch = Watch()
        handle.checkpoint()
        done = next(event for event in seen if event.phase is EpochPhase.COMPLETED)
        found = watch.moved(done.state_bytes, 0, done.seconds)
        found = msgspec.structs.replace(found, files=len(_store(bucket).list("state/")))
        print(msgspec.json.encode(found).decode(), flush=True)
        os._exit(0)  # as a process that dies: nothing more is stored


def _restore(bucket: Bucket) -> Moved:
    size, files = _stored(bucket)
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch()
        handle = _job(bucket, folder, [])
        _await(handle, lambda: handle.status().rows_in > 0)
        found = watch.moved(size, files)
        print(msgspec.json.encode(found).decode(), flush=True)
        os._exit(0)


def _put(bucket: Bucket) -> Moved:
    import obstore

    data = np.random.default_rng(0).bytes(bucket.size // bucket.files)
    store = open_bucket(f"s3://{bucket.name}/bare", bucket.options)
    watch = Watch()
    for number in range(bucket.files):
        obstore.put(store, str(number), data, chunk_size=_PART, max_concurrency=_AT_ONCE)
    return watch.moved(len(data) * bucket.files, bucket.files)


def _get(bucket: Bucket) -> Moved:
    import obstore

    store = open_bucket(f"s3://{bucket.name}/bare", bucket.options)
    watch = Watch()
    size = sum(len(obstore.get(store, str(number)).bytes()) for number in range(bucket.files))
    return watch.moved(size, bucket.files)


def _put_s3fs(bucket: Bucket) -> Moved:
    data = np.random.default_rng(0).bytes(bucket.size // bucket.files)
    files = _s3fs(bucket)
    watch = Watch()
    for number in range(bucket.files):
        files.pipe_file(f"{bucket.name}/s3fs/{number}", data, chunksize=_PART, max_concurrency=_AT_ONCE)
    return watch.moved(len(data) * bucket.files, bucket.files)


def _get_s3fs(bucket: Bucket) -> Moved:
    files = _s3fs(bucket)
    watch = Watch()
    size = sum(len(files.cat_file(f"{bucket.name}/s3fs/{number}")) for number in range(bucket.files))
    return watch.moved(size, bucket.files)


def _s3fs(bucket: Bucket) -> Any:
    import s3fs

    options = bucket.options
    return s3fs.S3FileSystem(
        key=options["aws_access_key_id"],
        secret=options["aws_secret_access_key"],
        endpoint_url=options["aws_endpoint"],
        client_kwargs={"region_name": options["aws_region"]},
    )


def _store(bucket: Bucket) -> ObjectStore:
    return ObjectStore.at(f"s3://{bucket.name}/jobs/{_JOB}", bucket.options)


def _stored(bucket: Bucket) -> tuple[int, int]:
    import obstore

    store = open_bucket(f"s3://{bucket.name}/jobs/{_JOB}/state", bucket.options)
    found = [each["size"] for page in obstore.list(store) for each in page]
    return sum(found), len(found)


def _cpu() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def _machine() -> float:
    """CPU seconds that were used on the machine since it started: what is neither idle nor waits for a disk."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


_KINDS: dict[str, Callable[[Bucket], Moved]] = {
    "checkpoint": _checkpoint,
    "restore": _restore,
    "put": _put,
    "get": _get,
    "put s3fs": _put_s3fs,
    "get s3fs": _get_s3fs,
}

if __name__ == "__main__":
    print(msgspec.json.encode(_KINDS[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Bucket))).decode())
