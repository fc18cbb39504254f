"""Delivery guarantees: levels, capabilities, profiles, certificates and the resolver.

Pure: no I/O, no third-party imports. Digests are taken over text that the caller reads.
"""

from krishiv_guarantees._capabilities import FailureDomain, SinkCapabilities, SourceCapabilities, StoreCapabilities
from krishiv_guarantees._certificates import (
    CERTIFICATE_FORMAT,
    MIN_COMBINATION_KILLS,
    Certificate,
    CertifiedPart,
    FaultRun,
)
from krishiv_guarantees._digests import combined_digest, module_digest, syntax_digest, syntax_digests
from krishiv_guarantees._errors import (
    CertificateCorrupt,
    CertificateFutureFormat,
    ConfigurationError,
    FatalError,
    GuaranteeError,
    KrishivError,
    PlanError,
    ProfileError,
    RetriableError,
    SkippableError,
    SourceTextUnreadable,
)
from krishiv_guarantees._freshness import CertificateIndex, Certification, Standing, check_freshness
from krishiv_guarantees._hazards import Hazard, HazardSite
from krishiv_guarantees._ladders import Rung, profile_rung, sink_rung, source_rung, store_rung
from krishiv_guarantees._levels import Guarantee, weakest
from krishiv_guarantees._parts import OptionValue, Part, PipelinePath, SinkPart, SourcePart, StorePart
from krishiv_guarantees._profiles import (
    CheckpointPlace,
    ControlAccess,
    MetadataPlace,
    Profile,
    ProfileSettings,
    ProfileSpec,
    Requirement,
    ShufflePlace,
    check_profile,
    unmet_requirements,
)
from krishiv_guarantees._rendering import DomainDict, PartDict, PathDict, ReportDict, render_report
from krishiv_guarantees._report import GuaranteeReport, PartReport, PathReport, Role, require
from krishiv_guarantees._resolver import resolve
from krishiv_guarantees._versions import VersionRange

__all__ = [
    "CERTIFICATE_FORMAT",
    "Certificate",
    "CertificateCorrupt",
    "CertificateFutureFormat",
    "CertificateIndex",
    "Certification",
    "CertifiedPart",
    "CheckpointPlace",
    "ConfigurationError",
    "ControlAccess",
    "DomainDict",
    "FailureDomain",
    "FatalError",
    "FaultRun",
    "Guarantee",
    "GuaranteeError",
    "GuaranteeReport",
    "Hazard",
    "HazardSite",
    "KrishivError",
    "MIN_COMBINATION_KILLS",
    "MetadataPlace",
    "OptionValue",
    "Part",
    "PartDict",
    "PartReport",
    "PathDict",
    "PathReport",
    "PipelinePath",
    "PlanError",
    "Profile",
    "ProfileError",
    "ProfileSettings",
    "ProfileSpec",
    "ReportDict",
    "Requirement",
    "RetriableError",
    "Role",
    "Rung",
    "ShufflePlace",
    "SinkCapabilities",
    "SinkPart",
    "SkippableError",
    "SourceCapabilities",
    "SourcePart",
    "SourceTextUnreadable",
    "Standing",
    "StoreCapabilities",
    "StorePart",
    "VersionRange",
    "check_freshness",
    "check_profile",
    "combined_digest",
    "module_digest",
    "profile_rung",
    "render_report",
    "require",
    "resolve",
    "sink_rung",
    "source_rung",
    "store_rung",
    "syntax_digest",
    "syntax_digests",
    "unmet_requirements",
    "weakest",
]
