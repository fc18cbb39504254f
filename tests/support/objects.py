"""Parquet objects in a bucket as others see them: by polars and duckdb over all files, and over the files of manifests.

Readers run in processes of their own, for their sockets and threads stay. As a script it is such a process::

    python -m tests.support.objects READER URL SERVER
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["READERS", "EpochWatcher", "read_objects"]

ROOT = Path(__file__).parents[2]
READERS = ("polars", "duckdb", "manifest")


def read_objects(url: str, server: Mapping[str, str], reader: str) -> pl.DataFrame:
    """Return the rows below ``s3://bucket/prefix``, as `reader` sees them.

    Parameters
    ----------
    server : mapping
        ``endpoint``, ``access_key``, ``secret_key``.
    """
    command = [sys.executable, "-m", "tests.support.objects", reader, url, json.dumps(dict(server))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120, cwd=ROOT)
    return pl.read_ipc(done.stdout) if done.stdout else pl.DataFrame()


class EpochWatcher:
    """A process that reads what manifests list, again and again, until it is stopped."""

    def __init__(self, url: str, server: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "tests.support.objects", "watch", url, json.dumps(dict(server))]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self) -> list[dict[str, list[int]]]:
        """Return what it saw, look by look: by epoch the number of rows and the sum of ids."""
        said, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        return [json.loads(line) for line in said.splitlines()]


# ---------------------------------------------------------------- in the reader's process


def _polars(url: str, server: Mapping[str, str]) -> pl.DataFrame:
    options = {
        "aws_endpoint": server["endpoint"],
        "aws_access_key_id": server["access_key"],
        "aws_secret_access_key": server["secret_key"],
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
        "aws_virtual_hosted_style_request": "false",
    }
    return pl.read_parquet(f"{url}/**/*.parquet", storage_options=options, hive_partitioning=True)


def _duckdb(url: str, server: Mapping[str, str]) -> pl.DataFrame:
    import duckdb
    import s3fs

    files = s3fs.S3FileSystem(
        key=server["access_key"], secret=server["secret_key"], endpoint_url=server["endpoint"], use_listings_cache=False
    )
    connection = duckdb.connect()
    connection.register_filesystem(files)
    return connection.sql(f"select * from read_parquet('{url}/**/*.parquet', hive_partitioning=true)").pl()


def _manifest(url: str, server: Mapping[str, str]) -> pl.DataFrame:
    frames = [frame for _, frame in _epochs(_client(server), url)]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _client(server: Mapping[str, str]) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    return Session().create_client(
        "s3",
        "us-east-1",
        endpoint_url=server["endpoint"],
        aws_access_key_id=server["access_key"],
        aws_secret_access_key=server["secret_key"],
        config=Config(retries={"total_max_attempts": 8, "mode": "standard"}),
    )


def _epochs(client: Any, url: str) -> Iterator[tuple[int, pl.DataFrame]]:
    """Give each epoch's rows by its manifest: these are few, so that none were put together."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/_manifests/")
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    for key in keys:
        if "/ranges/" in key or "/prepared/" in key or "/probes/" in key:
            continue
        manifest = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        if manifest["withdrawn"] or not manifest["files"]:
            continue
        frame = pl.concat([_file(client, bucket, f"{prefix}/{file['key']}") for file in manifest["files"]])
        assert frame.height == sum(file["rows"] for file in manifest["files"])
        yield manifest["epoch"], frame


def _file(client: Any, bucket: str, key: str) -> pl.DataFrame:
    """Return the rows of a file, with the columns that its folders are."""
    frame = pl.read_parquet(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    folders = [folder.partition("=") for folder in key.split("/") if "=" in folder]
    return frame.with_columns([pl.lit(int(value)).alias(name) for name, _, value in folders])


def _watch(url: str, server: Mapping[str, str]) -> None:
    import select

    client = _client(server)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        seen = {epoch: [frame.height, int(frame["id"].sum())] for epoch, frame in _epochs(client, url)}
        print(json.dumps(seen), flush=True)


def main() -> None:
    """Be a reader."""
    reader, url, server = sys.argv[1:]
    if reader == "watch":
        _watch(url, json.loads(server))
        return
    read = {"polars": _polars, "duckdb": _duckdb, "manifest": _manifest}[reader]
    frame = read(url, json.loads(server))
    first = [name for name in ("id", "auction") if name in frame.columns]  # one that is in folders comes last
    frame.select(*first, *(name for name in frame.columns if name not in first)).write_ipc(sys.stdout.buffer)


if __name__ == "__main__":
    main()
