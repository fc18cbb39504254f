"""Harnesses of what is kept in S3. They need a server that may be killed: `KRISHIV_CERTIFY_S3` starts one.

Types of ``botocore`` are not known where it is not installed; what comes from it is `Any` here.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl

from krishiv_conformance._harness import SinkHarness
from krishiv_conformance._servers import CommandServer
from krishiv_conformance._shipped._sinks import as_table
from krishiv_connectors import S3
from krishiv_connectors.objects import ObjectParquetSink

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["BUCKETS", "ObjectParquetSinkHarness", "server_at"]

BUCKETS = CommandServer("KRISHIV_CERTIFY_S3", "an S3 server")

_BUCKET = "certify"


class ObjectParquetSinkHarness(SinkHarness):
    """Parquet below a prefix for each case; its reader sees every object, listed in a manifest or not."""

    connector = ObjectParquetSink
    server = BUCKETS

    @property
    def name(self) -> str:
        """What users write, and where."""
        return "ParquetSink-s3"

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        return "" if find_spec("botocore") else "botocore is not installed (krishiv-stream[s3])"

    def set_up(self, workdir: Path) -> None:
        """Make the bucket, if no other case has."""
        with self._connected(workdir) as client:
            try:
                client.create_bucket(Bucket=_BUCKET)
            except client.exceptions.BucketAlreadyOwnedByYou:
                return

    def make(self, workdir: Path) -> ObjectParquetSink:
        """Return the sink."""
        return ObjectParquetSink(f"s3://{_BUCKET}/{self.own_name(workdir)}", storage=server_at(self.address(workdir)))

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read every Parquet object below the prefix."""
        frames: list[pl.DataFrame] = []
        with self._connected(workdir) as client:
            pages = client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=_BUCKET, Prefix=f"{self.own_name(workdir)}/"):
                for found in page.get("Contents", ()):
                    if found["Key"].endswith(".parquet"):
                        body = client.get_object(Bucket=_BUCKET, Key=found["Key"])["Body"].read()
                        frames.append(pl.read_parquet(io.BytesIO(body)))
        return as_table(frames, schema)

    @contextmanager
    def _connected(self, workdir: Path) -> Generator[Any]:
        session: Any = import_module("botocore.session").Session()
        config: Any = import_module("botocore.config").Config(s3={"addressing_style": "path"})
        server = urlsplit(self.address(workdir))
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
