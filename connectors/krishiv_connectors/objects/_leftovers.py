"""What was prepared and is not published: found by its names, and removed without harm to what is published.

An upload's key says whose it is, and of files that were begun early not which epoch it is of; a slot therefore notes
at each barrier which uploads belong to the epoch. What no note names was never prepared.

An epoch whose uploads have been completed, but whose manifest is missing, is not published either, though its objects
can be seen. They are removed with it; and as a committer of long ago may still be about to publish it, a manifest that
withdraws the epoch is put there first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import Prepared
from krishiv_connectors.objects._names import FileName, SealName
from krishiv_connectors.objects._records import EpochManifest, PublishedFile, UploadNote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from krishiv_connectors.objects._bucket import Bucket
    from krishiv_connectors.objects._manifests import Manifests
    from krishiv_connectors.objects._names import Folder

__all__ = ["Leftovers"]


class Leftovers:
    """What one sink of one lineage left in a bucket."""

    def __init__(self, bucket: Bucket, folder: Folder, manifests: Manifests, job: str) -> None:
        self._bucket, self._folder, self._manifests, self._job = bucket, folder, manifests, job

    def list(self, applied: int) -> list[Prepared]:
        """Return what is prepared and not published; epoch 0 stands for what a dead writer had not prepared.

        Parameters
        ----------
        applied : int
            The newest epoch that is published.
        """
        # Uploads first: one that is begun and noted after this look is not in it.
        uploads = dict(self._uploads())
        noted: set[tuple[str, str]] = set()
        found: list[Prepared] = []
        for name, note in self._notes():
            own = {upload[:2] for upload in note.uploads}
            noted |= own
            if name.epoch > applied or (own & uploads.keys() and not self._is_published(name.epoch, own)):
                found.append(Prepared(name.token, name.epoch, name.slot, note.encode()))
        open_: dict[tuple[int, int], list[tuple[str, str, str]]] = {}
        for upload, file in uploads.items():
            # Ceph, if it dies meanwhile, may go on listing an upload whose object is there: aborting it destroys that.
            if upload not in noted and self._bucket.find(upload[0]) is None:
                open_.setdefault((file.token, file.slot), []).append((*upload, ""))
        found += [Prepared(token, 0, slot, UploadNote(tuple(each)).encode()) for (token, slot), each in open_.items()]
        return sorted(found, key=lambda each: (each.token, each.epoch, each.slot))

    def remove(self, prepared: Sequence[Prepared]) -> None:
        """Remove exactly what `prepared` name."""
        for epoch in sorted({each.epoch for each in prepared}):
            self._remove(epoch, [each for each in prepared if each.epoch == epoch])

    def forget(self, names: Iterable[SealName]) -> None:
        """Remove notes whose epochs are published."""
        for name in names:
            self._bucket.delete(f"{self._folder.prepared}{name}")

    def forget_up_to(self, epoch: int) -> None:
        """Remove the notes of epochs up to `epoch`, of which no upload is left."""
        uploads = {upload for upload, _ in self._uploads()}
        for name, note in self._notes():
            if name.epoch <= epoch and not uploads & {each[:2] for each in note.uploads}:
                self.forget([name])

    def _uploads(self) -> Iterator[tuple[tuple[str, str], FileName]]:
        for upload in self._bucket.uploads():
            name = FileName.parse(upload[0])
            if name is not None and (name.lineage, name.sink) == self._folder:
                yield upload, name

    def _notes(self) -> Iterator[tuple[SealName, UploadNote]]:
        for text in list(self._bucket.names(self._folder.prepared)):
            name = SealName.parse(text)
            found = None if name is None else self._bucket.get(f"{self._folder.prepared}{text}")
            if name is not None and found is not None:
                yield name, UploadNote.parse(found[0])

    def _is_published(self, epoch: int, uploads: set[tuple[str, str]]) -> bool:
        manifest = self._manifests.find(epoch)
        published = set() if manifest is None else {file.key for file in manifest.files}
        return any(key in published for key, _ in uploads)

    def _remove(self, epoch: int, prepared: Sequence[Prepared]) -> None:
        uploads = [upload for each in prepared for upload in UploadNote.parse(each.payload).uploads]
        # Once no upload is left, which objects are there is settled: a committer can make no more of them.
        for key, upload, _ in uploads:
            self._bucket.abort_upload(key, upload)
        token = max(each.token for each in prepared)
        visible = [found for key, _, author in uploads if author and (found := self._bucket.find(key)) is not None]
        if visible and not self._withdraw(epoch, token, [PublishedFile(*each[:3], 0, "") for each in visible]):
            return
        for each in visible:
            self._bucket.delete(each.key)
        self.forget(SealName(each.epoch, each.token, each.slot) for each in prepared if each.epoch)

    def _withdraw(self, epoch: int, token: int, files: Sequence[PublishedFile]) -> bool:
        """Make sure that no attempt up to `token` publishes `epoch`; False if one has."""
        withdrawn = EpochManifest(
            job=self._job,
            lineage=self._folder.lineage,
            sink=self._folder.sink,
            epoch=epoch,
            previous=0,
            withdrawn=token,
            files=tuple(files),
        )
        if self._manifests.create(withdrawn):
            return True
        found = self._manifests.get(epoch)
        published = set() if found is None or found.withdrawn else {file.key for file in found.files}
        return not published.intersection(file.key for file in files)
