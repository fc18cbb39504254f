"""A bucket below a prefix: the few requests of S3 that are made, and what is known when one fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from krishiv_connectors._extras import need
from krishiv_connectors._secrets import Secret
from krishiv_connectors.objects._errors import BadBucketUrl, UploadAborted
from krishiv_connectors.objects._failures import GONE, TAKEN, code_of, s3_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from krishiv_connectors._storage import S3

__all__ = ["CLIENT_LIBRARY", "Bucket", "BucketAddress", "Found", "split_url"]

CLIENT_LIBRARY = "botocore"
AUTHOR = "krishiv-author"
"""The metadata by which an object is known to be of a certain upload."""

_URL = re.compile(r"s3://([^/]+)(?:/(.*))?", re.DOTALL)
_TRIES = 7  # with pauses up to about half a minute
_CONNECTIONS = 32


class Found(NamedTuple):
    """An object as it is: `etag` without quotes, `size` in bytes; `author` is empty where it was not asked for."""

    key: str
    etag: str
    size: int
    author: str = ""


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``.

    Raises
    ------
    BadBucketUrl
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise BadBucketUrl(f"{url!r} is no address in S3", hint="write s3://bucket/prefix", url=url)
    return match[1], match[2] or ""


class BucketAddress:
    """Where objects are, and who may open them. Prints without secrets.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    storage : S3 or None
        None: what the environment says, as AWS's own tools take it.
    """

    def __init__(self, url: str, storage: S3 | None) -> None:
        self.bucket, path = split_url(url)
        path = path.strip("/")
        self.prefix = f"{path}/" if path else ""
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._storage = storage

    def __repr__(self) -> str:
        return repr(self.url)

    def open(self) -> Bucket:
        """Return the bucket; nothing is asked of the server yet.

        Raises
        ------
        MissingExtra, SecretMissing
        """
        return Bucket(self, _client(self._storage, _TRIES), lambda: _client(self._storage, 1))


def _client(storage: S3 | None, tries: int) -> Any:
    """Return botocore's client. It may be used by several threads at once."""
    session = need("botocore.session", "s3", what="an object in S3").Session()
    endpoint = None if storage is None else storage.endpoint
    config = need("botocore.config", "s3").Config(
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": tries, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Checksums beyond what S3 requires are not understood by all servers; bodies are signed, or go through TLS.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = None if storage is None else storage.region
    options: dict[str, Any] = {}
    if storage is not None:
        options = {
            "endpoint_url": endpoint,
            "aws_access_key_id": _reveal(storage.access_key),
            "aws_secret_access_key": _reveal(storage.secret_key),
            "aws_session_token": _reveal(storage.session_token),
        }
    if region is None and endpoint is not None:
        region = session.get_config_variable("region") or "us-east-1"  # a server of one's own is in none, mostly
    with s3_errors(endpoint or "S3"):
        return session.create_client("s3", region_name=region, config=config, **options)


def _reveal(value: Secret | str | None) -> str | None:
    return value.reveal() if isinstance(value, Secret) else value


class Bucket:
    """Objects of one bucket below one prefix; keys are relative to it. Every method may raise what `s3_errors` lists.

    Parameters
    ----------
    client : botocore client
        Closed by `close`.
    once : callable
        Makes a client that tries nothing twice.
    """

    def __init__(self, address: BucketAddress, client: Any, once: Callable[[], Any]) -> None:
        self._address = address
        self._client = client
        self._make_once = once
        self._once: Any = None

    def place(self, key: str = "") -> str:
        """How messages name an object."""
        return f"{self._address.url}/{key}".rstrip("/")

    def close(self) -> None:
        """Close connections."""
        self._client.close()
        if self._once is not None:
            self._once.close()

    # ---------------------------------------------------------------- objects

    def find(self, key: str) -> Found | None:
        """Return what lies under `key`, or None."""
        with s3_errors(self.place(key)):
            try:
                answer = self._client.head_object(**self._at(key))
            except self._client.exceptions.ClientError as error:
                if code_of(error) in GONE:
                    return None
                raise
        return Found(key, _etag(answer), answer["ContentLength"], answer.get("Metadata", {}).get(AUTHOR, ""))

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return an object and its ETag, or None if it is not there."""
        with s3_errors(self.place(key)):
            try:
                answer = self._client.get_object(**self._at(key))
            except self._client.exceptions.ClientError as error:
                if code_of(error) in GONE:
                    return None
                raise
            return answer["Body"].read(), _etag(answer)

    def get_range(self, key: str, span: str, etag: str | None) -> tuple[bytes, str, int] | None:
        """Return bytes of an object, its ETag and its size; None if it is gone or, where `etag` is given, another.

        Parameters
        ----------
        span : str
            ``"first-last"`` or ``"-count"``, as HTTP has it.
        """
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
        with s3_errors(self.place(key)):
            try:
                answer = self._client.get_object(**self._at(key), Range=f"bytes={span}", **condition)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in GONE | TAKEN:
                    return None
                raise
            size = int(answer["ContentRange"].rpartition("/")[2])
            return answer["Body"].read(), _etag(answer), size

    def create(self, key: str, data: bytes) -> bool:
        """Put `data` under `key` if it is free; False if it is taken, perhaps by an earlier try of this very call."""
        with s3_errors(self.place(key)):
            try:
                self._client.put_object(**self._at(key), Body=data, IfNoneMatch="*")
            except self._client.exceptions.ClientError as error:
                if code_of(error) in TAKEN:
                    return False
                raise
        return True

    def put(self, key: str, data: bytes) -> None:
        """Put `data` under `key`, whatever is there."""
        with s3_errors(self.place(key)):
            self._client.put_object(**self._at(key), Body=data)

    def delete(self, key: str) -> None:
        """Remove `key` if it is there."""
        with s3_errors(self.place(key)):
            self._client.delete_object(**self._at(key))

    def list(self, prefix: str = "") -> Iterator[Found]:
        """Give all objects whose keys begin with `prefix`, by key."""
        for page in self._pages("list_objects_v2", prefix):
            for each in page.get("Contents", ()):
                yield Found(self._relative(each["Key"]), each["ETag"].strip('"'), each["Size"])

    def names(self, folder: str) -> Iterator[str]:
        """Give what is directly in `folder`, which ends in a slash: names of objects, of folders with their slash."""
        for page in self._pages("list_objects_v2", folder, Delimiter="/"):
            keys = [each["Key"] for each in page.get("Contents", ())]
            keys += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            for key in sorted(keys):
                yield self._relative(key)[len(folder) :]

    # ---------------------------------------------------------------- uploads

    def uploads(self) -> Iterator[tuple[str, str]]:
        """Give key and id of each upload that is neither completed nor aborted."""
        for page in self._pages("list_multipart_uploads", ""):
            for each in page.get("Uploads", ()):
                yield self._relative(each["Key"]), each["UploadId"]

    def begin_upload(self, key: str, author: str) -> str:
        """Return the id of a new upload."""
        with s3_errors(self.place(key)):
            answer = self._client.create_multipart_upload(
                **self._at(key), Metadata={AUTHOR: author}, ContentType="application/vnd.apache.parquet"
            )
        return str(answer["UploadId"])

    def upload_part(self, key: str, upload: str, number: int, data: bytes | memoryview | IO[bytes]) -> str:
        """Upload part `number`, from 1 on; return its ETag, without quotes.

        Raises
        ------
        UploadAborted
        """
        place = self.place(key)
        with s3_errors(place):
            try:
                return _etag(self._client.upload_part(**self._at(key), UploadId=upload, PartNumber=number, Body=data))
            except self._client.exceptions.ClientError as error:
                if code_of(error) in GONE:
                    raise UploadAborted(
                        f"the upload of {place} was aborted while it was written",
                        hint="another attempt of this job has taken over, and this one must stop; if there is none, "
                        "somebody aborted it: run the job again, it resumes from its last checkpoint",
                        place=place,
                    ) from error
                raise

    def complete(self, key: str, upload: str, parts: Sequence[str]) -> str:
        """Put the parts together, unless the key is taken; return the ETag, or nothing if the server does not say it.

        Raises
        ------
        botocore's own errors
            What they mean only a look at the object tells; so nothing is tried twice before that.
        """
        if self._once is None:
            self._once = self._make_once()
        wanted = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(parts, 1)]
        answer = self._once.complete_multipart_upload(
            **self._at(key), UploadId=upload, MultipartUpload={"Parts": wanted}, IfNoneMatch="*"
        )
        return _etag(answer)

    def is_open(self, key: str, upload: str) -> bool:
        """Whether an upload is neither completed nor aborted."""
        with s3_errors(self.place(key)):
            try:
                self._client.list_parts(**self._at(key), UploadId=upload, MaxParts=1)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in GONE:
                    return False
                raise
        return True

    def abort_upload(self, key: str, upload: str) -> None:
        """Discard an upload and its parts, if it is there."""
        with s3_errors(self.place(key)):
            try:
                self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
            except self._client.exceptions.ClientError as error:
                if code_of(error) not in GONE:
                    raise

    # ---------------------------------------------------------------- the bucket

    def lifecycle(self) -> Sequence[dict[str, Any]]:
        """Return the bucket's lifecycle rules; none if it has none."""
        with s3_errors(f"s3://{self._address.bucket}"):
            try:
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._address.bucket)
            except self._client.exceptions.ClientError as error:
                if code_of(error) in ("NoSuchLifecycleConfiguration", "NotImplemented"):
                    return []
                raise
        rules: Sequence[dict[str, Any]] = answer.get("Rules", [])
        return rules

    # ---------------------------------------------------------------- inside

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": self._address.prefix + key}

    def _relative(self, key: str) -> str:
        return key[len(self._address.prefix) :]

    def _pages(self, operation: str, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        with s3_errors(self.place(prefix)):
            yield from self._client.get_paginator(operation).paginate(
                Bucket=self._address.bucket, Prefix=self._address.prefix + prefix, **options
            )


def _etag(answer: Any) -> str:
    return str(answer.get("ETag", "")).strip('"')
