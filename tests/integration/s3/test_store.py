"""What every checkpoint store promises, kept over a real S3 server; and what happens while it is away."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import CheckpointStore, ObjectStore, StoreMisnamed, StoreRefused, StoreUnavailable
from krishiv_guarantees import FailureDomain
from tests.unit.checkpoint_store.test_stores import *  # noqa: F403  the rules, for the fixture below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.s3.gateway import Gateway

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def bucket(s3: Gateway) -> str:
    return s3.new_bucket()


@pytest.fixture
def store(s3: Gateway, bucket: str) -> Iterator[CheckpointStore]:
    made = ObjectStore.at(f"s3://{bucket}/{uuid.uuid4().hex}", s3.options())
    yield made
    vars(made).clear()  # its connection, which pytest would keep beyond the look for leaks


def test_bucket_outlives_the_host(store: CheckpointStore) -> None:
    found = store.capabilities()
    assert (found.durable, found.conditional_create, found.fencing) == (True, True, True)
    assert found.survives is FailureDomain.HOST_LOSS
    assert store.list("") == []  # nothing remains of the trial


def test_large_blob_goes_in_parts_and_comes_back(store: CheckpointStore) -> None:
    data = os.urandom(40 << 20)  # beyond what is kept in memory, in parts
    with store.writer("state/1-1/a") as writer:
        writer.write(data[: 1 << 20])
        writer.write(memoryview(data)[1 << 20 :])
        file = writer.finish()
    assert file.size == len(data)
    assert bytes(read_verified(store, file)) == data  # noqa: F405


def test_many_keys_are_listed(store: CheckpointStore) -> None:
    keys = [f"log/{number:05}" for number in range(1_100)]  # more than a page
    for key in keys:
        store.create(key, b"")
    assert store.list("log/") == keys


def test_folders_are_the_first_parts_of_keys_that_have_more(store: ObjectStore) -> None:
    assert store.folders() == []
    for key in ("b/log/1", "a/state/1-1/x", "a/log/1", "alone"):
        store.create(key, b"")
    assert store.folders() == ["a", "b"]


def test_a_server_that_is_away_is_named_in_a_moment_and_served_again_later(own_s3: Gateway) -> None:
    store = ObjectStore.at(f"s3://{own_s3.new_bucket()}/job", own_s3.options())
    store.create("log/1", b"one")
    own_s3.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as raised:
        store.create("log/2", b"two")
    assert raised.value.hint
    with pytest.raises(StoreUnavailable):
        store.get("log/1")
    assert time.monotonic() - began < 20
    own_s3.start_gateway()
    assert bytes(store.get("log/1")) == b"one"
    store.create("log/2", b"two")


def test_wrong_credentials_are_refused_and_not_shown(s3: Gateway, bucket: str) -> None:
    store = ObjectStore.at(f"s3://{bucket}/job", {**s3.options(), "aws_secret_access_key": "canary-41"})
    with pytest.raises(StoreRefused) as raised:
        store.create("log/1", b"one")
    assert "canary-41" not in str(raised.value)
    assert "canary-41" not in repr(store)


@pytest.mark.parametrize(
    ("url", "options"), [("ftp://host/place", {}), ("s3://bucket/job", {"aws_acess_key_id": "typo"}), ("s3://", {})]
)
def test_addresses_that_are_none_are_refused_at_once(url: str, options: dict[str, str]) -> None:
    with pytest.raises(StoreMisnamed) as raised:
        ObjectStore.at(url, options)
    assert raised.value.hint
