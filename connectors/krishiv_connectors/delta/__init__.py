"""Delta Lake tables: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, through delta-rs."""

from krishiv_connectors.delta._delta_sink import DeltaSink
from krishiv_connectors.delta._delta_source import DeltaSource

__all__ = ["DeltaSink", "DeltaSource"]
