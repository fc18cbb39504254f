"""What every checkpoint store promises, kept over a real S3 server; and what happens while it is away."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import CheckpointStore, ObjectStore, StoreMisnamed, StoreRefused, StoreUnavailable
from krishiv_connectors.objects._bucket import BucketAddress
from krishiv_guarantees import FailureDomain
from tests.integration.jobs import wait_until
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.s3_proxy import S3Proxy, is_part
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


def test_parts_of_a_large_blob_come_over_several_connections(s3: Gateway, bucket: str) -> None:
    data = os.urandom(33 << 20)
    with S3Proxy(s3.endpoint, lambda *_: False, forward=True) as proxy:
        store = ObjectStore.at(f"s3://{bucket}/{uuid.uuid4().hex}", s3.options() | {"aws_endpoint": proxy.endpoint})
        with store.writer("state/1-1/a") as writer:
            writer.write(data)
            file = writer.finish()
        proxy.most_at_once = 0
        assert bytes(read_verified(store, file)) == data  # noqa: F405
        assert proxy.most_at_once > 2
        del store


def test_a_part_that_is_lost_on_its_way_is_fetched_again(s3: Gateway, bucket: str) -> None:
    data = os.urandom(33 << 20)
    with S3Proxy(s3.endpoint, lambda method, _: method == "GET", forward=True) as proxy:
        store = ObjectStore.at(f"s3://{bucket}/{uuid.uuid4().hex}", s3.options() | {"aws_endpoint": proxy.endpoint})
        with store.writer("state/1-1/a") as writer:
            writer.write(data)
            file = writer.finish()
        assert bytes(read_verified(store, file)) == data  # noqa: F405
        assert proxy.lost
        del store


def test_final_blob_is_on_its_way_before_it_is_finished(s3: Gateway, bucket: str) -> None:
    with S3Proxy(s3.endpoint, is_part, forward=True, every=1_000) as proxy:
        store = ObjectStore.at(f"s3://{bucket}/{uuid.uuid4().hex}", s3.options() | {"aws_endpoint": proxy.endpoint})
        with store.writer("state/1-1/a", final=True) as writer:
            writer.write(os.urandom(20 << 20))
            wait_until(lambda: proxy.seen >= 2)
            assert store.list("") == []
            writer.finish()
        assert store.list("") == ["state/1-1/a"]
        del store


def test_upload_that_is_given_up_leaves_no_parts(s3: Gateway) -> None:
    bucket = s3.new_bucket()
    store = ObjectStore.at(f"s3://{bucket}/job", s3.options())
    with store.writer("state/1-1/a", final=True) as writer:
        writer.write(os.urandom(20 << 20))
    given = ks.S3(endpoint=s3.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1")
    with closing(BucketAddress(f"s3://{bucket}/job", given).open()) as direct:
        assert list(direct.uploads()) == []


def test_final_blob_whose_server_dies_meanwhile_is_an_error_soon(own_s3: Gateway) -> None:
    store = ObjectStore.at(f"s3://{own_s3.new_bucket()}/job", own_s3.options())
    began = time.monotonic()

    def write() -> None:
        with store.writer("state/1-1/a", final=True) as writer:
            writer.write(os.urandom(20 << 20))
            own_s3.kill()
            for _ in range(1_000):
                writer.write(bytes(1 << 20))

    with pytest.raises(StoreUnavailable):
        write()
    assert time.monotonic() - began < 30
    own_s3.start_gateway()
    with store.writer("state/1-1/b", final=True) as writer:
        writer.write(bytes(20 << 20))
        writer.finish()
    assert store.list("") == ["state/1-1/b"]


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
