"""Whether a bucket can hold exactly-once output: what is tried out, and what its rules say."""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from krishiv_connectors.objects._errors import BucketFailed, BucketRefused, BucketUnfit
from krishiv_connectors.objects._names import MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["check_conditional_create", "rules_that_hurt", "warn_of_rules"]

_LOG = logging.getLogger(__name__)
_DAYS = 7
"""A job that stands still for so long, over a holiday, should find its uploads still there."""


def check_conditional_create(bucket: Bucket) -> None:
    """Create an object twice: the second time has to be refused.

    Raises
    ------
    BucketUnfit
        If the server takes the condition and ignores it, or does not take it.
    """
    key = f"{MANIFESTS}probes/{uuid.uuid4().hex}"
    try:
        created = [bucket.create(key, b""), bucket.create(key, b"")]
    except BucketFailed as error:
        raise _unfit(bucket, f"it refuses a conditional PUT: {error.message}") from error
    finally:
        with suppress(BucketRefused, BucketFailed):
            bucket.delete(key)
    if created != [True, False]:
        raise _unfit(bucket, "it overwrites an object that was to be created only if it is not there")


def _unfit(bucket: Bucket, why: str) -> BucketUnfit:
    return BucketUnfit(
        f"the server of {bucket.place()} cannot mark an epoch as published by one writer alone: {why}",
        hint="use a server with conditional writes (If-None-Match on PutObject): Amazon S3, MinIO, Ceph, R2 have them",
        place=bucket.place(),
        lacks="conditional create",
    )


def warn_of_rules(bucket: Bucket, prefix: str) -> None:
    """Log which of the bucket's rules can destroy output. Where they may not be read, nothing is said."""
    try:
        rules = bucket.lifecycle()
    except (BucketRefused, BucketFailed) as error:
        _LOG.debug("the lifecycle rules of %s cannot be read: %s", bucket.place(), error)
        return
    for warning in rules_that_hurt(rules, prefix):
        _LOG.warning("%s: %s", bucket.place(), warning)


def rules_that_hurt(rules: Sequence[dict[str, Any]], prefix: str) -> Iterator[str]:
    """Give what lifecycle rules do to output below `prefix`, as sentences."""
    for rule in rules:
        if rule.get("Status") != "Enabled" or not _touches(rule, prefix):
            continue
        name = rule.get("ID", "without a name")
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        if days is not None and days < _DAYS:
            yield (
                f"lifecycle rule {name} aborts uploads after {days} days: a job that is started again later than that "
                f"finds the epoch that it had prepared lost. Let it wait for {_DAYS} days or more"
            )
        if "Expiration" in rule and not rule["Expiration"].get("ExpiredObjectDeleteMarker"):
            yield (
                f"lifecycle rule {name} removes objects, {MANIFESTS} among them: once the newest manifest is gone, the "
                "job is refused. Limit it to other prefixes or to a tag"
            )


def _touches(rule: dict[str, Any], prefix: str) -> bool:
    filter_: dict[str, Any] = rule.get("Filter", {})
    both: dict[str, Any] = filter_.get("And", {})
    if "Tag" in filter_ or both.get("Tags"):
        return False  # neither uploads nor manifests carry tags
    of_rule = str(rule.get("Prefix") or filter_.get("Prefix") or both.get("Prefix") or "")
    return of_rule.startswith(prefix) or prefix.startswith(of_rule)
