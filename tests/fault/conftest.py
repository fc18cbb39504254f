"""Jobs that are killed, some of them on a real Kafka broker."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault.kafka_jobs import KafkaJob, kafka_job
from tests.services.fixtures import kafka, new_broker, own_kafka, topic

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

__all__ = ["kafka", "new_broker", "own_kafka", "topic"]


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
