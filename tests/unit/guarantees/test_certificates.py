"""Certificates as text: what they hold, and that damaged text is a named error and never another certificate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_guarantees import (
    CERTIFICATE_FORMAT,
    MIN_COMBINATION_KILLS,
    Certificate,
    CertificateCorrupt,
    CertificateFutureFormat,
    CertificateIndex,
    FaultRun,
    module_digest,
)
from krishiv_guarantees._certificate_fields import text_checksum
from tests.unit.guarantees.examples import SINK, certificate

if TYPE_CHECKING:
    from collections.abc import Callable

CERTIFICATE = certificate()
TEXT = CERTIFICATE.to_json()


def resealed(change: Callable[[dict[str, Any]], object]) -> str:
    """The certificate's text after `change`, with a checksum that fits."""
    document: dict[str, Any] = json.loads(TEXT)
    change(document)
    return json.dumps({**document, "checksum": text_checksum(document)})


def outcome(text: str) -> Certificate | str:
    """The certificate that `text` holds, or that it was refused with its origin named."""
    try:
        return Certificate.from_json(text, origin="damaged.json")
    except (CertificateCorrupt, CertificateFutureFormat) as error:
        return "refused" if "damaged.json" in error.message and error.hint else "refused without a word"


def test_certificate_is_equal_after_writing_and_reading() -> None:
    read = Certificate.from_json(TEXT, origin="shop.json")
    assert read == CERTIFICATE
    assert read.origin == "shop.json"
    assert read.id == CERTIFICATE.id
    assert read.to_json() == TEXT


def test_certificate_text_holds_what_it_is_bound_to_and_says_that_it_is_no_signature() -> None:
    document = json.loads(TEXT)
    assert document["format"] == CERTIFICATE_FORMAT
    assert "not a signature" in document["notice"]
    assert document["sink"]["class"] == SINK.class_name
    assert document["sink"]["version"] == SINK.version
    assert document["sink"]["digests"].keys() == SINK.modules.keys()
    assert document["sink"]["options"] == SINK.options
    assert document["sink"]["tested_versions"] == {"client": ["2.0", "2.5"]}
    assert document["sink"]["faults"] == {
        "cases": ["before-prepare", "after-manifest"],
        "kills": 12,
        "seeds": [1, 2],
        "against": ["ref:Sink"],
    }
    assert document["combination"]["kills"] == 5
    assert document["commit_path"].keys() == {"checkpoint.commit"}


def test_certificate_sums_its_kills_and_digests() -> None:
    assert CERTIFICATE.kills == 3 * 12 + 5
    assert CERTIFICATE.sink.digest == module_digest(SINK.modules)


def test_certificate_id_follows_its_content_and_not_its_origin() -> None:
    assert replace(CERTIFICATE, origin="elsewhere").id == CERTIFICATE.id
    assert replace(CERTIFICATE, suite_version="2").id != CERTIFICATE.id


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="ascii"))
def test_one_changed_character_is_a_named_error_or_changes_nothing(place: int, character: str) -> None:
    damaged = TEXT[:place] + character + TEXT[place + 1 :]
    assert outcome(damaged) in (CERTIFICATE, "refused")


@given(st.integers(0, len(TEXT) - 3))
def test_text_cut_short_is_a_named_error(length: int) -> None:
    with pytest.raises(CertificateCorrupt):
        Certificate.from_json(TEXT[:length], origin="cut.json")


@given(st.text())
def test_any_other_text_is_a_named_error(text: str) -> None:
    with pytest.raises(CertificateCorrupt):
        Certificate.from_json(text, origin="noise.json")


WRONG_FIELDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "sink.class is missing": lambda d: d["sink"].pop("class"),
    "sink.class should be text": lambda d: d["sink"].update({"class": 1}),
    "sink.faults.kills should be a whole number": lambda d: d["sink"]["faults"].update(kills="12"),
    "source.faults.kills should be a whole number": lambda d: d["source"]["faults"].update(kills=True),
    "store.faults.seeds should be a list of whole numbers": lambda d: d["store"]["faults"].update(seeds=[1.5]),
    "store.faults.cases should be a list": lambda d: d["store"]["faults"].update(cases="all"),
    "sink.faults.cases should be a list of texts": lambda d: d["sink"]["faults"].update(cases=[1]),
    "sink.options.mode should be a text, a number": lambda d: d["sink"]["options"].update(mode=[]),
    "sink.tested_versions.client should be two texts": lambda d: d["sink"]["tested_versions"].update(client=["2.0"]),
    "commit_path should be an object": lambda d: d.update(commit_path=[]),
    "unknown field sink.signature": lambda d: d["sink"].update(signature="x"),
    "unknown field comment": lambda d: d.update(comment="x"),
    "binds the sink to no code": lambda d: d["sink"].update(digests={}),
    "binds the commit path to no code": lambda d: d.update(commit_path={}),
    "no fault run of the source": lambda d: d["source"]["faults"].update(cases=[]),
    "no fault run of the store": lambda d: d["store"]["faults"].update(kills=0),
    "lived through 4 seeded kills": lambda d: d["combination"].update(kills=MIN_COMBINATION_KILLS - 1),
    "the combination lived through 5": lambda d: d["combination"].update(seeds=[]),
}


@pytest.mark.parametrize("message", WRONG_FIELDS)
def test_wrong_field_is_an_error_that_names_it(message: str) -> None:
    with pytest.raises(CertificateCorrupt) as caught:
        Certificate.from_json(resealed(WRONG_FIELDS[message]), origin="shop.json")
    assert message in caught.value.message


def test_edited_value_is_found_by_the_checksum() -> None:
    with pytest.raises(CertificateCorrupt, match="checksum"):
        Certificate.from_json(TEXT.replace('"kills": 12', '"kills": 99'), origin="shop.json")


@pytest.mark.parametrize("text", ['{"format": 1, "format": 1}', '{"format": NaN}', "[1]", "{" * 100_000, "[" * 100_000])
def test_text_that_is_not_a_plain_json_object_is_a_named_error(text: str) -> None:
    with pytest.raises(CertificateCorrupt):
        Certificate.from_json(text, origin="shop.json")


def test_newer_format_is_refused_before_its_fields_are_read() -> None:
    with pytest.raises(CertificateFutureFormat, match="format 2"):
        Certificate.from_json('{"format": 2, "fields": "of tomorrow"}', origin="shop.json")


def test_certificate_with_too_little_evidence_cannot_be_written() -> None:
    few = replace(CERTIFICATE, combination=FaultRun(cases=("end-to-end",), kills=4, seeds=(1,)))
    with pytest.raises(CertificateCorrupt, match="4 seeded kills"):
        few.to_json()


def test_index_reads_texts_and_names_the_one_that_is_damaged() -> None:
    assert list(CertificateIndex.from_texts({"a.json": TEXT, "b.json": TEXT})) == [CERTIFICATE, CERTIFICATE]
    with pytest.raises(CertificateCorrupt, match=r"b\.json"):
        CertificateIndex.from_texts({"a.json": TEXT, "b.json": TEXT[:100]})
