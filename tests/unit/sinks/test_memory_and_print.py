"""Rows in memory, and rows for people to look at."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_connectors import MemoryAppendSink, MemorySink, MemorySource, PrintSink, SinkContext, SourceContext
from krishiv_connectors._errors import MemoryChanged, UnsupportedColumn
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch, rows_of

ROWS = pa.table({"id": np.arange(100), "at": pa.array(np.arange(100)[::-1] * 1_000, pa.timestamp("ms"))})


def read_all(source: MemorySource, split: int, position: int | None, ctx: SourceContext) -> pa.Table:
    reader = source.open(source.splits()[split], position, ctx)
    batches = []
    while not reader.finished:
        if (rows := reader.read()) is not None:
            assert 0 < rows.num_rows <= ctx.batch_rows
            batches.append(rows)
    assert reader.read() is None
    reader.close()
    return pa.Table.from_batches(batches, source.schema())


@given(st.integers(1, 12), st.integers(1, 40))
def test_memory_source_reads_every_row_once_whatever_the_splits(splits: int, batch_rows: int) -> None:
    source = MemorySource(ROWS, splits=splits)
    ctx = SourceContext(batch_rows=batch_rows)
    assert len(source.splits()) == splits
    tables = [read_all(source, index, None, ctx) for index in range(splits)]
    assert pa.concat_tables(tables).equals(ROWS)


@given(st.integers(1, 40), st.integers(0, 8))
def test_memory_source_goes_on_at_the_row_of_a_position(batch_rows: int, reads: int) -> None:
    source = MemorySource(ROWS.to_batches(max_chunksize=17))
    (split,) = source.splits()
    reader = source.open(split, None, SourceContext(batch_rows=batch_rows))
    before = [rows for rows in (reader.read() for _ in range(reads)) if rows is not None]
    rest = [] if reader.finished else read_all(source, 0, reader.position(), SourceContext()).to_batches()
    assert pa.Table.from_batches(before + rest, ROWS.schema).equals(ROWS)


def test_memory_source_keeps_batches_as_they_were_given() -> None:
    source = MemorySource([batch(1, 2), batch(), batch(3)])
    reader = source.open(source.splits()[0], None, SourceContext())
    assert [reader.read(), reader.read(), reader.read()] == [batch(1, 2), batch(3), None]
    assert reader.finished


def test_memory_source_reads_only_the_columns_asked_for() -> None:
    source = MemorySource(batch(1))
    reader = source.open(source.splits()[0], None, SourceContext(columns=("id", "price")))
    assert reader.read() == batch(1).select(["id", "price"])


def test_memory_source_without_rows_is_finished_at_once() -> None:
    source = MemorySource(SCHEMA.empty_table())
    reader = source.open(source.splits()[0], None, SourceContext())
    assert reader.finished
    assert reader.position() == 0


def test_memory_source_refuses_a_position_when_its_rows_changed() -> None:
    (split,) = MemorySource([batch(1), batch(2)]).splits()
    equal, other = MemorySource([batch(1, 2)]), MemorySource([batch(1, 3)])
    equal.open(split, 1, SourceContext()).close()
    with pytest.raises(MemoryChanged, match="row 1"):
        other.open(split, 1, SourceContext())


def test_memory_source_knows_the_least_time_of_a_split() -> None:
    first, second = MemorySource(ROWS, splits=2).splits()
    source = MemorySource(ROWS, splits=2)
    assert source.event_time_minimum(first, "at") == 50 * 1_000_000
    assert source.event_time_minimum(second, "at") == 0
    empty = MemorySource(ROWS.slice(0, 0))
    assert empty.event_time_minimum(empty.splits()[0], "at") is None


def test_memory_source_refuses_no_splits() -> None:
    with pytest.raises(ValueError, match="splits"):
        MemorySource(ROWS, splits=0)


def test_memory_sink_shows_rows_in_the_order_of_commits() -> None:
    sink = MemorySink()
    with Attempt(Target(sink=lambda: sink, rows=list, lose=lambda committable: None)) as attempt:
        attempt.commit(attempt.stage(0, 1, 3, 4))
        attempt.commit(attempt.stage(0, 2, 1))
        attempt.write(0, 9)
    assert sink.batches == [batch(3, 4), batch(1)]
    assert sink.table().equals(pa.Table.from_batches([batch(3, 4), batch(1)]))


def test_memory_sink_gives_an_empty_table_with_columns_when_nothing_was_committed() -> None:
    sink = MemorySink()
    with pytest.raises(ValueError, match="no job"):
        sink.table()
    with Attempt(Target(sink=lambda: sink, rows=list, lose=lambda committable: None)):
        assert sink.table().equals(SCHEMA.empty_table())


def test_memory_append_sink_shows_rows_as_they_are_written() -> None:
    sink = MemoryAppendSink()
    sink.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=0, token=1, schema=SCHEMA))
    sink.write(batch(1))
    assert [tuple(row.values()) for row in sink.table().to_pylist()] == rows_of(1)
    sink.flush()
    sink.close()
    assert not sink.capabilities().durable_flush


def test_memory_sink_claims_nothing_that_a_crash_of_the_process_would_break() -> None:
    capabilities = MemorySink().capabilities()
    assert capabilities.two_phase
    assert not capabilities.durable_flush
    assert not capabilities.recovers_prepared


LINES = [f'> {{"id":{i},"name":"n{i}","price":{i / 4}}}\n' for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, LINES), (2, [*LINES[:2], "> ... and 1 more rows\n"]), (0, ["> ... and 3 more rows\n"])],
)
def test_print_sink_prints_a_line_per_row_up_to_its_limit(limit: int | None, expected: list[str]) -> None:
    text = io.StringIO()
    sink = PrintSink(limit=limit, prefix="> ", file=text)
    sink.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=0, token=1, schema=SCHEMA))
    sink.write(batch(1))
    sink.write(batch(2, 3))
    sink.flush()
    sink.close()
    assert text.getvalue() == "".join(expected)


def test_print_sink_prints_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = PrintSink()
    sink.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=0, token=1, schema=SCHEMA))
    sink.write(batch(1))
    sink.close()
    assert capsys.readouterr().out == '{"id":1,"name":"n1","price":0.25}\n'
    assert sink.diagnostic


def test_print_sink_refuses_bytes() -> None:
    with pytest.raises(UnsupportedColumn):
        PrintSink().check(pa.schema({"raw": pa.list_(pa.binary())}))
