"""Errors of the demo (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── DemoTooShort      the input would be read before all kills are done
    └── DemoFolderTaken   the folder to keep everything in is not empty
    FatalError
    ├── DemoJobFailed     the job of the demo ended with an error
    └── DemoKillsMissed   the job finished before all kills were done
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError

__all__ = ["DemoFolderTaken", "DemoJobFailed", "DemoKillsMissed", "DemoTooShort"]


class DemoTooShort(ConfigurationError):
    """The input would be read before all kills are done. `fields`: seconds, kills."""

    code = "KS-DEMO-SHORT"


class DemoFolderTaken(ConfigurationError):
    """The folder to keep everything in is not empty. `fields`: folder."""

    code = "KS-DEMO-FOLDER"


class DemoJobFailed(FatalError):
    """The job of the demo ended with an error. `fields`: job_code, log."""

    code = "KS-DEMO-JOB"


class DemoKillsMissed(FatalError):
    """The job finished before all kills were done. `fields`: kills, wanted."""

    code = "KS-DEMO-KILLS"
