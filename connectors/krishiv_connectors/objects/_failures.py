"""What the server's errors mean (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from krishiv_connectors._extras import need
from krishiv_connectors.objects._errors import (
    BucketElsewhere,
    BucketFailed,
    BucketMissing,
    BucketRefused,
    BucketUnavailable,
    ClockSkew,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_guarantees import KrishivError

__all__ = ["DAMAGED", "GONE", "TAKEN", "code_of", "no_answer", "s3_errors", "translated"]

GONE = frozenset(("NoSuchUpload", "NoSuchKey", "404", "NotFound"))
"""What is said of an upload or an object that is not there. Ceph says NoSuchKey of uploads, too."""
TAKEN = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict"))
"""What is said where a key was to be free, or an object to be another one."""
DAMAGED = frozenset(("InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML", "InvalidRequest"))
"""What is said of parts that are not those that are to be put together."""

_KEYS = frozenset(
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired")
)
_REGION = frozenset(("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"))
_PASSING = frozenset(
    (
        "InternalError",
        "SlowDown",
        "ServiceUnavailable",
        "RequestTimeout",
        "Throttling",
        "TooManyRequests",
        "XMinioServerNotInitialized",
    )
)
_RIGHTS = (
    "give these credentials s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, "
    "s3:AbortMultipartUpload, s3:ListMultipartUploadParts and s3:DeleteObject below the prefix"
)
_RESUMES = "then run the job again: it resumes from its last checkpoint"


def code_of(error: Any) -> str:
    """Return S3's name of an error; of an answer without a body, its status; nothing where there was no answer."""
    answer = getattr(error, "response", None) or {}  # None in errors of a broken connection
    return str(answer.get("Error", {}).get("Code", ""))


def no_answer(error: Exception) -> bool:
    """Whether nothing is known of what the server did: it did not answer, or answered that something broke in it."""
    return not isinstance(error, _library().ClientError) or _status(error) >= 500 or code_of(error) in _PASSING


@contextmanager
def s3_errors(place: str) -> Generator[None]:
    """Raise the client's errors about `place` as ours."""
    library = _library()
    try:
        yield
    except (library.ClientError, library.BotoCoreError) as error:
        raise translated(error, place) from error


def translated(error: Any, place: str) -> KrishivError:
    """Return an error of botocore as one of ours. None of its texts holds a secret: requests are not among them."""
    library = _library()
    if isinstance(error, (library.NoCredentialsError, library.PartialCredentialsError)):
        return BucketRefused(
            f"{place}: there are no credentials",
            hint="pass storage=ks.S3(access_key=, secret_key=), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            place=place,
            error=type(error).__name__,
        )
    if not isinstance(error, library.ClientError):
        return _unavailable(place, _first_line(error), type(error).__name__)
    return _of_answer(error, place)


def _library() -> Any:
    return need("botocore.exceptions", "s3")


def _of_answer(error: Any, place: str) -> KrishivError:
    code, status = code_of(error), _status(error)
    text = f"{place}: {_said(error)}"
    fields: dict[str, Any] = {"place": place, "error": code}
    if code == "NoSuchBucket":
        return BucketMissing(text, hint="make the bucket, or mend its name", place=place)
    if code == "RequestTimeTooSkewed":
        return ClockSkew(text, hint="set this machine's clock: let it follow a time server", place=place)
    if code in _REGION or (code == "400" and _region(error)):
        region = _region(error)
        hint = (
            f"pass storage=ks.S3(region={region!r})" if region else "pass storage=ks.S3(region=...), the bucket's own"
        )
        return BucketElsewhere(text, hint=hint, place=place, region=region)
    if code in _KEYS:
        return BucketRefused(text, hint="check access_key, secret_key and session_token", **fields)
    if status in (401, 403):
        return BucketRefused(text, hint=_RIGHTS, **fields)
    if status >= 500 or status == 429 or code in _PASSING:
        return _unavailable(place, _said(error), code)
    return BucketFailed(text, hint=f"mend the cause, {_RESUMES}", **fields)


def _unavailable(place: str, said: str, error: str) -> BucketUnavailable:
    hint = "see that the endpoint is up and can be reached from here"
    return BucketUnavailable(f"{place}: {said}", hint=hint, place=place, error=error)


def _said(error: Any) -> str:
    operation = getattr(error, "operation_name", "request")
    message = error.response.get("Error", {}).get("Message") or ""
    return f"{operation}: {code_of(error)}{': ' if message else ''}{message}"


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _region(error: Any) -> str | None:
    answer = error.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return region


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
