"""Every combination of capabilities, profile, store and certificate, against decision tables written out by hand.

The tables below are the specification, read as text: the first line that fits decides, ``-`` fits anything.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from krishiv_guarantees import (
    CertificateIndex,
    FailureDomain,
    Hazard,
    HazardSite,
    PipelinePath,
    Profile,
    SinkCapabilities,
    SourceCapabilities,
    StoreCapabilities,
    VersionRange,
    resolve,
)
from tests.unit.guarantees.examples import COMMIT_PATH, SINK, SOURCE, STORE, certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_guarantees import Certificate

ORDER = ["best_effort", "at_least_once", "effectively_once", "exactly_once"]

SOURCE_TABLE = """
    replayable exact  -> level
    no         -      -> best_effort
    yes        no     -> at_least_once
    yes        yes    -> exactly_once
"""

# the two answers: with the two-phase commit counted (a certificate speaks for it), and without
SINK_TABLE = """
    durable keyed two_phase recovers same_keys -> counted       uncounted
    no      -     -         -        -         -> best_effort   best_effort
    yes     yes   yes       yes      yes       -> exactly_once  effectively_once
    yes     -     yes       yes      -         -> exactly_once  at_least_once
    yes     yes   -         -        yes       -> effectively_once  effectively_once
    yes     -     -         -        -         -> at_least_once at_least_once
"""

STORE_TABLE = """
    exists durable create fencing -> level
    no     -       -      -       -> best_effort
    yes    no      -      -       -> best_effort
    yes    yes     no     -       -> at_least_once
    yes    yes     -      no      -> at_least_once
    yes    yes     yes    yes     -> exactly_once
"""

PROFILE_TABLE = """
    profile             -> level
    dev-local           -> best_effort
    single-node-durable -> exactly_once
    distributed-durable -> exactly_once
"""

CERTIFICATE_TABLE = """
    certificate      strict allowed -> counts
    -                -      yes     -> yes
    fresh            -      no      -> yes
    untested-version no     no      -> yes
    untested-version yes    no      -> no
    none             -      no      -> no
    stale            -      no      -> no
    other-options    -      no      -> no
"""


def table(text: str) -> list[tuple[list[str], list[str]]]:
    rows = [line.split("->") for line in text.strip().splitlines()[1:]]
    return [(when.split(), then.split()) for when, then in rows]


def look_up(rows: list[tuple[list[str], list[str]]], *facts: str) -> list[str]:
    for when, then in rows:
        if all(cell in ("-", fact) for cell, fact in zip(when, facts, strict=True)):
            return then
    raise AssertionError(f"the table has no row for {facts}")


SOURCES, SINKS, STORES = table(SOURCE_TABLE), table(SINK_TABLE), table(STORE_TABLE)
PROFILES, CERTIFICATES = table(PROFILE_TABLE), table(CERTIFICATE_TABLE)


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


def certificates() -> dict[str, list[Certificate]]:
    fresh = certificate()
    edited = replace(SINK, modules={**SINK.modules, "shop.base": "class Base:\n    x = 1\n"})
    newer = replace(fresh, source=replace(fresh.source, tested_versions={"client": VersionRange("2.4", "2.5")}))
    return {
        "none": [],
        "fresh": [fresh],
        "stale": [certificate(sink=edited)],
        "other-options": [certificate(source=replace(SOURCE, options={"follow": False}))],
        "untested-version": [newer],
    }


def source_capabilities() -> Iterator[SourceCapabilities]:
    for replayable, exact, ordered in product((False, True), repeat=3):
        yield SourceCapabilities(
            bounded=False, replayable=replayable, exact_positions=exact, ordered_replay=ordered, discovers_splits=False
        )


def sink_capabilities() -> Iterator[SinkCapabilities]:
    for durable, keys, two_phase, recovers in product((False, True), ((), ("id",)), (False, True), (False, True)):
        yield SinkCapabilities(
            durable_flush=durable, idempotent_by=keys, two_phase=two_phase, recovers_prepared=recovers
        )


def store_capabilities() -> Iterator[StoreCapabilities | None]:
    yield None
    for durable, create, fencing in product((False, True), repeat=3):
        yield StoreCapabilities(
            durable=durable, conditional_create=create, fencing=fencing, survives=FailureDomain.HOST_RESTART
        )


def expected(
    source: SourceCapabilities,
    sink: SinkCapabilities,
    store: StoreCapabilities | None,
    profile: Profile,
    counts: str,
    hazard: bool,
) -> str:
    same_keys = yes(source.ordered_replay and not hazard)
    counted, uncounted = look_up(
        SINKS,
        yes(sink.durable_flush),
        yes(bool(sink.idempotent_by)),
        yes(sink.two_phase),
        yes(sink.recovers_prepared),
        same_keys,
    )
    links = [
        *look_up(SOURCES, yes(source.replayable), yes(source.exact_positions)),
        counted if counts == "yes" else uncounted,
        *(
            look_up(STORES, "yes", yes(store.durable), yes(store.conditional_create), yes(store.fencing))
            if store
            else look_up(STORES, "no", "-", "-", "-")
        ),
        *look_up(PROFILES, profile.value),
    ]
    return min(links, key=ORDER.index)


@pytest.mark.parametrize("hazard", [False, True], ids=["no-hazard", "hazard"])
@pytest.mark.parametrize("allowed", [False, True], ids=["", "allow-uncertified"])
@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
@pytest.mark.parametrize("kind", list(certificates()))
def test_resolver_agrees_with_the_tables_for_every_combination(
    kind: str, strict: bool, allowed: bool, hazard: bool
) -> None:
    index = CertificateIndex(certificates()[kind])
    sites = (HazardSite(Hazard.LOOKUP_JOIN, "join"),) if hazard else ()
    path = PipelinePath(source=SOURCE.name, sink=SINK.name, hazards=sites)
    counts = look_up(CERTIFICATES, kind, yes(strict), yes(allowed))[0]
    checked = 0
    for source, sink, store, profile in product(
        source_capabilities(), sink_capabilities(), store_capabilities(), Profile
    ):
        report = resolve(
            sources=[replace(SOURCE, capabilities=source)],
            sinks=[replace(SINK, capabilities=sink)],
            paths=[path],
            store=replace(STORE, capabilities=store) if store else None,
            profile=profile,
            certificates=index,
            commit_path=COMMIT_PATH,
            allow_uncertified=allowed,
            strict=strict,
        )
        wanted = expected(source, sink, store, profile, counts, hazard)
        assert report.level.label == wanted, (source, sink, store, profile)
        assert bool(report.limiting) is (wanted != "exactly_once")
        assert all(part.remedy and part.reason for part in report.limiting)
        checked += 1
    assert checked == 8 * 16 * 9 * 3


def test_capabilities_off_the_ladders_never_change_the_level() -> None:
    index = CertificateIndex([certificate()])
    path = PipelinePath(source=SOURCE.name, sink=SINK.name)
    for source, sink in product(source_capabilities(), sink_capabilities()):
        levels = {
            resolve(
                sources=[replace(SOURCE, capabilities=replace(source, bounded=bounded, discovers_splits=discovers))],
                sinks=[replace(SINK, capabilities=replace(sink, atomic_epochs=atomic))],
                paths=[path],
                store=replace(STORE, capabilities=replace(STORE.capabilities, survives=survives)),
                profile=Profile.DISTRIBUTED_DURABLE,
                certificates=index,
                commit_path=COMMIT_PATH,
            ).level
            for bounded, discovers, atomic in product((False, True), repeat=3)
            for survives in FailureDomain
        }
        assert len(levels) == 1


DOMAIN_TABLE = """
    profile             store        -> domain
    -                   none         -> task
    dev-local           -            -> task
    -                   task         -> task
    -                   process      -> process
    -                   host_restart -> host_restart
    single-node-durable host_loss    -> host_restart
    distributed-durable host_loss    -> host_loss
"""


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("profile", list(Profile))
def test_failure_domain_agrees_with_its_table_for_every_store(profile: Profile, durable: bool) -> None:
    rows = table(DOMAIN_TABLE)
    for survives in FailureDomain:
        can = replace(STORE.capabilities, durable=durable, survives=survives)
        report = resolve(
            sources=[SOURCE],
            sinks=[SINK],
            paths=[PipelinePath(source=SOURCE.name, sink=SINK.name)],
            store=replace(STORE, capabilities=can),
            profile=profile,
        )
        assert report.domain.label == look_up(rows, profile.value, survives.label if durable else "none")[0]
