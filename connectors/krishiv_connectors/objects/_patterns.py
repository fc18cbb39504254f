"""Which objects a URL means: one, those that match a glob, or all below a prefix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from krishiv_connectors.objects._bucket import BucketAddress, split_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_connectors._storage import S3
    from krishiv_connectors.objects._bucket import Bucket, Found

__all__ = ["ObjectPattern"]

_MAGIC = re.compile(r"[*?\[]")
_PIECES = re.compile(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])")
_MEANINGS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class ObjectPattern:
    """Objects in a bucket.

    Parameters
    ----------
    url : str
        ``s3://bucket/key``, with ``*``, ``?``, ``[ab]`` inside a name and ``**`` over folders; without them an object,
        or a prefix, which stands for every ``*.parquet`` below it.
    """

    def __init__(self, url: str, storage: S3 | None) -> None:
        bucket, key = split_url(url)
        found = _MAGIC.search(key)
        literal = key[: found.start()] if found else key
        self.is_glob = found is not None
        folder = literal[: literal.rfind("/") + 1] if self.is_glob else ""
        self._rest = key[len(folder) :]
        self.address = BucketAddress(f"s3://{bucket}/{folder}", storage)
        self.url = url
        if self.is_glob:
            pieces = _PIECES.split(self._rest)
            self._expression = re.compile("".join(map(_meaning, pieces)), re.DOTALL)

    def find(self, bucket: Bucket) -> Iterator[Found]:
        """Give the objects, by key; keys are relative to `address`."""
        if self.is_glob:
            before = _MAGIC.split(self._rest)[0]
            yield from (found for found in bucket.list(before) if self._expression.fullmatch(found.key))
            return
        one = bucket.find(self._rest) if self._rest and not self._rest.endswith("/") else None
        if one is not None:
            yield one
            return
        folder = f"{self._rest.rstrip('/')}/" if self._rest.strip("/") else ""
        for found in bucket.list(folder):
            if found.key.endswith(".parquet") and not _is_hidden(found.key[len(folder) :]):
                yield found


def _meaning(piece: str) -> str:
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        return f"[^{re.escape(piece[2:-1])}]" if piece[1] == "!" else piece
    return _MEANINGS.get(piece) or re.escape(piece)


def _is_hidden(path: str) -> bool:
    return any(name.startswith((".", "_")) for name in path.split("/"))
