"""What the resolver is told of a pipeline: its parts with their module texts, its paths with what is on the way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import commit_path_texts
from krishiv_connectors import module_texts
from krishiv_guarantees import (
    CertificateIndex,
    Hazard,
    HazardSite,
    PipelinePath,
    SinkPart,
    SourcePart,
    StorePart,
    resolve,
)
from krishiv_stream._expressions.analysis import is_volatile
from krishiv_stream._plan.nodes import (
    FilterNode,
    MapBatchesNode,
    MapRowsNode,
    ProjectNode,
    SinkNode,
    SourceNode,
    WindowNode,
)
from krishiv_stream._plan.watermarks import ProcessingTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_guarantees import GuaranteeReport
    from krishiv_stream._plan.nodes import Node
    from krishiv_stream._settings import Settings

__all__ = ["guarantee_of", "installed_certificates", "part_identity"]

CERTIFICATES = "krishiv_stream.certificates"
"""Entry-point group: each entry is a callable that returns certificate texts by name."""


def guarantee_of(
    nodes: Sequence[Node],
    ids: Mapping[Node, str],
    settings: Settings,
    store: CheckpointStore,
    *,
    duplicate_overlap: bool = False,
) -> GuaranteeReport:
    """Resolve what a plan guarantees under `settings`, with its checkpoints in `store`."""
    sources = [node for node in nodes if isinstance(node, SourceNode)]
    sinks = [node for node in nodes if isinstance(node, SinkNode)]
    return resolve(
        sources=[_source_part(ids[node], node) for node in sources],
        sinks=[_sink_part(ids[node], node, duplicate_overlap=duplicate_overlap) for node in sinks],
        paths=[path for sink in sinks for path in _paths(sink, ids)],
        store=_store_part(store),
        profile=settings.profile,
        certificates=installed_certificates(),
        commit_path=commit_path_texts(),
        allow_uncertified=settings.allow_uncertified,
        strict=settings.strict,
    )


@cache
def installed_certificates() -> CertificateIndex:
    """Return every certificate that an installed package brings."""
    texts: dict[str, str] = {}
    for entry in entry_points(group=CERTIFICATES):
        texts.update(entry.load()())
    return CertificateIndex.from_texts(texts)


def _source_part(name: str, node: SourceNode) -> SourcePart:
    return SourcePart(
        name=name,
        capabilities=node.source.capabilities(),
        options=node.source.guarantee_config(),
        **part_identity(type(node.source)),
    )


def _sink_part(name: str, node: SinkNode, *, duplicate_overlap: bool) -> SinkPart:
    return SinkPart(
        name=name,
        capabilities=node.sink.capabilities(),
        options=node.sink.guarantee_config(),
        diagnostic=node.diagnostic or node.sink.diagnostic,
        duplicate_overlap=duplicate_overlap,
        **part_identity(type(node.sink)),
    )


def _store_part(store: CheckpointStore) -> StorePart:
    kind = type(store)
    return StorePart(name=kind.__name__, capabilities=store.capabilities(), **part_identity(kind))


def part_identity(kind: type) -> dict[str, Any]:
    """Return class name, version and module texts of `kind`, as the certificates are bound to them."""
    return {
        "class_name": f"{kind.__module__}:{kind.__qualname__}",
        "version": _version_of(kind.__module__),
        "modules": module_texts(kind),
        "versions": {name: _version(name) for name in getattr(kind, "client_libraries", ())},
    }


_OURS = frozenset(
    ("krishiv_guarantees", "krishiv_checkpoint", "krishiv_connectors", "krishiv_stream", "krishiv_conformance")
)
"""The packages of this distribution."""


@cache
def _version_of(module: str) -> str:
    package = module.partition(".")[0]
    if package in _OURS and (ours := _version("krishiv-stream")):
        return ours  # found at once: to look through all that is installed takes most of a second
    distributions = packages_distributions().get(package, [])
    return _version(distributions[0]) if distributions else ""


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _paths(sink: SinkNode, ids: Mapping[Node, str]) -> Iterator[PipelinePath]:
    for way in _ways(sink):
        yield PipelinePath(
            source=ids[way[0]],
            sink=ids[sink],
            hazards=tuple(_hazards(way, ids)),
            user_functions=any(isinstance(node, MapBatchesNode | MapRowsNode) for node in way),
        )


def _ways(node: Node) -> Iterator[tuple[Node, ...]]:
    """Yield every way from a source to `node`, source first."""
    if not node.inputs:
        yield (node,)
    for upstream in node.inputs:
        for way in _ways(upstream):
            yield (*way, node)


def _hazards(way: Sequence[Node], ids: Mapping[Node, str]) -> Iterator[HazardSite]:
    windows = [node for node in way if isinstance(node, WindowNode)]
    source = way[0]
    strategy = source.watermark if isinstance(source, SourceNode) else None
    if windows and strategy is not None:
        where = f"source {ids[source]}"
        if isinstance(strategy, ProcessingTime):
            yield HazardSite(Hazard.PROCESSING_TIME_WINDOW, where)
        else:
            yield HazardSite(Hazard.LATE_DROPS, where)
        if strategy.idle_timeout is not None:
            yield HazardSite(Hazard.IDLE_TIMEOUT, where)
    for node in way:
        if _undeclared(node):
            place = f"{type(node).__name__.removesuffix('Node')} at {node.location or 'an unknown line'}"
            yield HazardSite(Hazard.NONDETERMINISTIC_FUNCTION, place)


def _undeclared(node: Node) -> bool:
    match node:
        case MapBatchesNode() | MapRowsNode():
            return not node.deterministic
        case FilterNode():
            return is_volatile(node.predicate)
        case ProjectNode():
            return any(is_volatile(expression) for _, expression in node.columns)
        case WindowNode():
            arguments = [aggregate.argument for _, aggregate in node.aggregates]
            conditions = [aggregate.where for _, aggregate in node.aggregates]
            keys = [expression for _, expression in node.keys]
            return any(is_volatile(e) for e in (*arguments, *conditions, *keys) if e is not None)
        case _:
            return False
