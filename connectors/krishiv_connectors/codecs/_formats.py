"""Formats by name."""

from __future__ import annotations

from difflib import get_close_matches

from krishiv_connectors._errors import UnknownFormat
from krishiv_connectors.codecs._codec import Format
from krishiv_connectors.codecs._csv_codec import CsvFormat
from krishiv_connectors.codecs._json_codec import JsonFormat
from krishiv_connectors.codecs._raw_codec import RawFormat, StringFormat

__all__ = ["format_of"]

_FORMATS: dict[str, type[Format]] = {"csv": CsvFormat, "json": JsonFormat, "raw": RawFormat, "string": StringFormat}
_OBJECTS = {"avro": "AvroFormat", "protobuf": "ProtobufFormat"}


def format_of(name_or_format: str | Format) -> Format:
    """Return a format by its name, or as it is.

    Parameters
    ----------
    name_or_format : str or Format
        ``"json"``, ``"raw"``, ``"string"``, ``"csv"``, or a format made with its options.

    Raises
    ------
    UnknownFormat
        If there is no format of that name.
    """
    if isinstance(name_or_format, Format):
        return name_or_format
    name = name_or_format.lower()
    if name in _FORMATS:
        return _FORMATS[name]()
    listed = f"valid: {', '.join(_FORMATS)}, or an AvroFormat or ProtobufFormat"
    close = get_close_matches(name, [*_FORMATS, *_OBJECTS], n=1, cutoff=0.6)
    guess = f"did you mean {_OBJECTS.get(close[0], repr(close[0]))}? " if close else ""
    raise UnknownFormat(
        f"there is no message format {name_or_format!r}",
        hint=guess + listed,
        name=name_or_format,
        valid=sorted(_FORMATS),
    )
