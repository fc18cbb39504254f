"""The benchmark over Kafka gives right outputs, and its checks notice wrong ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bench.kafka._runs import Run, spent_on
from bench.kafka._topics import Totals, check_copies, check_windows, fill, new_topic, totals

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka.shared import SharedBroker

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(120)]

ROWS = 120_000
"""More than a window holds."""


def test_our_runs_give_every_message_and_every_window(kafka: SharedBroker, tmp_path: Path) -> None:
    topic, copies, windows = (new_topic(kafka.bootstrap) for _ in range(3))
    wanted = fill(kafka.bootstrap, topic, ROWS)
    for name, output in (
        ("ours, JSON", new_topic(kafka.bootstrap)),
        ("ours, pass-through, exactly once", copies),
        ("ours, windows, exactly once", windows),
    ):
        assert spent_on(Run(name, kafka.bootstrap, topic, output, ROWS, str(tmp_path))).seconds > 0
    check_copies(kafka.bootstrap, copies, wanted)
    check_windows(kafka.bootstrap, windows, wanted, whole=True)
    with pytest.raises(AssertionError, match="1 are missing, 0 came twice"):
        check_copies(kafka.bootstrap, copies, totals(ROWS + 1))
    spoilt = Totals(ROWS, wanted.windows + Counter([(1, 1, 1)]), 0)
    with pytest.raises(AssertionError, match="1 are missing, 0 are wrong"):
        check_windows(kafka.bootstrap, windows, spoilt, whole=True)


def test_a_copy_that_came_twice_is_noticed(kafka: SharedBroker) -> None:
    topic = new_topic(kafka.bootstrap)
    wanted = fill(kafka.bootstrap, topic, 1_000)
    check_copies(kafka.bootstrap, topic, wanted)
    fill(kafka.bootstrap, topic, 10)
    with pytest.raises(AssertionError, match="0 are missing, 10 came twice"):
        check_copies(kafka.bootstrap, topic, wanted)
