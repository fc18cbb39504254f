"""Delivery guarantees: levels, capabilities, and (to follow) the resolver. Pure: no I/O, no third-party imports."""

from krishiv_guarantees._capabilities import FailureDomain, SinkCapabilities, SourceCapabilities, StoreCapabilities
from krishiv_guarantees._errors import (
    ConfigurationError,
    FatalError,
    GuaranteeError,
    KrishivError,
    PlanError,
    RetriableError,
    SkippableError,
)
from krishiv_guarantees._levels import Guarantee, weakest

__all__ = [
    "ConfigurationError",
    "FailureDomain",
    "FatalError",
    "Guarantee",
    "GuaranteeError",
    "KrishivError",
    "PlanError",
    "RetriableError",
    "SinkCapabilities",
    "SkippableError",
    "SourceCapabilities",
    "StoreCapabilities",
    "weakest",
]
