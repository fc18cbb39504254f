"""Formats by name, what they say of themselves, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from krishiv_connectors import codecs
from krishiv_connectors._errors import MissingExtra, UnknownFormat
from krishiv_connectors._extras import need
from krishiv_connectors.codecs import CsvFormat, JsonFormat, RawFormat, StringFormat, format_of


@pytest.mark.parametrize(
    ("name", "kind"), [("json", JsonFormat), ("raw", RawFormat), ("string", StringFormat), ("csv", CsvFormat)]
)
def test_format_is_found_by_its_name(name: str, kind: type) -> None:
    assert type(format_of(name)) is kind
    assert format_of(name).config()["format"] == name


def test_format_object_is_itself() -> None:
    form = CsvFormat(";")
    assert format_of(form) is form
    assert form.config() == {"format": "csv", "delimiter": ";"}


@pytest.mark.parametrize(
    ("name", "guess"),
    [("jsn", "did you mean 'json'?"), ("arvo", "did you mean AvroFormat?"), ("xml", "valid: csv, json")],
)
def test_unknown_name_is_answered_with_what_may_have_been_meant(name: str, guess: str) -> None:
    with pytest.raises(UnknownFormat) as caught:
        format_of(name)
    assert guess in caught.value.hint
    assert caught.value.fields["valid"] == ["csv", "json", "raw", "string"]


def test_format_without_a_registry_needs_no_subject() -> None:
    form = JsonFormat()
    assert form.for_subject("orders-value") is form


def test_codecs_export_what_they_list_and_list_it_sorted() -> None:
    assert sorted(codecs.__all__) == codecs.__all__
    assert [name for name in codecs.__all__ if getattr(codecs, name, None) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = codecs.nothing


def test_importing_the_connectors_loads_no_library_of_an_extra() -> None:
    heavy = "{'fastavro', 'google.protobuf', 'ptars', 'confluent_kafka', 'httpx'}"
    program = f"import sys, krishiv_connectors.codecs; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_missing_library_names_the_extra() -> None:
    with pytest.raises(MissingExtra) as caught:
        need("no_such_library", "avro")
    assert caught.value.hint == "pip install 'krishiv-stream[avro]'"
