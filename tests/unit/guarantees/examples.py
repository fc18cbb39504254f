"""Parts, certificates and one-path pipelines to resolve."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from krishiv_guarantees import (
    Certificate,
    CertificateIndex,
    CertifiedPart,
    FailureDomain,
    FaultRun,
    PipelinePath,
    Profile,
    SinkCapabilities,
    SinkPart,
    SourceCapabilities,
    SourcePart,
    StoreCapabilities,
    StorePart,
    VersionRange,
    resolve,
    syntax_digests,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_guarantees import GuaranteeReport, HazardSite, Part

COMMIT_PATH = {"checkpoint.commit": "def commit(epoch):\n    return epoch\n"}
TESTED = {"client": VersionRange("2.0", "2.5")}
RUN = FaultRun(cases=("before-prepare", "after-manifest"), kills=12, seeds=(1, 2), against=("ref:Sink",))

SOURCE = SourcePart(
    name="bids",
    class_name="shop.files:LogSource",
    version="1.0",
    capabilities=SourceCapabilities(bounded=False, replayable=True, exact_positions=True, ordered_replay=True),
    options={"follow": True},
    modules={"shop.files": "class LogSource:\n    pass\n"},
    versions={"client": "2.3"},
)
SINK = SinkPart(
    name="totals",
    class_name="shop.tables:TableSink",
    version="1.0",
    capabilities=SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True),
    options={"mode": "append"},
    modules={"shop.tables": "class TableSink:\n    pass\n", "shop.base": "class Base: ...\n"},
    versions={"client": "2.3"},
)
STORE = StorePart(
    name="FolderStore",
    class_name="shop.stores:FolderStore",
    version="1.0",
    capabilities=StoreCapabilities(
        durable=True, conditional_create=True, fencing=True, survives=FailureDomain.HOST_RESTART
    ),
    modules={"shop.stores": "class FolderStore:\n    pass\n"},
)
KEYED = replace(SINK, capabilities=SinkCapabilities(durable_flush=True, idempotent_by=("auction",)))


def certified(part: Part) -> CertifiedPart:
    """`part` as tested just now."""
    tested = TESTED if part.versions else {}
    return CertifiedPart.of(part, faults=RUN, tested_versions=tested)


def certificate(source: SourcePart = SOURCE, sink: SinkPart = SINK, store: StorePart = STORE) -> Certificate:
    """A fresh certificate for the three."""
    return Certificate(
        suite_version="1",
        made="2026-11-23T12:00:00Z",
        environment={"python": "3.11.7"},
        source=certified(source),
        sink=certified(sink),
        store=certified(store),
        commit_path=syntax_digests(COMMIT_PATH),
        combination=FaultRun(cases=("end-to-end",), kills=5, seeds=(7,)),
    )


def resolve_one(
    source: SourcePart = SOURCE,
    sink: SinkPart = SINK,
    store: StorePart | None = STORE,
    profile: Profile = Profile.SINGLE_NODE_DURABLE,
    *,
    certificates: Sequence[Certificate] = (),
    hazards: tuple[HazardSite, ...] = (),
    allow_uncertified: bool = False,
    strict: bool = False,
) -> GuaranteeReport:
    """Resolve a pipeline of one source and one sink."""
    return resolve(
        sources=[source],
        sinks=[sink],
        paths=[PipelinePath(source=source.name, sink=sink.name, hazards=hazards)],
        store=store,
        profile=profile,
        certificates=CertificateIndex(certificates),
        commit_path=COMMIT_PATH,
        allow_uncertified=allow_uncertified,
        strict=strict,
    )
