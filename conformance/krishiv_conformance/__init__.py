"""Conformance: the suites that connectors are killed by, and the certificates that they earn.

Authors of a connector write a harness (`SinkHarness`, `SourceHarness`, `StoreHarness`) and run
``krishiv-stream certify module:Harness``.
"""

from krishiv_conformance._case import Case, CaseResult, run_case
from krishiv_conformance._errors import (
    CaseFailed,
    CaseUnknown,
    HarnessMissing,
    NotCertifiable,
    ServerFailed,
    ServerMissing,
    TargetMissing,
)
from krishiv_conformance._files import certificates_in, shipped_certificates
from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness, StoreHarness
from krishiv_conformance._rows import SCHEMA
from krishiv_conformance._servers import CommandServer, Server

__all__ = [
    "Case",
    "CaseFailed",
    "CaseResult",
    "CaseUnknown",
    "CommandServer",
    "Harness",
    "HarnessMissing",
    "NotCertifiable",
    "SCHEMA",
    "Server",
    "ServerFailed",
    "ServerMissing",
    "SinkHarness",
    "SourceHarness",
    "StoreHarness",
    "TargetMissing",
    "certificates_in",
    "run_case",
    "shipped_certificates",
]
