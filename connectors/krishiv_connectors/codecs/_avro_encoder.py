"""Rows as Avro records."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import UnencodableRow
from krishiv_connectors._extras import need
from krishiv_connectors.codecs._apart import one_sentence
from krishiv_connectors.codecs._codec import Encoder
from krishiv_connectors.codecs._fitting import casts, unfit_column
from krishiv_connectors.codecs._framing import frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_connectors.codecs._avro_types import AvroSchema

__all__ = ["AvroEncoder"]


class AvroEncoder(Encoder):
    """Rows as records of one schema.

    Parameters
    ----------
    schema : AvroSchema
        What is written. Fields that rows lack take their defaults.
    number : callable or None
        Returns the schema's id in a registry, which messages then begin with.
    """

    def __init__(self, schema: AvroSchema, number: Callable[[], int] | None) -> None:
        self._schema = schema
        self._number = number
        self._frame: bytes | None = b"" if number is None else None
        self._write: Callable[..., None] = need("fastavro", "avro").schemaless_writer

    def check(self, schema: pa.Schema) -> None:
        """Refuse columns that the Avro schema lacks or has of other types, and a lack of those it needs."""
        fields = {field["name"]: field for field in self._schema.parsed["fields"]}
        for field in schema:
            if field.name not in fields:
                raise unfit_column(field.name, f"is not in the Avro schema, which has {', '.join(fields)}")
            target = self._schema.columns.field(field.name).type
            if not casts(field.type, target):
                raise unfit_column(field.name, f"holds {field.type}, where the Avro schema has {target}")
        for name, field in fields.items():
            if name not in schema.names and "default" not in field and not self._schema.columns.field(name).nullable:
                raise unfit_column(name, "is in the Avro schema without a default, and not among the columns")

    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        """Return one record per row."""
        header = self._header()
        encoded: list[bytes] = []
        for place, row in enumerate(self._records(rows)):
            stream = io.BytesIO()
            stream.write(header)
            try:
                self._write(stream, self._schema.parsed, row)
            except Exception as error:  # whatever a wrong value leads the writer to
                raise UnencodableRow(
                    f"row {place} cannot be written as Avro: {one_sentence(error)}",
                    hint="filter such rows out, or change the Avro schema",
                    row=place,
                ) from error
            encoded.append(stream.getvalue())
        return pa.array(encoded, pa.large_binary())

    def _header(self) -> bytes:
        if self._frame is None:
            assert self._number is not None
            self._frame = frame(self._number())
        return self._frame

    def _records(self, rows: pa.RecordBatch) -> list[dict[str, Any]]:
        """Return the rows as Python values of exactly the schema's types."""
        fields = [self._schema.columns.field(name).with_nullable(True) for name in rows.schema.names]
        try:
            cast = rows.cast(pa.schema(fields))
        except pa.ArrowException as error:
            raise UnencodableRow(
                f"a value does not fit the Avro schema: {one_sentence(error)}",
                hint="convert the column in the pipeline, or change the Avro schema",
            ) from error
        records: list[dict[str, Any]] = cast.to_pylist(maps_as_pydicts="strict")
        return records
