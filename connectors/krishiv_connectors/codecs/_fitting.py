"""Whether a column can be made one of another type without changing what it says."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn

__all__ = ["casts", "is_bytes", "is_text", "unfit_column"]


def casts(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether columns of type `source` can become `target`; single values may still not fit."""
    if pat.is_string(target) and not (is_text(source) or pat.is_null(source)):
        return False  # Arrow would write numbers and times as text
    try:
        pa.nulls(0, source).cast(target)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def is_text(kind: pa.DataType) -> bool:
    """Whether columns of type `kind` hold text."""
    if pat.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether columns of type `kind` hold bytes."""
    return bool(
        pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_binary_view(kind) or pat.is_fixed_size_binary(kind)
    )


def unfit_column(name: str, what: str) -> UnsupportedColumn:
    """Return the error for a column that the format's schema does not take."""
    return UnsupportedColumn(f"column {name!r} {what}", hint="select and convert columns before write", column=name)
