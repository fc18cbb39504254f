"""What the job's process tells the demo, one JSON line each, and what it is told at its start."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from krishiv_stream._demo._question import Question

__all__ = ["Completed", "Ended", "Failed", "JobSpec", "Line", "Progressed", "decode_line", "encode_line"]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run the demo's job.

    Parameters
    ----------
    output, data_dir : str
        Folders of the output and of the checkpoints.
    rate : float or None
        Rows per second that are read; None: as many as can be.
    checkpoint_interval : float
        Seconds.
    allow_uncertified : bool
        Let combinations without a certificate count as exactly once.
    """

    question: Question
    output: str
    data_dir: str
    rate: float | None
    checkpoint_interval: float
    allow_uncertified: bool


class Progressed(msgspec.Struct, frozen=True, tag="progress"):
    """Rows read since this process started."""

    rows: int


class Completed(msgspec.Struct, frozen=True, tag="checkpoint"):
    """The manifest of `epoch` is durable."""

    epoch: int


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The job finished.

    Parameters
    ----------
    rows : int
        Read since this process started.
    seconds : float
        From submit to the end.
    guarantee : dict
        The report, as `GuaranteeReport.to_dict` gives it.
    """

    rows: int
    seconds: float
    guarantee: dict[str, Any]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job ended with an error."""

    code: str
    message: str
    hint: str


Line = Progressed | Completed | Ended | Failed

_DECODER: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


def encode_line(line: Line) -> bytes:
    """Return `line` as JSON and a newline."""
    return msgspec.json.encode(line) + b"\n"


def decode_line(text: bytes) -> Line:
    """Return what `encode_line` wrote."""
    return _DECODER.decode(text)
