"""Jobs that are killed, some of them on a real Kafka broker or a real PostgreSQL."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault.kafka_jobs import KafkaJob, kafka_job
from tests.services.fixtures import kafka, new_broker, own_kafka, topic
from tests.services.postgres.fixtures import database, own_postgres, postgres
from tests.services.s3.fixtures import own_s3, s3

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

__all__ = ["database", "kafka", "new_broker", "own_kafka", "own_postgres", "own_s3", "postgres", "s3", "topic"]


@pytest.fixture
def job(tmp_path: Path) -> Generator[Callable[..., KafkaJob]]:
    """Makes jobs; a topic that is written is watched all the time."""
    with ExitStack() as watching:

        def make(client: Mapping[str, Any], **options: Any) -> KafkaJob:
            made = kafka_job(tmp_path, client, **options)
            if options.get("sink") == "kafka":
                watching.enter_context(made.watched())
            return made

        yield make
