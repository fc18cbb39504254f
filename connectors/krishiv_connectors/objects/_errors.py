"""Errors of the connectors over S3 (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── BadBucketUrl         an address is no ``s3://bucket/prefix``, or a size or pattern in it is not understood
    ├── BucketMissing        there is no such bucket
    ├── BucketRefused        the server does not let these credentials in
    ├── BucketElsewhere      the bucket is in another region
    ├── BucketUnfit          the server or the bucket lacks what exactly-once output needs
    └── ClockSkew            this machine's clock and the server's differ too much
    RetriableError
    └── BucketUnavailable    the server does not answer, or cannot just now
    FatalError
    ├── BucketFailed         the server refused a request for good
    ├── UploadAborted        an upload is gone while its writer still writes: another attempt has taken over
    ├── UploadLost           an upload that was prepared is gone, and its object is not there
    ├── UploadDamaged        the parts of an upload are not those that were prepared
    ├── ObjectTaken          an object of somebody else lies under the key of a prepared file
    ├── EpochTaken           an epoch's manifest lists other files than were prepared
    ├── ManifestUnreadable   a manifest is damaged, or was written by a newer version
    ├── ObjectChanged        an object is not the one that was read before
    └── ObjectVanished       an object that is to be read is gone
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

__all__ = [
    "BadBucketUrl",
    "BucketElsewhere",
    "BucketFailed",
    "BucketMissing",
    "BucketRefused",
    "BucketUnavailable",
    "BucketUnfit",
    "ClockSkew",
    "EpochTaken",
    "ManifestUnreadable",
    "ObjectChanged",
    "ObjectTaken",
    "ObjectVanished",
    "UploadAborted",
    "UploadDamaged",
    "UploadLost",
]


class BadBucketUrl(ConfigurationError):
    """An address is no ``s3://bucket/prefix``. Field: `url`."""

    code = "KS-S3-URL"


class BucketMissing(ConfigurationError):
    """There is no such bucket. Field: `place`."""

    code = "KS-S3-BUCKET"


class BucketRefused(ConfigurationError):
    """The server does not let these credentials in, or not do what is asked. Fields: `place`, `error`."""

    code = "KS-S3-REFUSED"


class BucketElsewhere(ConfigurationError):
    """The bucket is in another region than the requests were signed for. Fields: `place`, `region` where known."""

    code = "KS-S3-REGION"


class BucketUnfit(ConfigurationError):
    """The server or the bucket lacks what exactly-once output needs. Fields: `place`, `lacks`."""

    code = "KS-S3-UNFIT"


class ClockSkew(ConfigurationError):
    """This machine's clock and the server's differ by more than the server accepts. Field: `place`."""

    code = "KS-S3-CLOCK"


class BucketUnavailable(RetriableError):
    """The server does not answer, or answers that it cannot just now. Fields: `place`, `error`."""

    code = "KS-S3-UNAVAILABLE"


class BucketFailed(FatalError):
    """The server refused a request for good. Fields: `place`, `error` (S3's name of it)."""

    code = "KS-S3"


class UploadAborted(FatalError):
    """An upload is gone while its writer still writes: another attempt has taken over. Field: `place`."""

    code = "KS-S3-UPLOAD-ABORTED"


class UploadLost(FatalError):
    """A prepared upload was aborted or has expired: its rows are lost there. Fields: `place`, `epoch`."""

    code = "KS-S3-UPLOAD-LOST"


class UploadDamaged(FatalError):
    """The parts of an upload, or the object made of them, are not what was prepared. Fields: `place`, `epoch`."""

    code = "KS-S3-UPLOAD-DAMAGED"


class ObjectTaken(FatalError):
    """An object of somebody else lies under the key of a prepared file. Fields: `place`, `epoch`."""

    code = "KS-S3-KEY-TAKEN"


class EpochTaken(FatalError):
    """An epoch's manifest lists other files than were prepared for it. Fields: `place`, `epoch`."""

    code = "KS-S3-EPOCH-TAKEN"


class ManifestUnreadable(FatalError):
    """A manifest is damaged, or was written by a newer version. Field: `place`."""

    code = "KS-S3-MANIFEST"


class ObjectChanged(FatalError):
    """An object is not the one that was read before, or that its epoch lists. Field: `place`."""

    code = "KS-S3-CHANGED"


class ObjectVanished(FatalError):
    """An object that is to be read is gone. Field: `place`."""

    code = "KS-S3-VANISHED"
