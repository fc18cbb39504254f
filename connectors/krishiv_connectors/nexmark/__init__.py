"""Nexmark: the field's auction benchmark, as a generator source."""

from krishiv_connectors.nexmark._nexmark_source import NexmarkSource

__all__ = ["NexmarkSource"]
