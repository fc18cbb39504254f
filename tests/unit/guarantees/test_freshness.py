"""Which certificate speaks for a combination, and what makes it stop speaking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from krishiv_guarantees import (
    Certificate,
    CertificateIndex,
    Certification,
    Guarantee,
    Standing,
    VersionRange,
    check_freshness,
)
from tests.unit.guarantees.examples import COMMIT_PATH, SINK, SOURCE, STORE, certificate, resolve_one

if TYPE_CHECKING:
    from krishiv_guarantees import SinkPart, SourcePart, StorePart

FRESH = certificate()


def check(
    given: Certificate = FRESH,
    *,
    source: SourcePart = SOURCE,
    sink: SinkPart = SINK,
    store: StorePart = STORE,
    commit_path: dict[str, str] = COMMIT_PATH,
) -> Certification:
    """Compare a certificate with the example combination."""
    return check_freshness(given, source, sink, store, commit_path)


def test_certificate_is_fresh_when_code_options_and_versions_are_as_tested() -> None:
    assert check() == Certification(standing=Standing.FRESH, certificate=FRESH)


def test_certificate_stays_fresh_when_a_docstring_is_edited() -> None:
    edited = replace(SINK, modules={**SINK.modules, "shop.base": '"""Now with words."""\nclass Base: ...  # a base\n'})
    assert check(sink=edited).standing is Standing.FRESH


def test_certificate_stays_fresh_however_old_it_is_and_whatever_the_version_is_called() -> None:
    old = replace(FRESH, made="1999-01-01T00:00:00Z", suite_version="0")
    assert check(old, sink=replace(SINK, version="99.0")).standing is Standing.FRESH


@pytest.mark.parametrize("role", ["source", "sink", "store"])
def test_certificate_is_stale_when_any_part_is_edited_and_names_the_module(role: str) -> None:
    parts: dict[str, Any] = {"source": SOURCE, "sink": SINK, "store": STORE}
    name = min(parts[role].modules)
    parts[role] = replace(parts[role], modules={**parts[role].modules, name: "x = 1"})
    found = check(**parts)
    assert found.standing is Standing.STALE
    assert found.reasons == (f"module {name} changed since it was tested",)


def test_certificate_is_stale_when_a_base_class_joins_or_leaves() -> None:
    grown = check(sink=replace(SINK, modules={**SINK.modules, "shop.mixin": "x = 1"}))
    assert grown.standing is Standing.STALE
    assert grown.reasons == ("module shop.mixin was not part of what was tested",)
    shrunk = check(sink=replace(SINK, modules={"shop.tables": SINK.modules["shop.tables"]}))
    assert shrunk.reasons == ("the text of module shop.base is not known here",)


def test_stale_certificate_names_some_of_many_changes_and_counts_the_others() -> None:
    grown = {**SINK.modules, **{f"shop.more{number}": "x = 1" for number in range(9)}}
    found = check(sink=replace(SINK, modules=grown))
    assert len(found.reasons) == 4
    assert found.reasons[0] == "module shop.more0 was not part of what was tested"
    assert found.reasons[-1] == "and 6 modules more"


def test_certificate_is_stale_when_the_commit_path_is_edited_or_unknown() -> None:
    edited = check(commit_path={"checkpoint.commit": "def commit(epoch):\n    return epoch + 1\n"})
    assert edited.reasons == ("module checkpoint.commit changed since it was tested",)
    assert check(commit_path={}).standing is Standing.STALE


def test_certificate_is_stale_when_a_text_cannot_be_parsed() -> None:
    found = check(sink=replace(SINK, modules={**SINK.modules, "shop.base": "class ("}))
    assert found.standing is Standing.STALE
    assert "cannot be parsed" in found.reasons[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "upsert"}, 'sink option mode was tested as "append", here it is "upsert"'),
        ({}, 'sink option mode was tested as "append", here it is unset'),
        ({"mode": "append", "fsync": None}, "sink option fsync was tested as unset, here it is null"),
    ],
)
def test_certificate_speaks_of_its_own_options_only(options: dict[str, Any], reason: str) -> None:
    found = check(sink=replace(SINK, options=options))
    assert found.standing is Standing.OTHER_OPTIONS
    assert found.reasons == (reason,)


def test_option_true_is_not_option_one() -> None:
    assert check(source=replace(SOURCE, options={"follow": 1})).standing is Standing.OTHER_OPTIONS


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ({"client": "2.6"}, "client 2.6 is outside the tested versions 2.0 to 2.5"),
        ({"client": "1.9"}, "client 1.9 is outside the tested versions 2.0 to 2.5"),
        ({}, "the version of client in use is not known; tested: 2.0 to 2.5"),
        ({"client": "2.0", "server": "7"}, "server 7 was not tested"),
    ],
)
def test_untested_versions_are_named(versions: dict[str, str], reason: str) -> None:
    found = check(sink=replace(SINK, versions=versions))
    assert found.standing is Standing.OUTSIDE_TESTED_VERSIONS
    assert found.reasons == (reason,)


def test_untested_version_warns_and_strict_refuses_it() -> None:
    newer = replace(SINK, versions={"client": "2.6"})
    lenient = resolve_one(sink=newer, certificates=[FRESH])
    assert lenient.level is Guarantee.EXACTLY_ONCE
    assert lenient.warnings == ("client 2.6 is outside the tested versions 2.0 to 2.5",)
    strict = resolve_one(sink=newer, certificates=[FRESH], strict=True)
    assert strict.level is Guarantee.AT_LEAST_ONCE
    assert "client 2.6" in strict.limiting[0].reason
    assert "strict" in strict.limiting[0].reason


def test_index_finds_the_freshest_of_several_for_one_combination() -> None:
    stale = replace(FRESH, commit_path={"checkpoint.commit": "0" * 64})
    other = replace(FRESH, sink=replace(FRESH.sink, options={}))
    for order in ([stale, other, FRESH], [FRESH, other, stale]):
        assert CertificateIndex(order).find(SOURCE, SINK, STORE, COMMIT_PATH).certificate is FRESH
    assert CertificateIndex([stale, other]).find(SOURCE, SINK, STORE, COMMIT_PATH).certificate is other


@pytest.mark.parametrize("role", ["source", "sink", "store"])
def test_index_finds_nothing_for_a_combination_with_another_class(role: str) -> None:
    parts: dict[str, Any] = {"source": SOURCE, "sink": SINK, "store": STORE}
    parts[role] = replace(parts[role], class_name="shop.other:Other")
    found = CertificateIndex([FRESH]).find(**parts, commit_path=COMMIT_PATH)
    assert found.standing is Standing.MISSING
    assert "Other" in found.reasons[0]


@pytest.mark.parametrize("given", [[], [replace(FRESH, commit_path={"checkpoint.commit": "0" * 64})]])
def test_uncertified_combination_names_the_certify_command_and_why(given: list[Certificate]) -> None:
    report = resolve_one(certificates=given)
    assert report.level is Guarantee.AT_LEAST_ONCE
    (limit,) = report.limiting
    assert limit.reason.startswith("uncertified: ")
    command = (
        "krishiv-stream certify shop.tables:TableSink --source shop.files:LogSource --store shop.stores:FolderStore"
    )
    assert command in limit.remedy


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (("2.0", "2.5"), ["2.0", "2", "2.0.0", "2.3.7", "2.5", "2.5.99", "v2.1", "2.5+local"], ["1.9.9", "2.6", "3"]),
        (("26.0.1", "26.0.1"), ["26.0.1", "26.0.1.0"], ["26.0.0", "26.0.2", "26.0.1rc1", "26"]),
        (("2.10", "2.16"), ["2.10", "2.16.1"], ["2.2", "2.9"]),
        (("1.0rc1", "1.0"), ["1.0rc1", "1.0", "1.0-beta"], ["0.9", "1.1rc1"]),
        (("1.0", "2.0rc1"), ["1.0", "1.9", "2.0rc1"], ["2.0", "2.0.1", "1.0a1"]),
        (("1.0", "2.0"), [], ["", "latest", "x1.0", "1" * 5000]),
    ],
)
def test_version_range_covers_its_bounds_and_what_lies_between(
    span: tuple[str, str], inside: list[str], outside: list[str]
) -> None:
    tested = VersionRange(*span)
    assert [version for version in inside if not tested.covers(version)] == []
    assert [version for version in outside if tested.covers(version)] == []
