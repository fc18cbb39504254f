"""Laws: the minimum is a minimum, and no part that gets better makes a pipeline worse."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from krishiv_guarantees import (
    CertificateIndex,
    FailureDomain,
    Guarantee,
    Hazard,
    HazardSite,
    PipelinePath,
    Profile,
    SinkCapabilities,
    SourceCapabilities,
    StoreCapabilities,
    VersionRange,
    resolve,
    weakest,
)
from tests.unit.guarantees.examples import COMMIT_PATH, SINK, SOURCE, STORE, certificate

if TYPE_CHECKING:
    from krishiv_guarantees import Certificate, GuaranteeReport

LEVELS = st.sampled_from(Guarantee)


@given(LEVELS, LEVELS)
def test_weakest_is_commutative(a: Guarantee, b: Guarantee) -> None:
    assert weakest([a, b]) is weakest([b, a])


@given(LEVELS, LEVELS, LEVELS)
def test_weakest_is_associative(a: Guarantee, b: Guarantee, c: Guarantee) -> None:
    assert weakest([weakest([a, b]), c]) is weakest([a, weakest([b, c])]) is weakest([a, b, c])


@given(LEVELS)
def test_weakest_is_idempotent_with_exactly_once_as_its_unit(a: Guarantee) -> None:
    assert weakest([a, a]) is a
    assert weakest([a, Guarantee.EXACTLY_ONCE]) is a


@given(LEVELS, LEVELS, LEVELS)
def test_weakest_never_falls_when_a_link_rises(a: Guarantee, b: Guarantee, other: Guarantee) -> None:
    low, high = sorted((a, b))
    assert weakest([low, other]) <= weakest([high, other])


def _variants() -> list[Certificate]:
    """A fresh certificate and ones that fall short in each way."""
    fresh = certificate()
    return [
        fresh,
        replace(fresh, commit_path={"checkpoint.commit": "0" * 64}),
        replace(fresh, sink=replace(fresh.sink, options={"mode": "upsert"})),
        replace(fresh, source=replace(fresh.source, tested_versions={"client": VersionRange("9", "9")})),
    ]


VARIANTS = _variants()

# Every dial of a pipeline; a higher number is better.
DIALS: dict[str, int] = {
    **{f"source.{field.name}": 1 for field in fields(SourceCapabilities)},
    **{f"sink.{field.name}": 1 for field in fields(SinkCapabilities)},
    **{f"store.{name}": 1 for name in ("exists", "durable", "conditional_create", "fencing")},
    "store.survives": max(FailureDomain),
    "profile": len(Profile) - 1,
    **{f"certificate.{number}": 1 for number in range(len(VARIANTS))},
    **{f"absent.{hazard.name}": 1 for hazard in Hazard if hazard is not Hazard.UNORDERED_REPLAY},
    "allow_uncertified": 1,
    "lenient": 1,
}
# Two sinks, so that a dial turns one path of a pipeline while the other stays.
PIPELINES = st.fixed_dictionaries({dial: st.integers(0, top) for dial, top in DIALS.items()})


def _capabilities(kind: type[Any], dials: dict[str, int], prefix: str) -> dict[str, Any]:
    return {field.name: bool(dials[f"{prefix}.{field.name}"]) for field in fields(kind)}


def _resolve(dials: dict[str, int]) -> GuaranteeReport:
    source = replace(SOURCE, capabilities=SourceCapabilities(**_capabilities(SourceCapabilities, dials, "source")))
    sink_can = _capabilities(SinkCapabilities, dials, "sink")
    sink_can["idempotent_by"] = ("id",) if sink_can["idempotent_by"] else ()
    sink = replace(SINK, capabilities=SinkCapabilities(**sink_can))
    store = StoreCapabilities(
        durable=bool(dials["store.durable"]),
        conditional_create=bool(dials["store.conditional_create"]),
        fencing=bool(dials["store.fencing"]),
        survives=FailureDomain(dials["store.survives"]),
    )
    hazards = tuple(HazardSite(h, "op") for h in Hazard if dials.get(f"absent.{h.name}") == 0)
    return resolve(
        sources=[source],
        sinks=[sink, replace(sink, name="audit", capabilities=SINK.capabilities)],
        paths=[
            PipelinePath(source=source.name, sink=sink.name, hazards=hazards),
            PipelinePath(source=source.name, sink="audit"),
        ],
        store=replace(STORE, capabilities=store) if dials["store.exists"] else None,
        profile=list(Profile)[dials["profile"]],
        certificates=CertificateIndex(c for number, c in enumerate(VARIANTS) if dials[f"certificate.{number}"]),
        commit_path=COMMIT_PATH,
        allow_uncertified=bool(dials["allow_uncertified"]),
        strict=not dials["lenient"],
    )


@given(PIPELINES, st.sampled_from(sorted(DIALS)))
def test_raising_one_part_never_lowers_a_pipeline(dials: dict[str, int], dial: str) -> None:
    before = _resolve(dials)
    for higher in range(dials[dial] + 1, DIALS[dial] + 1):
        after = _resolve({**dials, dial: higher})
        assert after.level >= before.level
        assert after.domain >= before.domain


@given(PIPELINES, PIPELINES)
def test_a_pipeline_better_in_every_part_is_no_worse(some: dict[str, int], others: dict[str, int]) -> None:
    better = {dial: max(some[dial], others[dial]) for dial in DIALS}
    assert _resolve(better).level >= max(_resolve(some).level, _resolve(others).level)


@given(PIPELINES)
def test_a_pipeline_is_as_strong_as_its_weakest_path_and_a_path_as_its_weakest_part(dials: dict[str, int]) -> None:
    report = _resolve(dials)
    assert report.level == min(path.level for path in report.paths)
    for path in report.paths:
        assert path.level == min(part.level for part in path.parts)


@given(PIPELINES)
def test_exactly_once_without_a_certificate_is_always_shown_as_uncertified(dials: dict[str, int]) -> None:
    bare = {dial: 0 if dial.startswith("certificate.") else value for dial, value in dials.items()}
    report = _resolve(bare)
    assert report.uncertified is (report.level is Guarantee.EXACTLY_ONCE)
    assert ("UNCERTIFIED" in report.summary) is report.uncertified
