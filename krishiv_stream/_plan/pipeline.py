"""A pipeline: one or more written streams, ready to be run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from krishiv_stream._errors import DuplicateName, InvalidArgument
from krishiv_stream._plan.arguments import require_name
from krishiv_stream._plan.dead_letters import with_dead_letters
from krishiv_stream._plan.drawing import draw
from krishiv_stream._plan.nodes import Node, SinkNode, SourceNode
from krishiv_stream._plan.pruning import prune
from krishiv_stream._plan.traversal import topological

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pipeline"]


class Pipeline:
    """One or more written streams. Immutable; made by `Stream.write` and `Pipeline.of`.

    What it shows (`sinks`, `nodes`) is what runs: columns that nothing uses are gone, dead letters have their sinks.

    Parameters
    ----------
    sinks : iterable of SinkNode
        Where it ends.
    name : str, optional
        Name of the pipeline, which jobs are called by unless `run` is told otherwise.

    Raises
    ------
    DuplicateName
        If two sources, sinks or operators have one name.
    """

    def __init__(self, sinks: Iterable[SinkNode], *, name: str | None = None) -> None:
        require_name(name)
        self._given_name = name
        self._written = tuple(dict.fromkeys(sinks))
        if not self._written:
            raise InvalidArgument("a pipeline without a sink does nothing", hint="stream.write(sink) makes one")
        self._sinks = with_dead_letters(self._written)
        _require_distinct_names(topological(self._sinks))

    @classmethod
    def of(cls, *pipelines: Pipeline, name: str | None = None) -> Pipeline:
        """Join pipelines; streams that they share are read and computed once.

        Parameters
        ----------
        name : str, optional
            Name of the whole.

        Raises
        ------
        DuplicateName
        """
        return cls([sink for pipeline in pipelines for sink in pipeline._written], name=name)

    @property
    def name(self) -> str:
        """Its name: the one given, else the names of its sinks, else ``"pipeline"``."""
        names = [sink.name for sink in self.sinks if sink.name is not None]
        return self._given_name or "-".join(names)[:100] or "pipeline"

    @cached_property
    def sinks(self) -> tuple[SinkNode, ...]:
        """Where it ends, in the order of writing."""
        return tuple(prune(self._sinks))

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, inputs before what they feed."""
        return topological(self.sinks)

    @property
    def sources(self) -> tuple[SourceNode, ...]:
        """Where it begins."""
        return tuple(node for node in self.nodes if isinstance(node, SourceNode))

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, {len(self.sources)} sources, {len(self.sinks)} sinks)"

    def _repr_html_(self) -> str:
        return draw(self.nodes)


def _require_distinct_names(nodes: Iterable[Node]) -> None:
    named: dict[str, Node] = {}
    for node in nodes:
        if node.name is None:
            continue
        if other := named.get(node.name):
            raise DuplicateName(
                f"two parts of the pipeline are called {node.name!r}: at {other.location} and at {node.location}",
                hint="give each source, sink and operator a name of its own",
                name=node.name,
            )
        named[node.name] = node
