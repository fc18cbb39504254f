"""Errors of the conformance suite (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── TargetMissing      a name given to certify names no class that can be certified
    ├── HarnessMissing     a connector has no harness, so that the suite cannot make or read it
    ├── NotCertifiable     a connector claims no more than it has without a certificate
    ├── ServerMissing      the server of a connector cannot be started here
    └── CaseUnknown        there is no case of that name
    FatalError
    ├── CaseFailed         a case of the suite found a fault
    └── ServerFailed       the server of a connector did not start, or could not be killed
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError

__all__ = [
    "CaseFailed",
    "CaseUnknown",
    "HarnessMissing",
    "NotCertifiable",
    "ServerFailed",
    "ServerMissing",
    "TargetMissing",
]


class TargetMissing(ConfigurationError):
    """A name given to certify names no class that can be certified."""

    code = "KS-CERTIFY-TARGET"


class HarnessMissing(ConfigurationError):
    """A connector has no harness: the suite knows neither how to make it nor how to read what it wrote."""

    code = "KS-CERTIFY-HARNESS"


class NotCertifiable(ConfigurationError):
    """A connector's capabilities reach no level that a certificate could confirm."""

    code = "KS-CERTIFY-CAPABILITIES"


class ServerMissing(ConfigurationError):
    """A connector needs a server to be certified, and there is none that the suite could start and kill."""

    code = "KS-CERTIFY-SERVER"


class CaseUnknown(ConfigurationError):
    """There is no case of that name for these classes."""

    code = "KS-CERTIFY-CASE"


class CaseFailed(FatalError):
    """A case of the conformance suite found a fault: the connector breaks its contract."""

    code = "KS-CASE-FAILED"


class ServerFailed(FatalError):
    """The server that a connector is certified with did not start, or could not be killed."""

    code = "KS-CERTIFY-SERVER-FAILED"
