"""Reading and writing a certificate's JSON: typed fields, errors that name the field, a checksum over the whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NoReturn, TypeGuard, cast

from krishiv_guarantees._errors import CertificateCorrupt

if TYPE_CHECKING:
    from krishiv_guarantees._parts import OptionValue

__all__ = ["Fields", "certificate_text", "corrupt", "read_object", "text_checksum"]

_CHECKSUM = "checksum"


def corrupt(origin: str, what: str) -> CertificateCorrupt:
    """Return the error for a certificate that cannot be used."""
    return CertificateCorrupt(
        f"certificate {origin} cannot be used: {what}",
        hint="restore the file, or make it again with 'krishiv-stream certify'; it is not edited by hand",
        origin=origin,
    )


def text_checksum(document: dict[str, object]) -> str:
    """Return the SHA-256 of `document` without its checksum, in the one way to write it down."""
    bare = {name: value for name, value in document.items() if name != _CHECKSUM}
    return hashlib.sha256(
        json.dumps(bare, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    ).hexdigest()


def certificate_text(document: dict[str, object]) -> str:
    """Return `document` as text, with its checksum."""
    return json.dumps({**document, _CHECKSUM: text_checksum(document)}, indent=2, sort_keys=True) + "\n"


def read_object(text: str, origin: str) -> Fields:
    """Return the JSON object that `text` holds.

    Raises
    ------
    CertificateCorrupt
        If it is not JSON, not an object, or names a key twice.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise corrupt(origin, "a key appears twice")
        return dict(pairs)

    def refuse(constant: str) -> NoReturn:
        raise corrupt(origin, f"{constant} is not JSON")

    try:
        document: object = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise corrupt(origin, f"it is not JSON: {error}") from error
    if not _is_object(document):
        raise corrupt(origin, "it is not a JSON object")
    return Fields(document, origin, "")


class Fields:
    """One JSON object being read. Every method raises `CertificateCorrupt` for a missing or wrong field."""

    def __init__(self, values: dict[str, object], origin: str, path: str) -> None:
        self._values = values
        self._origin = origin
        self._path = path
        self._read: set[str] = set()

    def names(self) -> list[str]:
        """The names in it."""
        return list(self._values)

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._get(name)
        return value if isinstance(value, str) else self._wrong(name, "text")

    def number(self, name: str) -> int:
        """Return an integer that is not negative."""
        value = self._get(name)
        return value if _is_count(value) else self._wrong(name, "a whole number")

    def child(self, name: str) -> Fields:
        """Return an object."""
        value = self._get(name)
        if not _is_object(value):
            self._wrong(name, "an object")
        return Fields(value, self._origin, f"{self._path}{name}.")

    def text_list(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        items = self._list(name)
        texts = tuple(item for item in items if isinstance(item, str))
        return texts if len(texts) == len(items) else self._wrong(name, "a list of texts")

    def text_pair(self, name: str) -> tuple[str, str]:
        """Return a list of two strings."""
        texts = self.text_list(name)
        return (texts[0], texts[1]) if len(texts) == 2 else self._wrong(name, "two texts")

    def number_list(self, name: str) -> tuple[int, ...]:
        """Return a list of integers that are not negative."""
        items = self._list(name)
        numbers = tuple(item for item in items if _is_count(item))
        return numbers if len(numbers) == len(items) else self._wrong(name, "a list of whole numbers")

    def texts(self) -> dict[str, str]:
        """Return all of it as name to string."""
        return {name: self.text(name) for name in self._values}

    def scalars(self) -> dict[str, OptionValue]:
        """Return all of it as name to string, number, truth value or null."""
        return {name: self._scalar(name) for name in self._values}

    def verify_checksum(self) -> None:
        """Compare the checksum with the rest of the object."""
        if self.text(_CHECKSUM) != text_checksum(self._values):
            raise corrupt(self._origin, "its text differs from its checksum")

    def done(self) -> None:
        """Refuse fields that were not read: they could change the meaning of the others."""
        unknown = sorted(set(self._values) - self._read)
        if unknown:
            raise corrupt(self._origin, f"unknown field {self._path}{unknown[0]}")

    def _get(self, name: str) -> object:
        if name not in self._values:
            raise corrupt(self._origin, f"{self._path}{name} is missing")
        self._read.add(name)
        return self._values[name]

    def _scalar(self, name: str) -> OptionValue:
        value = self._get(name)
        if value is None or isinstance(value, str | int | float | bool):
            return value
        return self._wrong(name, "a text, a number, true, false or null")

    def _list(self, name: str) -> list[object]:
        value = self._get(name)
        return cast("list[object]", value) if isinstance(value, list) else self._wrong(name, "a list")

    def _wrong(self, name: str, wanted: str) -> NoReturn:
        raise corrupt(self._origin, f"{self._path}{name} should be {wanted}")


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
