"""A reader of Iceberg tables in a bucket that has nothing from pyiceberg: for tables that only grew.

Run by itself, with a JSON list of the metadata file and the options of obstore, it writes the rows to its standard
output, as an Arrow file.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import fastavro
import polars as pl
from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["read_bucket"]

_DELETED, _DATA = 2, 0


def read_bucket(location: str, options: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of the current snapshot: metadata file, manifest list, manifests, data files."""

    def fetch(place: str) -> bytes:
        bucket, _, key = place.removeprefix("s3://").partition("/")
        return bytes(S3Store(bucket, config=dict(options)).get(key).bytes())

    def data_files(manifest_list: str) -> Iterator[str]:
        for manifest in fastavro.reader(io.BytesIO(fetch(manifest_list))):
            assert manifest["content"] == _DATA
            for entry in fastavro.reader(io.BytesIO(fetch(manifest["manifest_path"]))):
                if entry["status"] != _DELETED:
                    yield entry["data_file"]["file_path"]

    metadata = json.loads(fetch(location))
    snapshots = {each["snapshot-id"]: each["manifest-list"] for each in metadata.get("snapshots", [])}
    current = snapshots.get(metadata.get("current-snapshot-id"))
    frames = [pl.read_parquet(fetch(path)) for path in data_files(current)] if current else []
    return pl.concat(frames) if frames else pl.DataFrame()


if __name__ == "__main__":
    read_bucket(*json.loads(sys.argv[1])).write_ipc(sys.stdout.buffer)
