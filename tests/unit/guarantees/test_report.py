"""Reports: what they say of several paths, as text and as values, and what `require` refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from krishiv_guarantees import (
    CertificateIndex,
    ConfigurationError,
    Guarantee,
    GuaranteeError,
    PipelinePath,
    Profile,
    Role,
    SinkCapabilities,
    require,
    resolve,
)
from tests.unit.guarantees.examples import COMMIT_PATH, KEYED, SINK, SOURCE, STORE, certificate, resolve_one

if TYPE_CHECKING:
    from krishiv_guarantees import SinkPart, SourcePart

FRESH = certificate()
PLAIN = replace(SINK, name="late", class_name="shop.plain:PlainSink", capabilities=SinkCapabilities(durable_flush=True))
CLICKS = replace(
    SOURCE, name="clicks", capabilities=replace(SOURCE.capabilities, replayable=False), class_name="shop.net:Socket"
)


TWO_PATHS = [PipelinePath(source="bids", sink="totals"), PipelinePath(source="bids", sink="late")]


def test_report_takes_the_weakest_path_and_names_its_weakest_part() -> None:
    report = resolve(
        sources=[SOURCE],
        sinks=[SINK, PLAIN],
        paths=TWO_PATHS,
        store=STORE,
        profile=Profile.SINGLE_NODE_DURABLE,
        certificates=CertificateIndex([FRESH]),
        commit_path=COMMIT_PATH,
    )
    assert [path.level for path in report.paths] == [Guarantee.EXACTLY_ONCE, Guarantee.AT_LEAST_ONCE]
    assert report.level is Guarantee.AT_LEAST_ONCE
    assert [(part.role, part.name) for part in report.limiting] == [(Role.SINK, "late")]
    assert report.remedies[0].startswith("sink 'late': ")
    assert "2 sinks" in report.notes[0]
    assert "not atomic together" in report.notes[0]


def test_diagnostic_sink_is_reported_and_not_required() -> None:
    report = resolve(
        sources=[SOURCE],
        sinks=[SINK, replace(PLAIN, diagnostic=True)],
        paths=TWO_PATHS,
        store=STORE,
        profile=Profile.SINGLE_NODE_DURABLE,
        certificates=CertificateIndex([FRESH]),
        commit_path=COMMIT_PATH,
    )
    assert report.paths[1].level is Guarantee.AT_LEAST_ONCE
    assert report.level is Guarantee.EXACTLY_ONCE
    assert report.notes == ()
    require(report, "exactly_once")
    assert "bids -> late: at_least_once (diagnostic)" in str(report)


def test_pipeline_of_diagnostic_sinks_alone_promises_no_more_than_they_hold() -> None:
    report = resolve_one(sink=replace(PLAIN, diagnostic=True))
    assert report.level is Guarantee.AT_LEAST_ONCE
    with pytest.raises(GuaranteeError):
        require(report, "exactly_once")


def test_each_source_of_a_sink_needs_its_own_certificate() -> None:
    other = replace(SOURCE, name="clicks", class_name="shop.clicks:ClickSource")
    report = resolve(
        sources=[SOURCE, other],
        sinks=[SINK],
        paths=[PipelinePath(source=name, sink="totals") for name in ("bids", "clicks")],
        store=STORE,
        profile=Profile.SINGLE_NODE_DURABLE,
        certificates=CertificateIndex([FRESH]),
        commit_path=COMMIT_PATH,
    )
    assert [path.level for path in report.paths] == [Guarantee.EXACTLY_ONCE, Guarantee.AT_LEAST_ONCE]
    assert "shop.clicks:ClickSource" in report.remedies[0]


def test_several_weakest_parts_are_all_limiting_with_a_remedy_each() -> None:
    report = resolve_one(source=CLICKS, store=None, profile=Profile.DEV_LOCAL)
    assert [part.role for part in report.limiting] == [Role.SOURCE, Role.STORE, Role.PROFILE]
    assert len(report.remedies) == 3


def test_limiting_part_of_two_paths_is_named_once() -> None:
    report = resolve(sources=[SOURCE], sinks=[SINK, PLAIN], paths=TWO_PATHS, store=STORE, profile=Profile.DEV_LOCAL)
    assert [part.role for part in report.limiting] == [Role.PROFILE]
    assert "single-node-durable" in report.remedies[0]


def test_certificate_is_reported_even_where_the_profile_is_weaker() -> None:
    path = resolve_one(profile=Profile.DEV_LOCAL).paths[0]
    assert path.parts[-1].role is Role.CERTIFICATE
    assert path.parts[-1].level is Guarantee.AT_LEAST_ONCE
    assert path.level is Guarantee.BEST_EFFORT


def test_no_certificate_is_asked_for_where_capabilities_do_not_reach_exactly_once() -> None:
    path = resolve_one(sink=KEYED).paths[0]
    assert path.certification is None
    assert [part.role for part in path.parts] == [Role.SOURCE, Role.SINK, Role.STORE, Role.PROFILE]


def test_certified_path_shows_its_certificate() -> None:
    part = resolve_one(certificates=[FRESH]).paths[0].parts[-1]
    assert FRESH.id in part.reason
    assert "41 kills survived, 5 of them by this combination" in part.reason


def test_allow_uncertified_is_shown_wherever_the_report_is() -> None:
    report = resolve_one(allow_uncertified=True)
    assert report.level is Guarantee.EXACTLY_ONCE
    assert report.uncertified
    assert report.summary.endswith("[UNCERTIFIED: allow_uncertified=True]")
    assert "guarantee: exactly_once (uncertified)" in str(report)
    assert "granted by allow_uncertified=True: there is no certificate" in str(report)
    assert report.to_dict()["paths"][0]["uncertified"] is True


def test_allow_uncertified_is_shown_even_where_it_was_not_needed() -> None:
    report = resolve_one(certificates=[FRESH], allow_uncertified=True)
    assert not report.uncertified
    assert report.summary.endswith("[allow_uncertified=True]")
    assert "allow_uncertified: True" in str(report)


def test_allow_uncertified_is_no_grant_where_something_else_is_weaker() -> None:
    report = resolve_one(profile=Profile.DEV_LOCAL, allow_uncertified=True)
    assert report.level is Guarantee.BEST_EFFORT
    assert not report.uncertified
    assert "allow_uncertified" in report.summary


def test_require_passes_at_the_level_and_below() -> None:
    report = resolve_one(sink=KEYED)
    require(report, Guarantee.EFFECTIVELY_ONCE)
    require(report, "at_least_once")


def test_require_refuses_above_the_level_with_the_report() -> None:
    report = resolve_one(sink=KEYED)
    with pytest.raises(GuaranteeError) as caught:
        require(report, "exactly_once")
    error = caught.value
    assert error.report is report
    assert error.fields == {"level": "effectively_once", "required": "exactly_once"}
    assert "sink 'totals': idempotent by auction" in error.message
    assert "use a two-phase sink" in error.hint


def test_require_of_an_unknown_level_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match="unknown guarantee 'twice'") as caught:
        require(resolve_one(), "twice")
    assert all(level.label in caught.value.hint for level in Guarantee)


def test_report_values_are_json_and_agree_with_the_report() -> None:
    report = resolve_one(sink=KEYED, store=None)
    values = json.loads(json.dumps(report.to_dict()))
    assert values == report.to_dict()
    assert values["level"] == "best_effort"
    assert values["summary"] == report.summary
    assert values["profile"] == "single-node-durable"
    assert values["domain"]["name"] == "task"
    assert [part["role"] for part in values["paths"][0]["parts"] if part["limiting"]] == ["checkpoints"]
    assert values["remedies"] == list(report.remedies)


def test_report_text_shows_every_part_and_marks_the_weakest() -> None:
    text = str(resolve_one(sink=KEYED))
    assert "guarantee: effectively_once\nholds through: process crash and host restart" in text
    lines = [line for line in text.splitlines() if line.startswith("  ! ")]
    assert len(lines) == 1
    assert "totals (TableSink)" in lines[0]
    for shown in (
        "bids (LogSource)",
        "FolderStore (FolderStore)",
        "single-node-durable",
        "limited by:",
        "to raise it:",
    ):
        assert shown in text


def test_notes_say_what_the_level_leaves_out() -> None:
    torn = replace(SINK, capabilities=replace(SINK.capabilities, atomic_epochs=False), duplicate_overlap=True)
    report = resolve(
        sources=[SOURCE],
        sinks=[torn],
        paths=[PipelinePath(source="bids", sink="totals", user_functions=True)],
        store=STORE,
        profile=Profile.SINGLE_NODE_DURABLE,
    )
    text = str(report)
    assert "may see part of an epoch" in text
    assert "for that overlap the level is at_least_once" in text
    assert "side effects of Python functions in the pipeline are outside every guarantee" in text


@pytest.mark.parametrize(
    ("sources", "sinks", "paths", "message"),
    [
        ([SOURCE], [SINK], [], "at least one path"),
        ([SOURCE], [PLAIN], [PipelinePath(source="bids", sink="totals")], "'totals'; known are"),
        ([SOURCE], [SINK], [PipelinePath(source="clicks", sink="totals")], "'clicks'; known are"),
        ([SOURCE, SOURCE], [SINK], [PipelinePath(source="bids", sink="totals")], "share a name"),
    ],
)
def test_resolve_refuses_parts_and_paths_that_do_not_fit(
    sources: list[SourcePart], sinks: list[SinkPart], paths: list[PipelinePath], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(sources=sources, sinks=sinks, paths=paths, store=STORE, profile=Profile.DEV_LOCAL)
