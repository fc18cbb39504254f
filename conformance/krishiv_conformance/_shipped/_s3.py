"""Harnesses of what is kept in S3. They need a server that may be killed: `KRISHIV_CERTIFY_S3` starts one.

Types of ``botocore`` are not known where it is not installed; what comes from it is `Any` here.
"""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl
import pyarrow.parquet as pq

from krishiv_checkpoint import ObjectStore
from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness, StoreHarness
from krishiv_conformance._job import JOB
from krishiv_conformance._rows import SCHEMA
from krishiv_conformance._servers import CommandServer
from krishiv_conformance._shipped._sinks import as_table
from krishiv_connectors import S3
from krishiv_connectors.objects import ObjectParquetSink, ObjectParquetSource
from krishiv_guarantees import FailureDomain, StoreCapabilities

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from krishiv_stream._session_options import SessionOptions

__all__ = [
    "BUCKETS",
    "ObjectParquetFollowHarness",
    "ObjectParquetSinkHarness",
    "ObjectParquetSourceHarness",
    "ObjectStoreHarness",
    "server_at",
]

BUCKETS = CommandServer("KRISHIV_CERTIFY_S3", "an S3 server")

_BUCKET = "certify"
_NOT_INSTALLED = "botocore or obstore is not installed (krishiv-stream[s3])"


class ObjectStoreHarness(StoreHarness):
    """Checkpoints below a prefix for each case."""

    connector = ObjectStore
    server = BUCKETS

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        return "" if find_spec("obstore") and find_spec("botocore") else _NOT_INSTALLED

    def set_up(self, workdir: Path) -> None:
        """Make the bucket, and see that the store can do there what is claimed without a server."""
        _make_bucket(self.address(workdir))
        stated, claimed = self.make(workdir, JOB).capabilities(), self.capabilities(workdir)
        if stated != claimed:
            raise CaseFailed(f"the store states {stated}, its harness claims {claimed}")

    def make(self, workdir: Path, job: str) -> ObjectStore:
        """Return the store below the job's prefix."""
        return ObjectStore.at(f"{self._url(workdir)}/jobs/{job}", server_at(self.address(workdir)).options())

    def settings(self, workdir: Path) -> SessionOptions:
        """Keep checkpoints in the bucket, and what the host needs in `workdir`."""
        return {"checkpoints": self._url(workdir), "storage": server_at(self.address(workdir)), "data_dir": workdir}

    def capabilities(self, workdir: Path) -> StoreCapabilities:
        """Return those on a server that honours conditional creates; `set_up` asks it."""
        return StoreCapabilities(durable=True, conditional_create=True, fencing=True, survives=FailureDomain.HOST_LOSS)

    def _url(self, workdir: Path) -> str:
        return f"s3://{_BUCKET}/{self.own_name(workdir)}"


class _InBucket(Harness):
    """What is kept below a prefix of a bucket for each case."""

    server = BUCKETS

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        return "" if find_spec("botocore") else _NOT_INSTALLED

    def set_up(self, workdir: Path) -> None:
        """Make the bucket, if no other case has."""
        _make_bucket(self.address(workdir))


class ObjectParquetSinkHarness(_InBucket, SinkHarness):
    """Parquet below a prefix for each case. `read` sees every object, listed in a manifest or not."""

    connector = ObjectParquetSink

    @property
    def name(self) -> str:
        """What users write, and where."""
        return "ParquetSink-s3"

    def make(self, workdir: Path) -> ObjectParquetSink:
        """Return the sink."""
        return ObjectParquetSink(f"s3://{_BUCKET}/{self.own_name(workdir)}", storage=server_at(self.address(workdir)))

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read every Parquet object below the prefix."""
        with _connected(self.address(workdir)) as client:
            keys = [key for key in _keys(client, f"{self.own_name(workdir)}/") if key.endswith(".parquet")]
            return _rows_in(client, keys, schema)

    def read_whole(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the objects that manifests list."""
        prefix, listed = f"{self.own_name(workdir)}/", dict[str, None]()
        with _connected(self.address(workdir)) as client:
            for key in _keys(client, f"{prefix}_manifests/"):
                if key.endswith(".json") and "/prepared/" not in key:
                    manifest = json.loads(_content(client, key))
                    for epoch in manifest.get("epochs", [manifest]):
                        if not epoch.get("withdrawn"):
                            listed.update((prefix + file["key"], None) for file in epoch["files"])
            return _rows_in(client, listed, schema)


class ObjectParquetSourceHarness(_InBucket, SourceHarness):
    """Parquet objects with small row groups, below a prefix for each case."""

    connector = ObjectParquetSource
    follow = False

    @property
    def name(self) -> str:
        """What users write, and where."""
        return "ParquetSource-s3" + ("-follow" if self.follow else "")

    def make(self, workdir: Path) -> ObjectParquetSource:
        """Return the source."""
        url, storage = f"s3://{_BUCKET}/{self.own_name(workdir)}/*.parquet", server_at(self.address(workdir))
        return ObjectParquetSource(url, self.follow, schema=SCHEMA, storage=storage)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Put one object."""
        content = io.BytesIO()
        pq.write_table(rows, content, row_group_size=23)
        with _connected(self.address(workdir)) as client:
            key = f"{self.own_name(workdir)}/part-{part}.parquet"
            client.put_object(Bucket=_BUCKET, Key=key, Body=content.getvalue())


class ObjectParquetFollowHarness(ObjectParquetSourceHarness):
    """The same, waiting for new objects."""

    variant = "follow"
    follow = True


def _make_bucket(address: str) -> None:
    """Make the bucket, if no other case has."""
    with _connected(address) as client:
        try:
            client.create_bucket(Bucket=_BUCKET)
        except client.exceptions.BucketAlreadyOwnedByYou:
            return


def _keys(client: Any, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=prefix):
        yield from (found["Key"] for found in page.get("Contents", ()))


def _content(client: Any, key: str) -> bytes:
    return bytes(client.get_object(Bucket=_BUCKET, Key=key)["Body"].read())


def _rows_in(client: Any, keys: Iterable[str], schema: pa.Schema) -> pa.Table:
    return as_table([pl.read_parquet(io.BytesIO(_content(client, key))) for key in keys], schema)


@contextmanager
def _connected(address: str) -> Generator[Any]:
    session: Any = import_module("botocore.session").Session()
    config: Any = import_module("botocore.config").Config(s3={"addressing_style": "path"})
    server = urlsplit(address)
    client = session.create_client(
        "s3",
        "us-east-1",
        endpoint_url=f"http://{server.hostname}:{server.port}",
        aws_access_key_id=server.username,
        aws_secret_access_key=server.password,
        config=config,
    )
    try:
        yield client
    finally:
        client.close()


def server_at(address: str) -> S3:
    """Return how ``http://key:secret@host:port`` is reached; a place where nobody listens comes without the rest."""
    server = urlsplit(address if "://" in address else f"http://{address}")
    return S3(
        endpoint=f"http://{server.hostname}:{server.port}",
        access_key=server.username or "nobody",
        secret_key=server.password or "nothing",
        region="us-east-1",
    )
