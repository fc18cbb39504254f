"""What CSV and NDJSON have in common: positions, bad records, following, changed files."""

from __future__ import annotations

import json
import logging
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import BadCsvRow, BadJsonLine, FileChanged, FileVanished, UnreadableFile
from krishiv_connectors.files import CsvSource, JsonSource, _text_blocks
from tests.unit.sources.support import (
    available,
    batches,
    context,
    keep_times,
    make_old,
    position_after,
    read_all,
    read_in_lives,
    read_split,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krishiv_connectors import Source
    from krishiv_guarantees import SkippableError

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("price", pa.float64())])

Row = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """A text format, and how to write it."""

    name: str
    source: Any
    error: type[SkippableError]
    header: bytes
    bad: bytes
    unfinished: bytes
    """The beginning of `line(number=7)`, cut so that it is no whole record."""

    def line(self, number: int) -> bytes:
        """Return one record."""
        if self.name == "csv":
            return f"{number},value {number},{number / 4}\n".encode()
        return json.dumps({"id": number, "text": f"value {number}", "price": number / 4}).encode() + b"\n"

    def text(self, numbers: range) -> bytes:
        """Return a whole file."""
        return self.header + b"".join(self.line(number) for number in numbers)

    def write(self, path: Path, numbers: range, **_: Any) -> Source[Any]:
        """Write a file and return a source of it."""
        path.write_bytes(self.text(numbers))
        return self.of(path)

    def of(self, path: Path, **options: Any) -> Source[Any]:
        """Return a source."""
        source: Source[Any] = self.source(path, schema=SCHEMA, **options)
        return source


CSV = Format("csv", CsvSource, BadCsvRow, b"id,text,price\n", b"x,what,1.0\n", b"7,value 7,1.7")
NDJSON = Format(
    "ndjson", JsonSource, BadJsonLine, b"", b'{"id": "x", "text": "what"}\n', b'{"id": 7, "text": "value 7", "pri'
)


@pytest.fixture(params=[CSV, NDJSON], ids=lambda form: form.name)
def form(request: pytest.FixtureRequest) -> Format:
    """Each format in turn."""
    found: Format = request.param
    return found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files read in blocks of about a dozen records."""
    monkeypatch.setattr(_text_blocks, "_READ_BYTES", 300)


def rows(numbers: range) -> list[Row]:
    """Return the rows that a file of these numbers holds."""
    return [{"id": number, "text": f"value {number}", "price": number / 4} for number in numbers]


def collecting(**options: Any) -> tuple[Any, list[SkippableError]]:
    """Return a context that skips bad records and keeps their errors."""
    found: list[SkippableError] = []
    return context(bad_rows=found.append, **options), found


def test_all_rows_of_all_files_come_in_order(tmp_path: Path, form: Format) -> None:
    form.write(tmp_path / f"b.{form.name}", range(300, 500))
    form.write(tmp_path / f"a.{form.name}", range(300))
    assert read_all(form.of(tmp_path)).to_pylist() == rows(range(500))


@pytest.mark.usefixtures("small_blocks")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([CSV, NDJSON]),
    lives=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=4),
    blank=st.booleans(),
)
def test_resuming_anywhere_equals_reading_through(
    tmp_path: Path, name: Format, lives: list[tuple[int, int]], blank: bool
) -> None:
    path = tmp_path / f"{name.name}-{blank}"
    if not path.exists():
        text = name.text(range(120))
        path.write_bytes(text.replace(b"\n", b"\r\n\r\n").removesuffix(b"\r\n\r\n") if blank else text)
    source = name.of(path)
    assert read_in_lives(source, source.splits()[0], lives) == rows(range(120))


@pytest.mark.usefixtures("small_blocks")
def test_resuming_at_every_row_equals_reading_through(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(60))
    (split,) = source.splits()
    for row in range(1, 61):
        position = position_after(source, split, row)
        assert position["row"] == row
        assert position["offset"] == len(form.text(range(row)))
        assert read_split(source, split, position).to_pylist() == rows(range(row, 60))


def test_restart_reads_no_more_than_a_grain_before_the_position(
    tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = form.write(tmp_path / "a", range(100_000))
    (split,) = source.splits()
    position = position_after(source, split, 90_000)
    starts: list[int] = []
    seek = _text_blocks.read_blocks

    def watched(file: Any, *args: Any, **options: Any) -> Any:
        starts.append(args[1].length)
        return seek(file, *args, **options)

    monkeypatch.setattr("krishiv_connectors.files._text_reader.read_blocks", watched)
    assert read_split(source, split, position).column("id").to_pylist() == list(range(90_000, 100_000))
    assert starts == [position["offset"]]
    assert position["offset"] > 1 << 20


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n \n"])
def test_last_record_needs_no_line_end(tmp_path: Path, form: Format, ending: bytes) -> None:
    (tmp_path / "a").write_bytes(form.text(range(5)).rstrip(b"\n") + ending)
    ctx, errors = collecting()
    assert read_all(form.of(tmp_path / "a"), ctx).to_pylist() == rows(range(5))
    # A line of spaces is a value in CSV.
    assert [error.fields["raw"] for error in errors] == ([b" "] if b" " in ending and form is CSV else [])


def test_byte_order_mark_is_passed_over(tmp_path: Path, form: Format) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + form.text(range(3)))
    assert read_all(form.of(tmp_path / "a")).to_pylist() == rows(range(3))


@pytest.mark.parametrize("content", ["empty", "header"])
def test_file_without_records_is_finished(tmp_path: Path, form: Format, content: str) -> None:
    (tmp_path / "a").write_bytes(form.header if content == "header" else b"")
    assert read_all(form.of(tmp_path / "a")).num_rows == 0


def test_only_the_columns_asked_for_are_decoded(tmp_path: Path, form: Format) -> None:
    (tmp_path / "a").write_bytes(form.text(range(3)) + form.bad)
    read = read_all(form.of(tmp_path / "a"), context(columns=("text",)))
    assert read.column_names == ["text"]
    assert read.num_rows == 4
    assert read_all(form.of(tmp_path / "a"), context(columns=("text", "price"))).column_names == ["text", "price"]


@pytest.mark.usefixtures("small_blocks")
def test_bad_records_go_to_the_callback_with_place_and_bytes(tmp_path: Path, form: Format) -> None:
    good = [form.line(number) for number in range(50)]
    lines = [*good[:10], form.bad, *good[10:30], form.bad, form.bad, *good[30:], form.bad]
    (tmp_path / "a").write_bytes(form.header + b"".join(lines))
    ctx, errors = collecting()
    assert read_all(form.of(tmp_path / "a"), ctx).to_pylist() == rows(range(50))
    assert [error.fields["row"] for error in errors] == [11, 32, 33, 54]
    offset = len(form.header) + len(b"".join(lines[:10]))
    first = errors[0]
    assert isinstance(first, form.error)
    assert first.fields["offset"] == offset
    assert first.fields["raw"] == form.bad.rstrip()
    assert first.fields["place"] == f"{tmp_path / 'a'}, row 11 at byte {offset}"
    assert first.fields["path"] == str(tmp_path / "a")
    assert "x" in first.message
    assert first.hint


@pytest.mark.usefixtures("small_blocks")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([CSV, NDJSON]),
    bad=st.sets(st.integers(0, 59), max_size=20),
    lives=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=3),
)
def test_bad_records_are_reported_once_each_over_restarts(
    tmp_path: Path, name: Format, bad: set[int], lives: list[tuple[int, int]]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(name.header + b"".join(name.bad if n in bad else name.line(n) for n in range(60)))
    source = name.of(path)
    (split,) = source.splits()
    found: list[Row] = []
    errors: list[SkippableError] = []
    position: Any = None
    for reads, batch_rows in [*lives, (10_000, 64)]:
        with closing(source.open(split, position, context(batch_rows, bad_rows=errors.append))) as reader:
            for _, batch in zip(range(reads), batches(reader), strict=False):
                found += batch.to_pylist()
            position = reader.position()
    assert found == [row for row in rows(range(60)) if row["id"] not in bad]
    assert [error.fields["row"] - 1 for error in errors] == sorted(bad)


def test_bad_record_fails_the_read_without_a_callback_and_can_be_mended(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "a"
    path.write_bytes(form.text(range(40)) + form.bad + b"".join(form.line(n) for n in range(41, 60)))
    source = form.of(path)
    (split,) = source.splits()
    found: list[Row] = []
    with closing(source.open(split, None, context(7))) as reader:
        stream = (row for batch in batches(reader) for row in batch.to_pylist())
        with pytest.raises(form.error, match="row 41"):
            found.extend(stream)
        position = reader.position()
    path.write_bytes(form.text(range(60)))
    assert found + read_split(source, split, position).to_pylist() == rows(range(60))


def test_long_bad_record_is_cut(tmp_path: Path, form: Format) -> None:
    (tmp_path / "a").write_bytes(form.header + b"y" * 20_000 + b"\n")
    ctx, errors = collecting()
    assert read_all(form.of(tmp_path / "a"), ctx).num_rows == 0
    assert errors[0].fields["raw"] == b"y" * 8_192


def test_text_without_line_ends_is_unreadable(tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_text_blocks, "_READ_BYTES", 300)
    monkeypatch.setattr(_text_blocks, "_MAX_RECORD_BYTES", 1_000)
    (tmp_path / "a").write_bytes(form.header + b"y" * 2_000)
    with pytest.raises(UnreadableFile, match="no record ends within") as caught:
        read_all(form.of(tmp_path / "a"))
    assert caught.value.fields == {"path": str(tmp_path / "a")}


def test_vanished_file_is_named(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(20))
    (split,) = source.splits()
    position = position_after(source, split, 5)
    (tmp_path / "a").unlink()
    for start in (None, position):
        with pytest.raises(FileVanished, match=r"/a'"):
            source.open(split, start, context())


def test_directory_in_place_of_a_file_is_unreadable(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(20))
    (split,) = source.splits()
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    with pytest.raises(UnreadableFile, match="Is a directory"):
        source.open(split, None, context())


def test_changed_bytes_before_the_position_are_refused(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "a"
    source = form.write(path, range(100))
    (split,) = source.splits()
    position = position_after(source, split, 50)
    path.write_bytes(path.read_bytes().replace(b"value 49", b"value xx"))
    with pytest.raises(FileChanged) as caught:
        source.open(split, position, context())
    assert caught.value.fields == {"path": str(path)}


def test_changed_bytes_just_before_the_position_are_refused_even_if_the_file_looks_untouched(
    tmp_path: Path, form: Format
) -> None:
    path = tmp_path / "a"
    source = form.write(path, range(100))
    (split,) = source.splits()
    position = position_after(source, split, 50)
    keep_times(path, lambda: path.write_bytes(path.read_bytes().replace(b"value 49", b"value xx")))
    with pytest.raises(FileChanged):
        source.open(split, position, context())


def test_file_shorter_than_the_position_is_refused(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(100))
    (split,) = source.splits()
    position = position_after(source, split, 50)
    form.write(tmp_path / "a", range(30))
    with pytest.raises(FileChanged):
        source.open(split, position, context())


def test_file_mended_behind_the_position_goes_on(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(100))
    (split,) = source.splits()
    position = position_after(source, split, 50)
    (tmp_path / "a").write_bytes(form.text(range(50)) + b"".join(form.line(n) for n in range(900, 1_000)))
    assert read_split(source, split, position).to_pylist() == rows(range(900, 1_000))


def test_copied_file_goes_on(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(100))
    (split,) = source.splits()
    position = position_after(source, split, 50)
    make_old(tmp_path / "a")
    assert read_split(source, split, position).to_pylist() == rows(range(50, 100))


def test_file_written_to_while_it_is_read_is_refused_at_its_end(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(100))
    with closing(source.open(source.splits()[0], None, context(10))) as reader:
        found = available(reader, 10)
        with (tmp_path / "a").open("ab") as file:
            file.write(form.line(100))
        stream = (row for batch in batches(reader) for row in batch.to_pylist())
        with pytest.raises(FileChanged, match="while it was read"):
            found.extend(stream)
        position = reader.position()
    found += read_split(source, source.splits()[0], position).to_pylist()
    assert found == rows(range(101))


def test_deleted_file_is_read_to_its_end(tmp_path: Path, form: Format) -> None:
    source = form.write(tmp_path / "a", range(100))
    with closing(source.open(source.splits()[0], None, context(10))) as reader:
        found = available(reader, 10)
        (tmp_path / "a").unlink()
        assert found + [row for batch in batches(reader) for row in batch.to_pylist()] == rows(range(100))


@pytest.fixture
def following(tmp_path: Path, form: Format) -> Iterator[Following]:
    """A followed file that holds five whole records, and the reader of it."""
    path = tmp_path / f"a.{form.name}"
    path.write_bytes(form.text(range(5)))
    source = form.of(tmp_path, follow=True, settle=3_600.0)
    with closing(source.open(source.splits()[0], None, context(bad_rows=None))) as reader:
        yield Following(form, path, source, reader)


@dataclass
class Following:
    """A followed file and its reader."""

    form: Format
    path: Path
    source: Any
    reader: Any

    def append(self, data: bytes) -> None:
        """Write at the end of the file."""
        with self.path.open("ab") as file:
            file.write(data)


def test_follow_reads_what_is_appended(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    for number in (5, 6):
        assert not following.reader.finished
        following.append(following.form.line(number))
        assert available(following.reader, 1) == rows(range(number, number + 1))


def test_follow_awaits_the_rest_of_a_record(following: Following, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "krishiv_connectors")
    line = following.form.line(7)
    assert available(following.reader, 5) == rows(range(5))
    following.append(following.form.unfinished)
    until(following.reader, lambda: "waiting for its writer" in caplog.text)
    assert following.reader.position()["row"] == 5
    following.append(line.removeprefix(following.form.unfinished))
    assert available(following.reader, 1) == rows(range(7, 8))


def test_follow_finishes_a_file_that_has_settled(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    until(following.reader, lambda: True)
    assert not following.reader.finished
    old = following.path.stat().st_mtime_ns - 3_600 * 10**9
    os.utime(following.path, ns=(old, old))
    until(following.reader, lambda: following.reader.finished)


def test_follow_never_finishes_a_file_that_ends_within_a_record(following: Following) -> None:
    following.append(following.form.unfinished)
    make_old(following.path)
    assert available(following.reader, 5) == rows(range(5))
    for _ in range(20):
        assert following.reader.read() is None
    assert not following.reader.finished


def test_follow_goes_on_in_a_replaced_file_with_the_same_beginning(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    other = following.path.with_name("other")
    other.write_bytes(following.form.text(range(9)))
    other.rename(following.path)
    assert available(following.reader, 4) == rows(range(5, 9))


def test_follow_refuses_a_replaced_file_with_another_beginning(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    other = following.path.with_name("other")
    other.write_bytes(following.form.text(range(1, 20)))
    other.rename(following.path)
    with pytest.raises(FileChanged):
        available(following.reader, 1)


def test_follow_lets_a_fully_read_file_be_deleted(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    following.path.unlink()
    until(following.reader, lambda: following.reader.finished)


def test_follow_names_a_file_that_was_deleted_within_a_record(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "krishiv_connectors")
    following.append(following.form.unfinished)
    assert available(following.reader, 5) == rows(range(5))
    until(following.reader, lambda: "waiting for its writer" in caplog.text)
    following.path.unlink()
    with pytest.raises(FileVanished):
        available(following.reader, 1)


def test_follow_resumes_in_a_file_that_grew_meanwhile(following: Following) -> None:
    assert available(following.reader, 5) == rows(range(5))
    position = json.loads(json.dumps(following.reader.position()))
    following.append(following.form.line(5))
    with closing(following.source.open(following.source.splits()[0], position, context())) as reader:
        assert available(reader, 1) == rows(range(5, 6))


def test_follow_finds_new_files(following: Following) -> None:
    new = following.path.with_name(f"b.{following.form.name}")
    new.write_bytes(following.form.text(range(3)))
    assert [split.id for split in following.source.splits()] == [str(following.path), str(new)]
    assert following.source.capabilities().discovers_splits
    assert not following.source.capabilities().bounded
