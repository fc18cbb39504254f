"""An open text file, at the record to go on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from krishiv_connectors.files._identity import BytesDigest, FileIdentity, changed, unreadable_as

if TYPE_CHECKING:
    from krishiv_connectors.files._text_format import TextFormat

__all__ = ["TextFile"]


@dataclass(frozen=True)
class TextFile:
    """An open text file.

    Parameters
    ----------
    identity : FileIdentity
        Looked at before anything was read.
    digest : BytesDigest
        Of everything before the next record.
    row : int
        Number of the next record, from 0.
    """

    file: BinaryIO
    identity: FileIdentity
    digest: BytesDigest
    row: int

    @classmethod
    def open(
        cls,
        path: str,
        form: TextFormat,
        stored: dict[str, Any] | None,
        *,
        complete: bool,
        before: FileIdentity | None = None,
    ) -> TextFile | None:
        """Open `path` at the `stored` position; None if its header is not all there yet.

        Parameters
        ----------
        complete : bool
            Nothing more will be written to the file.
        before : FileIdentity or None
            What this process last saw of it: if it was only appended to since, what was read is not read again.

        Raises
        ------
        FileVanished, UnreadableFile
            If it cannot be read.
        FileChanged
            If what lies before the position is not what it was.
        """
        identity = FileIdentity.of(path)
        with unreadable_as(path):
            file = open(path, "rb")  # noqa: SIM115  the object that is returned keeps it open
        try:
            with unreadable_as(path):
                first = form.begin(path, file, complete=complete)
            if first is None:
                file.close()
                return None
            if stored is None:
                return cls(file, identity, BytesDigest.of_file(file, first), 0)
            same = identity.is_at(stored) or (before is not None and identity.appended_to(before))
            return cls(file, identity, _known_prefix(path, file, stored, same=same), stored["row"])
        except BaseException:
            file.close()
            raise


def _known_prefix(path: str, file: BinaryIO, stored: dict[str, Any], *, same: bool) -> BytesDigest:
    offset: int = stored["offset"]
    with unreadable_as(path):
        digest = BytesDigest.resume(stored["chain"], file, offset) if same else BytesDigest.of_file(file, offset)
    if (digest.length, digest.value) != (offset, stored["digest"]):
        raise changed(path, f"its first {offset} bytes are not those that were read")
    return digest
