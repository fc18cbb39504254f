"""What a message format is: a decoder from values to rows, an encoder from rows to values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BadValue", "Decoded", "Decoder", "Encoder", "Format"]


@dataclass(frozen=True)
class BadValue:
    """One value that could not be decoded.

    Parameters
    ----------
    index : int
        Its place in the list given to `Decoder.decode`.
    error : str
        Why, in one sentence without a newline.
    """

    index: int
    error: str


@dataclass(frozen=True)
class Decoded:
    """What came of a list of values.

    Parameters
    ----------
    batch : pa.RecordBatch, good values x columns asked for
        One row per good value, in the order of the values.
    bad : tuple of BadValue
        The others, by their place.
    """

    batch: pa.RecordBatch
    bad: tuple[BadValue, ...] = ()


class Decoder(ABC):
    """Turns message values into rows. One thread at a time; nothing is kept from one call to the next but caches."""

    @abstractmethod
    def columns(self) -> pa.Schema:
        """Return all columns this decoder can give."""

    @abstractmethod
    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        """Return the rows of the good values, and why the others are bad.

        Every value is exactly one row or one `BadValue`, whatever its neighbours hold. A value is bad if it does not
        parse, or if a column asked for does not fit; other columns need not be looked at.

        Parameters
        ----------
        values : sequence of bytes or None
            Values as they stand in the log; None is a tombstone.
        columns : sequence of str or None
            The columns wanted, in this order; None: all. None of them is allowed: the rows still have a number.

        Raises
        ------
        RegistryUnreachable
            If the schema of a value cannot be fetched just now. No value was consumed: try the same list again.
        """

    def wanted(self, columns: Sequence[str] | None) -> pa.Schema:
        """Return `columns()` restricted to those asked for."""
        schema = self.columns()
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])


class Encoder(ABC):
    """Turns rows into message values."""

    @abstractmethod
    def check(self, schema: pa.Schema) -> None:
        """Raise `UnsupportedColumn` if rows of `schema` can never be encoded. No I/O."""

    @abstractmethod
    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the values, binary or large_binary, one per row; a null is a tombstone.

        Raises
        ------
        UnencodableRow
            If a row cannot be encoded. No row is left out or changed in silence.
        """


class Format(ABC):
    """A message format with its options: what users name."""

    @abstractmethod
    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder.

        Parameters
        ----------
        schema : pa.Schema or None
            The columns, where the format does not know them by itself.

        Raises
        ------
        FormatUnfit, UnsupportedField
            If the schema is missing, or is not one that this format can give.
        """

    @abstractmethod
    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder of rows of `schema`.

        Raises
        ------
        UnsupportedColumn
            If they can never be encoded.
        """

    @abstractmethod
    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the options that decide what bytes mean; never secrets."""

    def for_subject(self, subject: str) -> Format:
        """Return this format for the registry subject `subject`, if it needs one and was given none."""
        return self
