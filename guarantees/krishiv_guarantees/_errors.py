"""The root of the error tree: what every error carries, and what the runtime does with each kind.

::

    KrishivError
    ├── ConfigurationError   a setting or a place is wrong: change it, then start again
    │   ├── ProfileError             a durability profile's requirement is not met
    │   ├── CertificateCorrupt       a certificate's text is damaged or was not made by the certify command
    │   ├── CertificateFutureFormat  a certificate was written by a newer version
    │   └── SourceTextUnreadable     a module's text is not Python that this interpreter can parse
    ├── PlanError            the pipeline is wrong: raised at the line that wrote it
    ├── GuaranteeError       the pipeline cannot give what was required of it; carries the report
    ├── RetriableError       passing trouble: try the same again after `after` seconds
    ├── SkippableError       one bad record: `on_bad_row` decides what becomes of it
    └── FatalError           the job stops; its checkpoints are kept; mend the cause and run it again

Each floor of the house adds its own leaves in a module named `_errors`. A leaf has a stable `code` (``KS-…``), fields
that programs can read, and a `hint` that says what to do. Messages and fields never hold secrets.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "CertificateCorrupt",
    "CertificateFutureFormat",
    "ConfigurationError",
    "FatalError",
    "GuaranteeError",
    "KrishivError",
    "PlanError",
    "ProfileError",
    "RetriableError",
    "SkippableError",
    "SourceTextUnreadable",
]


class KrishivError(Exception):
    """Root of every error that krishiv-stream raises on purpose.

    Parameters
    ----------
    message : str
        What happened, in one sentence.
    hint : str
        What the reader can do about it; empty only where nothing can be done.
    **fields
        The values the message speaks of, kept as attributes in `fields`.
    """

    code: ClassVar[str] = "KS-ERROR"

    def __init__(self, message: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields: dict[str, Any] = fields

    def __str__(self) -> str:
        text = f"[{self.code}] {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ConfigurationError(KrishivError):
    """A setting, a path or a combination of them is wrong."""

    code = "KS-CONFIG"


class ProfileError(ConfigurationError):
    """The session's settings do not meet a requirement of its durability profile.

    `fields["settings"]` names the settings to change.
    """

    code = "KS-PROFILE"


class CertificateCorrupt(ConfigurationError):
    """A certificate's text is damaged, incomplete, or was not made by the certify command."""

    code = "KS-CERTIFICATE-CORRUPT"


class CertificateFutureFormat(ConfigurationError):
    """A certificate was written in a format that only a newer version of krishiv-stream reads."""

    code = "KS-CERTIFICATE-FORMAT"


class SourceTextUnreadable(ConfigurationError):
    """A module's text cannot be parsed, so that no digest of it can be taken."""

    code = "KS-SOURCE-TEXT"


class PlanError(KrishivError):
    """The pipeline itself is wrong: an unknown column, a wrong type, an unkeyed window."""

    code = "KS-PLAN"


class GuaranteeError(KrishivError):
    """The pipeline resolves to a lower delivery guarantee than was required.

    Parameters
    ----------
    report : GuaranteeReport or None
        Every part's level, its reason, and the change that would raise it.
    """

    code = "KS-GUARANTEE"

    def __init__(self, message: str, *, hint: str = "", report: Any = None, **fields: Any) -> None:
        super().__init__(message, hint=hint, **fields)
        # Typed Any: the report's module raises errors of this one, which therefore cannot import it.
        self.report: Any = report


class RetriableError(KrishivError):
    """Passing trouble; the same step may succeed later.

    Parameters
    ----------
    after : float
        Seconds to wait before the next try.
    """

    code = "KS-RETRY"

    def __init__(self, message: str, *, hint: str = "", after: float = 1.0, **fields: Any) -> None:
        super().__init__(message, hint=hint, **fields)
        self.after = after


class SkippableError(KrishivError):
    """One record cannot be used; the others can."""

    code = "KS-RECORD"


class FatalError(KrishivError):
    """The job cannot go on. Its checkpoints stay as they are; it resumes once the cause is gone."""

    code = "KS-FATAL"
