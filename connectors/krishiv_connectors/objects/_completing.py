"""Completing the uploads of an epoch, and finding out what became of them where the answer does not say it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import failpoint
from krishiv_connectors._extras import need
from krishiv_connectors.objects._errors import BucketUnavailable, ObjectTaken, UploadDamaged, UploadLost
from krishiv_connectors.objects._failures import DAMAGED, GONE, TAKEN, code_of, no_answer, translated
from krishiv_connectors.objects._records import PublishedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors.objects._bucket import Bucket, Found
    from krishiv_connectors.objects._records import PreparedFile

__all__ = ["complete_all"]

_AT_ONCE = 8


def complete_all(bucket: Bucket, epoch: int, files: Sequence[PreparedFile]) -> list[PublishedFile]:
    """Make `files` visible, each by completing its upload; those that are visible already stay as they are.

    Raises
    ------
    UploadLost, UploadDamaged, ObjectTaken
        If a file can never become what was prepared.
    BucketUnavailable
        If it may, at a later try.
    """
    published: list[PublishedFile] = []
    # One before the others: what stops all of them stops here. The failpoints are passed whatever there is to do.
    for some in (files[:1], files[1:]):
        with ThreadPoolExecutor(_AT_ONCE, "complete") as threads:
            published += threads.map(lambda file: _complete(bucket, epoch, file), some)
        failpoint("commit.during")
    return published


def _complete(bucket: Bucket, epoch: int, file: PreparedFile) -> PublishedFile:
    library = need("botocore.exceptions", "s3")
    try:
        etag = bucket.complete(file.key, file.upload, file.parts)
    except (library.ClientError, library.BotoCoreError) as error:
        etag = _look(bucket, epoch, file, error)
    return PublishedFile(file.key, etag or file.etag, file.size, file.rows, file.sha256)


def _look(bucket: Bucket, epoch: int, file: PreparedFile, error: Any) -> str:
    """Return the ETag of the object if it is there after all.

    A second completion finds no upload. So does one of an upload that was aborted or has expired, and Ceph then says
    that something broke, as it does while another completion is on its way: only the object itself tells them apart.
    """
    code = code_of(error)
    if not (code in GONE | TAKEN | DAMAGED or no_answer(error)):
        raise translated(error, bucket.place(file.key)) from error
    found = bucket.find(file.key)
    if found is not None and _is_meant(found, file):
        return found.etag
    if code in DAMAGED:
        raise _damaged(bucket, epoch, file, code) from error
    if found is not None and found.author == file.author:
        raise _damaged(bucket, epoch, file, f"the object has {found.size} bytes and ETag {found.etag}") from error
    if found is not None:
        raise _taken(bucket, epoch, found) from error
    if code in GONE or not bucket.is_open(file.key, file.upload):
        raise _lost(bucket, epoch, file) from error
    raise BucketUnavailable(
        f"{bucket.place(file.key)}: it is not known yet whether the upload was completed: {error}",
        hint="the commit is tried again",
        after=0.5,
        place=bucket.place(file.key),
        error=code or type(error).__name__,
    ) from error


def _is_meant(found: Found, file: PreparedFile) -> bool:
    return found.size == file.size and (found.author == file.author or found.etag == file.etag)


def _damaged(bucket: Bucket, epoch: int, file: PreparedFile, why: str) -> UploadDamaged:
    place = bucket.place(file.key)
    return UploadDamaged(
        f"{place} of epoch {epoch} is not what was prepared ({file.size} bytes, ETag {file.etag}): {why}",
        hint="something else writes to the job's uploads: stop it. Nothing of the epoch is in its manifest; restore a "
        'savepoint or begin anew with restore="none" to have its rows written again',
        place=place,
        epoch=epoch,
    )


def _lost(bucket: Bucket, epoch: int, file: PreparedFile) -> UploadLost:
    place = bucket.place(file.key)
    return UploadLost(
        f"the upload of {place} is gone, and the object is not there: {file.rows} rows of epoch {epoch} are lost in it",
        hint="a lifecycle rule (AbortIncompleteMultipartUpload) or somebody aborted it while it waited for its commit: "
        "let the rule wait for longer than a job may stand still. The rows can still be had from the source: restore a "
        'savepoint from before the epoch, or begin anew with restore="none" and another output',
        place=place,
        epoch=epoch,
    )


def _taken(bucket: Bucket, epoch: int, found: Found) -> ObjectTaken:
    place = bucket.place(found.key)
    return ObjectTaken(
        f"{place}, where a file of epoch {epoch} is to be, holds another one ({found.size} bytes, ETag {found.etag})",
        hint="move that object away, then run the job again: it resumes from its last checkpoint",
        place=place,
        epoch=epoch,
    )
