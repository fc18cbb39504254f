"""Which types can be keys: those that the hash that assigns rows to key groups is defined for."""

from __future__ import annotations

import pyarrow as pa

from krishiv_stream._errors import WrongType

__all__ = ["is_bytes", "require_key_type"]


def require_key_type(name: str, kind: pa.DataType) -> None:
    """Raise `WrongType` if values of type `kind` cannot be keys."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (_is_word(plain) or is_bytes(plain) or pa.types.is_decimal128(plain)):
        raise WrongType(
            f"column {name!r} of type {kind} cannot be a key",
            hint="keys are numbers, booleans, strings, binaries, dates, times or decimals; cast it first",
        )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of `kind` are runs of bytes."""
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(check(kind) for check in checks) and not pa.types.is_decimal(kind)


def _is_word(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_timestamp,
        pa.types.is_date,
        pa.types.is_time,
        pa.types.is_duration,
        pa.types.is_null,
    )
    return any(check(kind) for check in checks)
