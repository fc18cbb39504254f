"""Fixtures for tests that need a Kafka broker: a ``conftest.py`` imports those that its folder needs.

Their tests carry ``@pytest.mark.server("kafka")``: without a broker they are skipped, or fail where it was promised.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services.kafka.broker import Broker, Unavailable
from tests.services.kafka.shared import SharedBroker, attach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NewBroker", "NewNamedTopic", "create_topic", "kafka", "new_broker", "own_kafka", "topic"]

_PATIENCE = 30.0  # seconds


class NewNamedTopic(Protocol):
    """Makes a topic with a name of its own on the shared broker, and returns the name."""

    def __call__(self, partitions: int = 1, **settings: object) -> str: ...


class NewBroker(Protocol):
    """Starts a broker with the arguments of `Broker`, closed at the end of the test."""

    def __call__(self, **options: object) -> Broker: ...


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SharedBroker:
    """The broker that all tests of the run share, in whichever of its processes they run."""
    base, run = tmp_path_factory.getbasetemp(), os.getpid()
    if hasattr(request.config, "workerinput"):  # a worker of xdist, in a folder of its own
        base, run = base.parent, os.getppid()
    try:
        return attach(base / "kafka", run)
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def new_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewBroker]:
    """A factory of brokers of the test's own; their logs stay in pytest's temporary folder."""
    with ExitStack() as started:

        def start(**options: object) -> Broker:
            broker = Broker(tmp_path_factory.mktemp("own-kafka"), **options)  # type: ignore[arg-type]  # as its caller says
            started.callback(broker.discard)
            try:
                return broker.start()
            except Unavailable as missing:
                pytest.skip(str(missing))

        yield start


@pytest.fixture
def own_kafka(new_broker: NewBroker) -> Broker:
    """A broker of the test's own, which it may stop, kill and pause."""
    return new_broker()


@pytest.fixture
def topic(kafka: SharedBroker) -> NewNamedTopic:
    """A factory of topics on the shared broker."""

    def make(partitions: int = 1, **settings: object) -> str:
        return create_topic(kafka.client(), partitions, **settings)

    return make


def create_topic(client: Mapping[str, str | int | float | bool], partitions: int = 1, **settings: object) -> str:
    """Make a topic with a name of its own, wait until every partition has a leader, and return its name.

    Parameters
    ----------
    client : Mapping
        Settings of a client: ``broker.client()``.
    partitions : int
        How many it gets.
    **settings : object
        Settings of the topic, with ``_`` for ``.``: ``cleanup_policy="compact"``.
    """
    admin = AdminClient(dict(client))
    name = f"t-{uuid.uuid4().hex[:12]}"
    config = {key.replace("_", "."): str(value) for key, value in settings.items()}
    created = admin.create_topics([NewTopic(name, partitions, 1, config=config)], operation_timeout=_PATIENCE)
    created[name].result(_PATIENCE)
    deadline = time.monotonic() + _PATIENCE
    while not _is_led(admin, name, partitions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"topic {name} has no leaders")
        time.sleep(0.02)
    return name


def _is_led(admin: AdminClient, name: str, partitions: int) -> bool:
    described = admin.list_topics(name, timeout=_PATIENCE).topics[name]
    leaders = [partition.leader for partition in described.partitions.values() if partition.error is None]
    return len(leaders) == partitions and min(leaders) >= 0
