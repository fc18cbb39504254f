"""A sink in S3 that is broken on purpose, and its harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._shipped import ObjectParquetSinkHarness
from krishiv_conformance._shipped._s3 import server_at
from krishiv_connectors.objects import ObjectParquetSink
from krishiv_connectors.objects._records import PreparedSlot

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PublishesAtPrepare", "PublishesAtPrepareHarness"]


class PublishesAtPrepare(ObjectParquetSink):
    """Completes the uploads when they are prepared."""

    def prepare(self, epoch: int) -> bytes:
        """Upload, and make visible."""
        payload = super().prepare(epoch)
        for file in PreparedSlot.parse(payload).files:
            self._open().bucket.complete(file.key, file.upload, file.parts)
        return payload


class PublishesAtPrepareHarness(ObjectParquetSinkHarness):
    """Makes that sink."""

    connector = PublishesAtPrepare

    def make(self, workdir: Path) -> PublishesAtPrepare:
        """Return the sink."""
        return PublishesAtPrepare(f"s3://certify/{self.own_name(workdir)}", storage=server_at(self.address(workdir)))
