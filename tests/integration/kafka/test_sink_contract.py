"""The exactly-once Kafka sink keeps the contract of every two-phase sink (P11, P13, P14, P15), at a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import FilesystemStore
from tests.integration.kafka.sinks import target_at
from tests.unit.sinks.contract import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")


@pytest.mark.parametrize("check", CHECKS)
def test_kafka_sink_keeps_the_contract(kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Path, check: str) -> None:
    store = FilesystemStore(tmp_path / "store")
    CHECKS[check](target_at(kafka.client(), topic(2), store, tmp_path / "store"))
