"""Each row of the hazard table lowers writing by key, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from krishiv_guarantees import Guarantee, Hazard, HazardSite, SinkCapabilities
from tests.unit.guarantees.examples import KEYED, SINK, SOURCE, certificate, resolve_one

# The fine print, row by row: the hazard, and a word that its reason must hold.
ROWS = [
    (Hazard.UNORDERED_REPLAY, "another order"),
    (Hazard.IDLE_TIMEOUT, "idle_timeout"),
    (Hazard.LATE_DROPS, "too late"),
    (Hazard.SESSION_OVER_SPLITS, "session"),
    (Hazard.FIRST_LAST_TIES, "equal time"),
    (Hazard.DEDUPLICATION_TIES, "equal rows"),
    (Hazard.LOOKUP_JOIN, "looked-up"),
    (Hazard.PROCESSING_TIME_WINDOW, "windows"),
    (Hazard.PROCESSING_TIME_TIMER, "timer"),
    (Hazard.PROCESSING_TIME_TTL, "expires"),
    (Hazard.EMIT_EVERY, "clock"),
    (Hazard.NONDETERMINISTIC_FUNCTION, "other values"),
]
EACH_ROW = pytest.mark.parametrize(("hazard", "word"), ROWS, ids=[hazard.name.lower() for hazard, _ in ROWS])


def test_the_rows_tested_are_all_there_are() -> None:
    assert [hazard for hazard, _ in ROWS] == list(Hazard)


@EACH_ROW
def test_hazard_lowers_a_keyed_sink_to_at_least_once(hazard: Hazard, word: str) -> None:
    report = resolve_one(sink=KEYED, hazards=(HazardSite(hazard, "step 3"),))
    assert report.level is Guarantee.AT_LEAST_ONCE
    (limit,) = report.limiting
    assert limit.name == KEYED.name
    assert word in limit.reason
    assert hazard.label in limit.reason
    assert "step 3" in limit.reason
    assert hazard.remedy in limit.remedy


@EACH_ROW
def test_hazard_leaves_a_certified_two_phase_sink_alone(hazard: Hazard, word: str) -> None:
    report = resolve_one(certificates=[certificate()], hazards=(HazardSite(hazard, word),))
    assert report.level is Guarantee.EXACTLY_ONCE


@EACH_ROW
def test_hazard_takes_the_fallback_of_an_uncertified_keyed_two_phase_sink(hazard: Hazard, word: str) -> None:
    both = replace(SINK, capabilities=replace(SINK.capabilities, idempotent_by=("id",)))
    assert resolve_one(sink=both).level is Guarantee.EFFECTIVELY_ONCE
    report = resolve_one(sink=both, hazards=(HazardSite(hazard, "step 3"),))
    assert report.level is Guarantee.AT_LEAST_ONCE
    assert word in report.limiting[0].reason


@EACH_ROW
def test_hazard_leaves_a_sink_without_keys_alone(hazard: Hazard, word: str) -> None:
    plain = replace(SINK, capabilities=SinkCapabilities(durable_flush=True))
    report = resolve_one(sink=plain, hazards=(HazardSite(hazard, "step 3"),))
    assert report.level is Guarantee.AT_LEAST_ONCE
    assert word not in report.limiting[0].reason


def test_source_without_ordered_replay_is_a_hazard_by_itself() -> None:
    shuffled = replace(SOURCE, capabilities=replace(SOURCE.capabilities, ordered_replay=False))
    report = resolve_one(source=shuffled, sink=KEYED)
    assert report.level is Guarantee.AT_LEAST_ONCE
    assert Hazard.UNORDERED_REPLAY.reason in report.limiting[0].reason
    assert "source bids" in report.limiting[0].reason


def test_several_hazards_are_all_named_and_each_remedy_once() -> None:
    sites = (
        HazardSite(Hazard.LOOKUP_JOIN, "rates"),
        HazardSite(Hazard.LOOKUP_JOIN, "names"),
        HazardSite(Hazard.EMIT_EVERY, "totals"),
    )
    (limit,) = resolve_one(sink=KEYED, hazards=sites).limiting
    assert all(site.where in limit.reason for site in sites)
    assert limit.remedy.count(Hazard.LOOKUP_JOIN.remedy) == 1
    assert Hazard.EMIT_EVERY.remedy in limit.remedy
