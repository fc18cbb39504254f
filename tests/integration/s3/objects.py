"""What the tests of Parquet in S3 share: an output as a target of the contract, and a bare client."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import polars as pl

import krishiv_stream as ks
from krishiv_connectors.objects._bucket import BucketAddress
from krishiv_connectors.objects._records import PreparedSlot
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.unit.sinks.contract import Target

if TYPE_CHECKING:
    from krishiv_checkpoint import Committable
    from krishiv_connectors import TwoPhaseSink
    from krishiv_connectors.objects._bucket import Bucket
    from tests.services.s3.gateway import Gateway

__all__ = ["Output", "output_target"]


class Output:
    """A new output in a bucket of its own."""

    def __init__(self, gateway: Gateway, endpoint: str | None = None) -> None:
        self.url = f"s3://{gateway.new_bucket()}/out"
        self.storage = ks.S3(
            endpoint=endpoint or gateway.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1"
        )
        self.direct = ks.S3(endpoint=gateway.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1")

    def sink(self, **options: Any) -> TwoPhaseSink:
        """Return a new sink."""
        return cast("TwoPhaseSink", ks.ParquetSink(self.url, storage=self.storage, **options))

    def bucket(self) -> closing[Bucket]:
        """Return a connection past whatever lies between the sink and the server."""
        return closing(BucketAddress(self.url, self.direct).open())

    def keys(self) -> list[str]:
        """Return the keys of data files."""
        with self.bucket() as bucket:
            return [found.key for found in bucket.list() if found.key.endswith(".parquet")]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what any reader of the objects sees: sorted ``(id, name, price)``."""
        frames: list[pl.DataFrame] = []
        with self.bucket() as bucket:
            for found in list(bucket.list()):
                content = bucket.get(found.key) if found.key.endswith(".parquet") else None
                if content is not None:
                    frames.append(pl.read_parquet(io.BytesIO(content[0])))
        return sorted(row for frame in frames for row in frame.rows())


def output_target(output: Output, **options: Any) -> Target:
    """Return it as a target of the contract."""

    def lose(committable: Committable) -> None:
        with output.bucket() as bucket:
            for file in PreparedSlot.parse(committable.payload).files:
                bucket.abort_upload(file.key, file.upload)

    def damage(committable: Committable) -> None:
        with output.bucket() as bucket:
            for file in PreparedSlot.parse(committable.payload).files:
                bucket.upload_part(file.key, file.upload, 1, bytes(file.size))

    return Target(sink=lambda: output.sink(**options), rows=output.rows, lose=lose, damage=damage, rewinds=True)
