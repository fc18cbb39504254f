"""Harnesses of the Delta connectors. Their reader is polars; what fills a table is delta-rs's own writer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import polars as pl

from krishiv_conformance._harness import SinkHarness, SourceHarness
from krishiv_conformance._rows import SCHEMA
from krishiv_conformance._shipped._sinks import as_table
from krishiv_connectors import DeltaSource
from krishiv_connectors.delta._append_sink import AppendDeltaSink

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["DeltaFollowHarness", "DeltaSinkHarness", "DeltaSourceHarness"]


def _missing() -> str:
    return "" if find_spec("deltalake") else "deltalake is not installed (pip install 'krishiv-stream[delta]')"


class DeltaSinkHarness(SinkHarness):
    """A table in a folder."""

    connector = AppendDeltaSink

    @property
    def name(self) -> str:
        """What users write."""
        return "DeltaSink"

    def missing(self) -> str:
        """Name the library."""
        return _missing()

    def make(self, workdir: Path) -> AppendDeltaSink:
        """Return the sink."""
        return AppendDeltaSink(workdir / "output")

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the table's newest version, if there is one."""
        table = workdir / "output"
        frames = [pl.read_delta(str(table))] if any((table / "_delta_log").glob("*.json")) else []
        return as_table(frames, schema)


class DeltaSourceHarness(SourceHarness):
    """A table with a version for each part."""

    connector = DeltaSource
    follow = False

    def missing(self) -> str:
        """Name the library."""
        return _missing()

    def make(self, workdir: Path) -> DeltaSource:
        """Return the source."""
        return DeltaSource(workdir / "input", follow=self.follow, schema=SCHEMA, splits=2)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Append a version."""
        from deltalake import WriterProperties, write_deltalake

        small = WriterProperties(max_row_group_size=23)
        write_deltalake(str(workdir / "input"), rows, mode="append", writer_properties=small)


class DeltaFollowHarness(DeltaSourceHarness):
    """The same, waiting for new versions."""

    variant = "follow"
    follow = True
