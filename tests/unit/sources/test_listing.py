"""Which files a pattern means, and what is said when it means none."""

from __future__ import annotations

from pathlib import Path

import pytest

from krishiv_connectors._errors import MissingDirectory, NoMatchingFiles, UnsupportedLocation
from krishiv_connectors.files._listing import absolute_patterns, find_files


def found(*patterns: str | Path, must_match: bool = True) -> list[str]:
    """Return the files' names."""
    paths = find_files(absolute_patterns(list(patterns)), (".csv",), must_match=must_match)
    return [Path(path).name for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with files of several names, some below it."""
    for name in ("b.csv", "a.csv", "c.txt", "_SUCCESS.csv", ".hidden.csv", "sub/d.csv", "_tmp/e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_directory_stands_for_files_of_the_format_below_it_by_name(folder: Path) -> None:
    assert found(folder) == ["a.csv", "b.csv", "d.csv"]


def test_glob_matches_files_by_path(folder: Path) -> None:
    assert found(folder / "[ab].*") == ["a.csv", "b.csv"]
    assert found(folder / "**" / "[a-z].csv") == ["e.csv", "a.csv", "b.csv", "d.csv"]


def test_several_patterns_keep_their_order_and_name_no_file_twice(folder: Path) -> None:
    assert found(folder / "b.csv", folder) == ["b.csv", "a.csv", "d.csv"]


def test_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "part[1].csv").touch()
    assert found(folder / "part[1].csv") == ["part[1].csv"]


def test_relative_paths_become_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_files(absolute_patterns("a.csv"), (".csv",), must_match=True) == [str(folder / "a.csv")]


def test_missing_directory_is_named_even_if_no_match_is_needed(tmp_path: Path) -> None:
    with pytest.raises(MissingDirectory, match="absent") as caught:
        found(tmp_path / "absent" / "2024-*" / "*.csv", must_match=False)
    assert caught.value.code == "KS-INPUT-DIRECTORY"
    assert caught.value.fields["directory"] == str(tmp_path / "absent")
    assert caught.value.hint


def test_pattern_without_a_match_is_named(folder: Path) -> None:
    with pytest.raises(NoMatchingFiles, match=r"z\*\.csv") as caught:
        found(folder / "a.csv", folder / "z*.csv")
    assert caught.value.code == "KS-INPUT-NONE"
    assert "follow=True" in caught.value.hint
    assert found(folder / "z*.csv", must_match=False) == []


def test_directory_without_files_of_the_format_says_which_endings_count(tmp_path: Path) -> None:
    with pytest.raises(NoMatchingFiles) as caught:
        found(tmp_path)
    assert ".csv" in caught.value.hint


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(NoMatchingFiles):
        absolute_patterns([])


def test_url_is_refused() -> None:
    with pytest.raises(UnsupportedLocation) as caught:
        absolute_patterns("s3://bucket/a.csv")
    assert caught.value.code == "KS-INPUT-LOCATION"
