"""Reads sources to the end, with or without stopping on the way, as the engine would."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors import SourceContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from krishiv_connectors import Reader, Source, Split

_EMPTY_READS = 2_000


def context(batch_rows: int = 65_536, columns: tuple[str, ...] | None = None, **options: Any) -> SourceContext:
    """Return a context."""
    return SourceContext(batch_rows=batch_rows, columns=columns, **options)


def batches(reader: Reader[Any]) -> Iterator[pa.RecordBatch]:
    """Yield what `reader` gives until it has finished; fails if it gives nothing for too long."""
    empty = 0
    while not reader.finished:
        batch = reader.read()
        if batch is not None:
            empty = 0
            yield batch
        elif not reader.finished:
            empty += 1
            assert empty < _EMPTY_READS, "the reader gives nothing and has not finished"


def available(reader: Reader[Any], rows: int) -> list[dict[str, Any]]:
    """Return the next rows of a reader that does not finish, at least `rows` of them."""
    found: list[dict[str, Any]] = []
    for _ in range(_EMPTY_READS):
        batch = reader.read()
        found += [] if batch is None else batch.to_pylist()
        if len(found) >= rows:
            break
    return found


def until(reader: Reader[Any], condition: Callable[[], bool]) -> None:
    """Read nothing until `condition` holds."""
    for _ in range(_EMPTY_READS):
        assert reader.read() is None
        if condition():
            return
    raise AssertionError("the condition never held")


def read_split(source: Source[Any], split: Split, position: Any = None, ctx: SourceContext | None = None) -> pa.Table:
    """Return the rows of `split` from `position` on."""
    with closing(source.open(split, position, ctx or context())) as reader:
        return as_table(list(batches(reader)), source)


def read_all(source: Source[Any], ctx: SourceContext | None = None) -> pa.Table:
    """Return all rows of a bounded source, split by split."""
    return pa.concat_tables([read_split(source, split, None, ctx) for split in source.splits()])


def read_in_lives(
    source: Source[Any], split: Split, lives: list[tuple[int, int]], *, rows: int | None = None
) -> list[dict[str, Any]]:
    """Read a split with a crash after each life of (number of reads, rows in a batch), then to its end.

    Positions pass through JSON, as they do in a checkpoint.
    """
    found: list[dict[str, Any]] = []
    position: Any = None
    for reads, batch_rows in lives:
        with closing(source.open(split, position, context(batch_rows))) as reader:
            for _, batch in zip(range(reads), batches(reader), strict=False):
                assert 0 < batch.num_rows <= batch_rows
                found += batch.to_pylist()
            position = json.loads(json.dumps(reader.position()))
    rest: list[dict[str, Any]] = read_split(source, split, position).to_pylist()
    return found + rest


def position_after(source: Source[Any], split: Split, rows: int) -> Any:
    """Return the position after the first `rows` rows of a split, read one by one."""
    with closing(source.open(split, None, context(1))) as reader:
        for _ in zip(range(rows), batches(reader), strict=False):
            pass
        return json.loads(json.dumps(reader.position()))


def as_table(found: list[pa.RecordBatch], source: Source[Any]) -> pa.Table:
    """Return batches as a table; of none: one without rows."""
    return pa.Table.from_batches(found, found[0].schema if found else source.schema())


def make_old(path: Path) -> None:
    """Have `path` look as if it had been written an hour ago."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 3_600 * 10**9))


def keep_times(path: Path, change: Callable[[], object]) -> None:
    """Change a file without its times changing."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
