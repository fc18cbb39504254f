"""Publishing epochs: their uploads are completed, then their manifest is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import CommitOutcome, Mark, failpoint
from krishiv_connectors.objects._completing import complete_all
from krishiv_connectors.objects._errors import EpochTaken, ObjectTaken, UploadDamaged, UploadLost
from krishiv_connectors.objects._leftovers import Leftovers
from krishiv_connectors.objects._manifests import GROUP, Manifests
from krishiv_connectors.objects._names import MANIFESTS, Folder, SealName
from krishiv_connectors.objects._records import EpochManifest, PreparedSlot, PublishedFile
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_checkpoint import Committable
    from krishiv_connectors.objects._bucket import Bucket
    from krishiv_connectors.objects._records import PreparedFile

__all__ = ["EpochCommitter", "marks_of"]

_LOST = (UploadLost, UploadDamaged, ObjectTaken, EpochTaken)


class EpochCommitter:
    """Commits the epochs of one sink of one lineage."""

    def __init__(self, bucket: Bucket, folder: Folder, job: str) -> None:
        self._bucket, self._folder, self._job = bucket, folder, job
        self._manifests = Manifests(bucket, folder)
        self.leftovers = Leftovers(bucket, folder, self._manifests, job)
        self._newest: int | None = None
        """The newest published epoch, as this committer knows it; None until it has looked."""
        self._tidied = -1
        """The group of epochs up to which manifests were put together."""

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Publish exactly what `committables` list."""
        try:
            return self._commit(epoch, committables)
        except RetriableError as error:
            self._newest = None
            return CommitOutcome.retry(error.message, error.after)
        except _LOST as error:
            return CommitOutcome.failed(str(error))

    def _commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        files = [file for each in committables for file in PreparedSlot.parse(each.payload).files]
        newest = self._newest if self._newest is not None else self.last_applied() or 0
        if newest >= epoch:
            return self._published_before(epoch, committables, files)
        previous = max(each.previous for each in committables)
        if newest < previous:
            return CommitOutcome.failed(f"the newest manifest in {self._place} is of epoch {newest}, not of {previous}")
        failpoint("commit.during")
        published = complete_all(self._bucket, epoch, files)
        manifest = EpochManifest(
            job=self._job,
            lineage=self._folder.lineage,
            sink=self._folder.sink,
            epoch=epoch,
            previous=previous,
            files=tuple(sorted(published, key=lambda file: file.key)),
        )
        created = self._publish(manifest, min(each.token for each in committables))
        failpoint("commit.during")
        self._newest = epoch
        self._tidy(epoch, committables)
        return CommitOutcome.done() if created else CommitOutcome.already_done()

    def _publish(self, manifest: EpochManifest, token: int) -> bool:
        """Create the manifest; False if it is there already."""
        if self._manifests.create(manifest):
            return True
        found = self._manifests.get(manifest.epoch)
        if found is not None and found.withdrawn and found.withdrawn < token:
            self._manifests.replace(manifest)  # an epoch that was taken back, whose id returned
            return True
        if found is None or not found.same_as(manifest):
            raise self._taken(manifest.epoch)
        return False

    def _published_before(
        self, epoch: int, committables: Sequence[Committable], files: Sequence[PreparedFile]
    ) -> CommitOutcome:
        found = self._manifests.find(epoch)
        expected = sorted((file.key, file.size) for file in files)
        if found is None or found.withdrawn or sorted((file.key, file.size) for file in found.files) != expected:
            raise self._taken(epoch)
        self._tidy(epoch, committables)
        return CommitOutcome.already_done()

    def _tidy(self, epoch: int, committables: Sequence[Committable]) -> None:
        """Remove what the published epoch no longer needs. That may come late: it fails nothing."""
        try:
            self.leftovers.forget(
                SealName(each.epoch, each.token, each.slot)
                for each in committables
                if PreparedSlot.parse(each.payload).files
            )
            if epoch // GROUP > self._tidied:
                if self._tidied < 0:
                    self.leftovers.forget_up_to(epoch)
                self._manifests.condense(epoch)
                self._tidied = epoch // GROUP
        except RetriableError:
            return

    def last_applied(self) -> int | None:
        """Return the newest published epoch, or None."""
        found = self._manifests.newest()
        self._newest = 0 if found is None else found.epoch
        return None if found is None else found.epoch

    def rewind(self, epoch: int, token: int) -> bool:
        """Withdraw every epoch above `epoch`, the newest first. False if manifests up there were put together."""
        if any(name.last >= epoch for name in self._manifests.ranges()):
            return False
        self._newest = None
        for above in sorted(self._manifests.epochs(), reverse=True):
            if above <= epoch:
                break
            self._withdraw(above, token)
        return True

    def _withdraw(self, epoch: int, token: int) -> None:
        """Take an epoch back: first it is no mark any more, then its files go. Can be cut off and done again."""
        found = self._manifests.get(epoch)
        if found is None:
            return
        if not found.withdrawn:
            self._manifests.replace(_withdrawn(found, token))
        for file in found.files:
            self._bucket.delete(file.key)

    @property
    def _place(self) -> str:
        return self._bucket.place(str(self._folder))

    def _taken(self, epoch: int) -> EpochTaken:
        return EpochTaken(
            f"{self._bucket.place(self._folder.epoch(epoch))} does not publish what was prepared for epoch {epoch}",
            hint="another attempt of this job has published other rows as that epoch, or it was taken back: this one "
            "must stop. If no other runs, something else writes to the manifests",
            place=self._place,
            epoch=epoch,
        )


def _withdrawn(manifest: EpochManifest, token: int) -> EpochManifest:
    return EpochManifest(
        job=manifest.job,
        lineage=manifest.lineage,
        sink=manifest.sink,
        epoch=manifest.epoch,
        previous=manifest.previous,
        withdrawn=token,
        files=tuple(PublishedFile(file.key, file.etag, file.size, file.rows, file.sha256) for file in manifest.files),
    )


def marks_of(bucket: Bucket, job: str) -> list[Mark]:
    """Return the newest mark of each lineage and sink in an output that belongs to `job`."""
    found: list[Mark] = []
    for name in bucket.names(MANIFESTS):
        folder = Folder.parse(name)
        newest = None if folder is None else Manifests(bucket, folder).newest()
        if newest is not None and newest.job == job:
            found.append(Mark(newest.lineage, job, 0, newest.epoch))
    return found
