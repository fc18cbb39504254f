"""Rows from Parquet objects: those that match a pattern, or those of whole epochs."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import NoMatchingFiles
from krishiv_connectors._source import Source, Split
from krishiv_connectors.objects._bucket import CLIENT_LIBRARY, BucketAddress
from krishiv_connectors.objects._errors import BadBucketUrl, ObjectChanged
from krishiv_connectors.objects._manifests import KnownManifests, Manifests
from krishiv_connectors.objects._names import MANIFESTS, Folder
from krishiv_connectors.objects._object_file import ObjectFile
from krishiv_connectors.objects._object_reader import ObjectReader, folder_values
from krishiv_connectors.objects._patterns import ObjectPattern
from krishiv_guarantees import SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from krishiv_connectors._source import Reader, SourceContext
    from krishiv_connectors._storage import S3
    from krishiv_connectors.objects._bucket import Bucket
    from krishiv_connectors.objects._object_reader import ObjectPosition

__all__ = ["ObjectParquetSource"]


class ObjectParquetSource(Source["ObjectPosition"]):
    """Rows of Parquet objects in S3, with exact positions inside each. Made by ``ParquetSource("s3://...")``.

    Parameters
    ----------
    pattern : str or sequence of str
        ``s3://bucket/key``: an object, a glob, or a prefix, which stands for every ``*.parquet`` below it.
    follow : bool
        True: watch for new objects for ever.
    schema : pa.Schema, optional
        The columns to read. By default those of the first object, which every one must have.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says.
    manifest : bool
        Read what ``ParquetSink("s3://...")`` wrote there: `pattern` is its address, and of each epoch all files are
        read or, before it is committed, none.

    Notes
    -----
    Folders ``column=value`` become columns: text, or of the type that `schema` gives. Objects are read by their ETags:
    one that is replaced stops the job. Epochs come in their order, the files of each by name.
    """

    sequential = True
    client_libraries = (CLIENT_LIBRARY,)

    def __init__(
        self,
        pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        follow: bool = False,
        *,
        schema: pa.Schema | None = None,
        storage: S3 | None = None,
        manifest: bool = False,
    ) -> None:
        urls = [pattern] if isinstance(pattern, (str, os.PathLike)) else list(pattern)
        self.patterns = tuple(ObjectPattern(os.fspath(url), storage) for url in urls)
        if manifest and (len(self.patterns) != 1 or self.patterns[0].is_glob):
            raise BadBucketUrl(
                "manifest=True with a pattern", hint="give the address that was given to the sink", url=str(urls[0])
            )
        self.follow, self.manifest = follow, manifest
        self._storage = storage
        self._given = schema is not None
        self._schema: pa.Schema | None = schema

    def __repr__(self) -> str:
        shown = ", ".join(repr(pattern.url) for pattern in self.patterns)
        flags = "".join(f", {name}=True" for name in ("manifest", "follow") if getattr(self, name))
        return f"ParquetSource({shown}{flags})"

    def schema(self) -> pa.Schema:
        """Return the columns given, or those of the first object with its folders.

        Raises
        ------
        NoMatchingFiles
            If there is no object to look at.
        """
        if self._schema is None:
            first = next(iter(self.splits()), None)
            if first is None:
                raise NoMatchingFiles(
                    "there is no Parquet object yet, so the columns are not known",
                    hint="give schema=, or have a first object written before the job starts",
                    pattern=self.patterns[0].url,
                )
            bucket = _address(first, self._storage).open()
            with closing(bucket), closing(_open(first, bucket)) as file:
                own = file.schema()
            folders = [name for name in folder_values(first.payload["path"]) if name not in own.names]
            self._schema = pa.schema([*own, *(pa.field(name, pa.string()) for name in folders)])
        return self._schema

    def splits(self) -> Sequence[Split]:
        """Return one split for each object that is there now: with `manifest`, those of committed epochs.

        Raises
        ------
        NoMatchingFiles
            If a pattern matches no object, unless `follow` or `manifest`.
        BucketMissing, BucketRefused, BucketUnavailable
        """
        found: dict[str, Split] = {}
        for pattern in self.patterns:
            splits = list(self._of_epochs(pattern) if self.manifest else self._of_pattern(pattern))
            if not splits and not (self.follow or self.manifest):
                raise NoMatchingFiles(
                    f"no object matches {pattern.url!r}",
                    hint="check the spelling; follow=True waits",
                    pattern=pattern.url,
                )
            for split in splits:
                found.setdefault(split.id, split)
        return list(found.values())

    def open(self, split: Split, position: ObjectPosition, ctx: SourceContext) -> Reader[ObjectPosition]:
        """Open an object; what is wrong with it is raised by the reader.

        Raises
        ------
        ObjectChanged
        """
        etag = split.payload["etag"]
        if position is not None and position["etag"] != etag:
            raise ObjectChanged(
                f"{split.id} is not the object that was read: its ETag was {position['etag']}, and is {etag}",
                hint="objects that are read must not be replaced: put the old one back",
                place=split.id,
            )
        bucket = self._shared_bucket(split, ctx)
        schema = self.schema()
        names = schema.names if ctx.columns is None else ctx.columns or schema.names[:1]
        folders = folder_values(split.payload["path"])
        return ObjectReader(
            lambda: _open(split, bucket),
            etag,
            0 if position is None else position["row"],
            schema=pa.schema([schema.field(name) for name in names]),
            expected=schema,
            closed=not self._given,
            folders={name: value for name, value in folders.items() if name in schema.names},
            batch_rows=ctx.batch_rows,
            name=split.id,
        )

    def capabilities(self) -> SourceCapabilities:
        """Replayable with exact positions; bounded unless it follows."""
        return SourceCapabilities(
            bounded=not self.follow,
            replayable=True,
            exact_positions=True,
            ordered_replay=True,
            discovers_splits=self.follow,
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it follows, and whether it reads by manifests."""
        return {"follow": self.follow, "manifest": self.manifest}

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the least `column` by the object's statistics, microseconds; None where they do not say."""
        bucket = _address(split, self._storage).open()
        with closing(bucket), closing(_open(split, bucket)) as file:
            return file.minimum(column)

    # ---------------------------------------------------------------- helpers

    def _of_pattern(self, pattern: ObjectPattern) -> Iterator[Split]:
        with closing(pattern.address.open()) as bucket:
            for found in pattern.find(bucket):
                yield _split(pattern.address, found.key, found.etag, found.size, {})

    def _of_epochs(self, pattern: ObjectPattern) -> Iterator[Split]:
        address = BucketAddress(pattern.url, self._storage)
        with closing(address.open()) as bucket:
            folders = [Folder.parse(name) for name in list(bucket.names(MANIFESTS))]
            known = [Manifests(bucket, each).published(KnownManifests()) for each in folders if each is not None]
        for epoch in sorted((epoch for each in known for epoch in each), key=lambda e: (e.epoch, e.lineage, e.sink)):
            for file in epoch.files:
                yield _split(address, file.key, file.etag, file.size, {"epoch": epoch.epoch})

    def _shared_bucket(self, split: Split, ctx: SourceContext) -> Bucket:
        """Return a connection that the readers of a subtask share."""
        address = _address(split, self._storage)
        name = f"{address.url} of {id(self)}"
        shared: Any = ctx.shared.get(name)
        if shared is None:
            shared = ctx.shared[name] = address.open()
        found: Bucket = shared
        return found


def _split(address: BucketAddress, key: str, etag: str, size: int, more: Mapping[str, Any]) -> Split:
    payload = {"root": address.url, "path": key, "etag": etag, "size": size, **more}
    return Split(f"{address.url}/{key}", payload)


def _address(split: Split, storage: S3 | None) -> BucketAddress:
    return BucketAddress(split.payload["root"], storage)


def _open(split: Split, bucket: Bucket) -> ObjectFile:
    payload = split.payload
    return ObjectFile(bucket, payload["path"], payload["etag"], payload["size"])
