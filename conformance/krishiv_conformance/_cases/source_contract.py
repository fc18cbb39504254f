"""What must hold of a source by itself, read as the engine reads it: no process is killed here."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from krishiv_conformance._case import Case, expect
from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._job import SOURCE
from krishiv_conformance._rows import expect_rows, make_rows, rows_of
from krishiv_connectors import SourceContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from krishiv_conformance._case import Ground
    from krishiv_conformance._rows import Row
    from krishiv_connectors import Reader, Source, Split
    from krishiv_guarantees import SkippableError, SourceCapabilities

__all__ = ["contract_cases"]

PARTS, PART_ROWS = 3, 30
_PATIENCE = 30.0
_MOMENT = 0.01
"""Seconds without rows after which a split without an end has given all it has, where all that are known have come."""


def contract_cases(capabilities: SourceCapabilities) -> list[Case]:
    """Return the contract cases of a source with `capabilities`."""
    checks = list(_CHECKS)
    if capabilities.ordered_replay:
        checks.append(replay_keeps_the_order)
    if capabilities.bounded:
        checks.append(a_finished_split_stays_finished)
    if capabilities.discovers_splits:
        checks.append(new_splits_are_found)
    return [_case(check) for check in checks]


def _case(check: Callable[[_Bench], None]) -> Case:
    about = (check.__doc__ or "").strip().splitlines()[0]
    name = f"source/contract/{check.__name__.replace('_', '-')}"
    return Case(name=name, about=about, check=lambda ground: check(_Bench(ground)))


@dataclass
class _Reading:
    """What reading a split gave: its rows, and after how many of them each position was taken."""

    rows: list[Row] = field(default_factory=list["Row"])
    positions: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])


class _Bench:
    """A source under direct test."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.folder = ground.workdir / SOURCE
        self.expected: list[Row] = []
        self.parts = 0
        self.ends = ground.source.make(self.folder).capabilities().bounded
        own = ground.source.own_rows(self.folder)
        if own is not None:
            self.expected = rows_of(own)
            return
        for _ in range(PARTS):
            self.add_part()

    def add_part(self) -> None:
        """Put one more part down."""
        rows = make_rows(self.ground.seed, PART_ROWS, first=self.parts * PART_ROWS)
        self.ground.source.fill(self.folder, self.parts, rows)
        self.parts += 1
        self.expected += rows_of(rows)

    def source(self) -> Source[Any]:
        """Return a fresh object, as in a fresh process."""
        return self.ground.source.make(self.folder)

    def read(self, split: Split, position: Any = None, *, batch_rows: int = 7, known: int | None = None) -> _Reading:
        """Have a fresh object read `split` from `position` to its end.

        Parameters
        ----------
        known : int, optional
            How many rows are to come. A split without an end is read until they came, and a moment longer; without
            this, until none came for as long as the harness says.
        """
        source = self.source()
        reading = _Reading()
        with _opened(source, split, position, _context(batch_rows)) as reader:
            for batch in self.batches(reader, known):
                self._check_batch(batch, source.schema(), batch_rows)
                reading.rows += rows_of(batch.select(source.schema().names))
                reading.positions.append((len(reading.rows), reader.position()))
        return reading

    def batches(self, reader: Reader[Any], known: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches until the split ends, or, if it has no end, as `read` says."""
        rows, last, deadline = 0, time.monotonic(), time.monotonic() + _PATIENCE
        while not reader.finished:
            batch = reader.read()
            if batch is not None:
                rows, last = rows + batch.num_rows, time.monotonic()
                yield batch
                continue
            reader.position()  # a barrier may pass: sources have to bear that at any time
            quiet = self.ground.source.quiet if known is None else _MOMENT
            if not self.ends and rows >= (known or 0) and time.monotonic() - last > quiet:
                return
            if time.monotonic() > deadline:
                raise CaseFailed(f"a split gave {rows} rows within {_PATIENCE:g} s, and did not end")
            time.sleep(0.001)

    def _check_batch(self, batch: pa.RecordBatch, schema: pa.Schema, batch_rows: int) -> None:
        expect(
            0 < batch.num_rows <= batch_rows,
            f"a batch has {batch.num_rows} rows; asked for were at most {batch_rows}, and one at least",
        )
        missing = set(schema.names) - set(batch.schema.names)
        expect(not missing, f"a batch lacks the columns {sorted(missing)}")
        fits = batch.schema.field
        wrong = [name for name in schema.names if fits(name).type != schema.field(name).type]
        expect(not wrong, f"columns {wrong} of a batch have other types than schema() says")

    def expect_same(self, wanted: Sequence[Row], found: Sequence[Row], where: str) -> None:
        """Expect the same rows; in the same order, if the source claims ordered replay."""
        expect_rows(wanted, found, where)
        if self.source().capabilities().ordered_replay:
            expect(list(wanted) == list(found), f"{where}: the same rows in another order")


def _context(batch_rows: int, columns: tuple[str, ...] | None = None) -> SourceContext:
    return SourceContext(batch_rows=batch_rows, columns=columns, bad_rows=_refuse)


@contextmanager
def _opened(source: Source[Any], split: Split, position: Any, context: SourceContext) -> Generator[Reader[Any]]:
    """Give a reader of `split` at `position` (None: where it is read the first time), alone in its subtask."""
    place = split.start if position is None else position
    with closing(context), closing(source.open(split, place, context)) as reader:
        yield reader


def _refuse(error: SkippableError) -> None:
    raise error


def every_row_is_read_once(bench: _Bench) -> None:
    """All splits together give every row, each exactly once."""
    source = bench.source()
    rows = [row for split in source.splits() for row in bench.read(split).rows]
    expect_rows(bench.expected, rows, "after every split was read")


def a_fresh_reader_resumes_at_every_position(bench: _Bench) -> None:
    """From every position that a reader ever had, another object reads exactly the rows that were left."""
    for split in bench.source().splits():
        reading = bench.read(split, batch_rows=bench.ground.random.randint(1, 3))
        for count, position in reading.positions:
            left, batch_rows = len(reading.rows) - count, bench.ground.random.randint(1, 50)
            rest = bench.read(split, position, batch_rows=batch_rows, known=left).rows
            where = f"split {split.id!r} resumed at {position!r}, after {count} rows"
            bench.expect_same(reading.rows[count:], rest, where)


def a_position_before_the_first_row_is_the_beginning(bench: _Bench) -> None:
    """The position of a reader that has read nothing yet stands for every row (a barrier may come first)."""
    for split in bench.source().splits():
        whole = bench.read(split).rows
        with _opened(bench.source(), split, None, _context(7)) as reader:
            position = reader.position()
        again = bench.read(split, position, known=len(whole)).rows
        bench.expect_same(whole, again, f"split {split.id!r} from its start")


def positions_survive_json(bench: _Bench) -> None:
    """A position is a JSON value: written to a checkpoint and read back it is the same, and so are split payloads."""
    for split in bench.source().splits():
        for _, position in bench.read(split, batch_rows=10).positions:
            expect(_json(position) == position, f"position {position!r} is not the same after JSON")
        expect(_json(dict(split.payload)) == dict(split.payload), f"the payload of {split.id!r} is not JSON")


def _json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CaseFailed(f"{value!r} is not a JSON value: {error}") from error


def splits_keep_their_names(bench: _Bench) -> None:
    """Fresh objects find the same splits under the same ids, each id once, in the same order."""
    first, second = bench.source().splits(), bench.source().splits()
    ids = [split.id for split in first]
    expect(len(set(ids)) == len(ids), f"two splits share an id: {ids}")
    expect(ids == [split.id for split in second], f"another object found other splits: {[s.id for s in second]}")
    expect(bool(ids), "there are rows, but no split")


def the_schema_is_always_the_same(bench: _Bench) -> None:
    """Fresh objects state the same schema, also after some rows were read."""
    source = bench.source()
    before = source.schema()
    with _opened(source, source.splits()[0], None, _context(7)) as reader:
        next(bench.batches(reader))
    expect(bench.source().schema().equals(before) and source.schema().equals(before), "schema() changed")


def a_finished_split_stays_finished(bench: _Bench) -> None:
    """After its last row a reader gives None for ever, and its last position resumes to nothing (bounded)."""
    for split in bench.source().splits():
        with _opened(bench.source(), split, None, _context(16)) as reader:
            for _ in bench.batches(reader):
                pass
            position = reader.position()
            late = [reader.read() for _ in range(3)]
            expect(late == [None] * 3, f"split {split.id!r} was finished and gave rows again")
            expect(reader.finished, f"split {split.id!r} was finished and is not any more")
        rows = bench.read(split, position).rows
        expect(rows == [], f"split {split.id!r} resumed at its end gave {len(rows)} rows")


def readers_do_not_disturb_each_other(bench: _Bench) -> None:
    """Two readers of one object, in turns, each give all rows of their split."""
    source = bench.source()
    splits = source.splits()
    pair = [splits[0], splits[-1]]
    wanted = [bench.read(split).rows for split in pair]
    found: list[list[Row]] = [[], []]
    context = _context(5)  # one subtask's: what its readers share, they share here
    with closing(context), ExitStack() as stack:
        readers = [stack.enter_context(closing(source.open(split, split.start, context))) for split in pair]
        waiting = {number: bench.batches(reader, len(wanted[number])) for number, reader in enumerate(readers)}
        while waiting:
            for number in list(waiting):
                batch = next(waiting[number], None)
                if batch is None:
                    del waiting[number]
                else:
                    found[number] += rows_of(batch.select(source.schema().names))
    for number, rows in enumerate(found):
        bench.expect_same(wanted[number], rows, f"reader {number} of two in turns")


def a_choice_of_columns_changes_no_row(bench: _Bench) -> None:
    """With `columns` a reader gives at least these, with the same values and from the same positions."""
    source = bench.source()
    split = source.splits()[0]
    whole = bench.read(split, batch_rows=4)
    for name in source.schema().names:
        index = source.schema().names.index(name)
        values: list[Any] = []
        middle: tuple[int, Any] | None = None
        with _opened(bench.source(), split, None, _context(4, (name,))) as reader:
            for batch in bench.batches(reader, len(whole.rows)):
                values += batch.column(name).to_pylist()
                middle = middle or (len(values), reader.position())
        expect(values == [row[index] for row in whole.rows], f"column {name!r} read alone has other values")
        if middle is not None:
            count, position = middle
            rest = bench.read(split, position, known=len(whole.rows) - count).rows
            bench.expect_same(whole.rows[count:], rest, f"resumed at a position of a reader of {name!r} alone")


def the_stated_minimum_of_event_time_holds(bench: _Bench) -> None:
    """No row of a split is older than `event_time_minimum` says."""
    source = bench.source()
    times = [field.name for field in source.schema() if pa.types.is_timestamp(field.type)]
    for split in source.splits():
        rows = bench.read(split).rows
        for name in times:
            stated = source.event_time_minimum(split, name)
            if stated is None or not rows:
                continue
            index = source.schema().names.index(name)
            column = pa.array([row[index] for row in rows], type=source.schema().field(name).type)
            oldest = pc.min(column).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py()
            expect(stated <= oldest, f"split {split.id!r} states {stated} for {name!r}, but has a row of {oldest}")


def replay_keeps_the_order(bench: _Bench) -> None:
    """Read twice, with batches of other sizes, a split gives its rows in the same order (ordered_replay)."""
    for split in bench.source().splits():
        first = bench.read(split, batch_rows=3).rows
        second = bench.read(split, batch_rows=64, known=len(first)).rows
        expect_rows(first, second, f"split {split.id!r} read twice")
        expect(first == second, f"split {split.id!r} gave the same rows in another order")


def new_splits_are_found(bench: _Bench) -> None:
    """Asked again, a source returns the splits it returned before and the new one (discovers_splits)."""
    source = bench.source()
    before = [split.id for split in source.splits()]
    bench.add_part()
    for each in (source, bench.source()):
        after = [split.id for split in each.splits()]
        expect(set(before) <= set(after), f"splits {sorted(set(before) - set(after))} are not returned any more")
        expect(len(after) == len(before) + 1, f"one part was added, the splits were {before} and are {after}")
    rows = [row for split in source.splits() for row in bench.read(split).rows]
    expect_rows(bench.expected, rows, "after a part was added")


_CHECKS: tuple[Callable[[_Bench], None], ...] = (
    every_row_is_read_once,
    a_fresh_reader_resumes_at_every_position,
    a_position_before_the_first_row_is_the_beginning,
    positions_survive_json,
    splits_keep_their_names,
    the_schema_is_always_the_same,
    readers_do_not_disturb_each_other,
    a_choice_of_columns_changes_no_row,
    the_stated_minimum_of_event_time_holds,
)
