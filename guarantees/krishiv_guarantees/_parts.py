"""What the resolver is given: the parts of a pipeline, as values that the caller fills in. No I/O from here on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_guarantees._capabilities import SinkCapabilities, SourceCapabilities, StoreCapabilities
    from krishiv_guarantees._hazards import HazardSite

__all__ = ["OptionValue", "Part", "PipelinePath", "SinkPart", "SourcePart", "StorePart"]

OptionValue = str | int | float | bool | None
"""What an option that bears on the guarantee may be."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What every part says of itself.

    Parameters
    ----------
    name : str
        Its id in the pipeline, unique within its role.
    class_name : str
        ``"package.module:Class"``.
    version : str
        Of the distribution that the class comes from.
    options : mapping of str to OptionValue
        `guarantee_config()`: the options that bear on the guarantee.
    modules : mapping of str to str
        Text of the modules that make it up, by name: its own, and those of its base classes. Empty: unknown, and then
        no certificate can be checked.
    versions : mapping of str to str
        Client libraries and servers in use, by the names that certificates use: ``{"pyarrow": "26.0.1"}``.
    """

    name: str
    class_name: str
    version: str
    options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    modules: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def short_class(self) -> str:
        """The class's name without its module."""
        return self.class_name.rpartition(":")[2]


@dataclass(frozen=True, kw_only=True)
class SourcePart(Part):
    """A source. `capabilities` are those of this instance: configuration decides."""

    capabilities: SourceCapabilities


@dataclass(frozen=True, kw_only=True)
class SinkPart(Part):
    """A sink; dead-letter and side outputs are sinks too.

    Parameters
    ----------
    capabilities : SinkCapabilities
        Those of this instance: configuration decides.
    diagnostic : bool
        Output that only people look at: `require` does not cover it.
    duplicate_overlap : bool
        The run was told to write epochs again that the sink already holds (``on_sink_ahead="duplicate"``).
    """

    capabilities: SinkCapabilities
    diagnostic: bool = False
    duplicate_overlap: bool = False


@dataclass(frozen=True, kw_only=True)
class StorePart(Part):
    """The checkpoint store."""

    capabilities: StoreCapabilities


@dataclass(frozen=True, kw_only=True)
class PipelinePath:
    """One way from a source to a sink.

    Parameters
    ----------
    source, sink : str
        Names of the parts at its ends.
    hazards : tuple of HazardSite
        What on the way may make other keys on replay. `Hazard.UNORDERED_REPLAY` is added by the resolver, from the
        source's capabilities.
    user_functions : bool
        Whether Python functions of the user run on the way.
    """

    source: str
    sink: str
    hazards: tuple[HazardSite, ...] = ()
    user_functions: bool = False
