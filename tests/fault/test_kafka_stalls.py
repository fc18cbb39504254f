"""A network that stalls or breaks within a transaction, longer than the broker lets one be open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.services.processes import free_ports
from tests.support.tcp_proxy import END_TRANSACTION, PRODUCE, KafkaProxy

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.services.fixtures import NewBroker
    from tests.services.kafka.broker import Broker

pytestmark = [pytest.mark.server("kafka"), pytest.mark.fault, pytest.mark.timeout(180)]

_TIMEOUT = 2.0
"""Seconds after which the broker ends a transaction that is left open; it looks for them each second."""


@contextmanager
def proxied(new_broker: NewBroker) -> Generator[tuple[Broker, KafkaProxy, str]]:
    """Give a broker, a proxy before it, and where clients connect so that they come through the proxy."""
    (port,) = free_ports(1)
    broker = new_broker(proxy=port)
    with KafkaProxy(port, broker.hidden) as proxy:
        yield broker, proxy, f"127.0.0.1:{port}"


def stalled_job(job, broker, brokers):
    """Return a job that connects through the proxy, with short transactions; it is not restarted."""
    return job(
        broker.client(),
        brokers=brokers,
        shape="rows",
        sink="kafka",
        sink_options={"transaction_timeout": _TIMEOUT},
        restart_attempts=0,
    )


@pytest.mark.parametrize("request_", [PRODUCE, END_TRANSACTION], ids=["messages", "commit"])
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
@pytest.mark.parametrize("patience", [0.5, 3 * _TIMEOUT], ids=["shorter", "longer"])
def test_job_is_exact_when_the_network_stalls_within_a_transaction(job, new_broker, request_, forward, patience):
    """Shorter than the broker's patience, or longer: then it has ended the transaction by itself."""
    with proxied(new_broker) as (broker, proxy, brokers), ThreadPoolExecutor(1) as pool:
        stalled = stalled_job(job, broker, brokers)
        proxy.stall_at(request_, 6, forward=forward)
        finished = pool.submit(stalled.finish)
        assert proxy.stalled.wait(30)
        assert not _ends_within(finished, patience)
        proxy.resume()
        finished.result(120)
        stalled.check()


@pytest.mark.parametrize("request_", [PRODUCE, END_TRANSACTION], ids=["messages", "commit"])
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
def test_job_is_exact_when_the_connection_is_cut_within_a_transaction(job, new_broker, request_, forward):
    """Where the broker got the request and the answer is lost, the outcome is not known to the job."""
    with proxied(new_broker) as (broker, proxy, brokers), ThreadPoolExecutor(1) as pool:
        stalled = stalled_job(job, broker, brokers)
        proxy.stall_at(request_, 6, forward=forward)
        finished = pool.submit(stalled.finish)
        assert proxy.stalled.wait(30)
        assert not _ends_within(finished, 0.3)
        proxy.cut()
        finished.result(120)
        stalled.check()


@pytest.mark.kill
@pytest.mark.parametrize("patience", [0.5, 3 * _TIMEOUT], ids=["shorter", "longer"])
def test_job_is_exact_when_it_is_killed_while_the_answer_to_its_commit_is_held_back(job, new_broker, patience):
    with proxied(new_broker) as (broker, proxy, brokers):
        stalled = stalled_job(job, broker, brokers)
        proxy.stall_at(END_TRANSACTION, 6, forward=True)
        with stalled.process() as process:
            assert proxy.stalled.wait(30)
            process.kill()
            process.communicate()
        with ThreadPoolExecutor(1) as pool:
            finished = pool.submit(stalled.finish)
            assert not _ends_within(finished, patience)
            proxy.resume()
            finished.result(120)
        stalled.check()


def _ends_within(finished, seconds: float) -> bool:
    try:
        finished.result(seconds)
    except TimeoutError:
        return False
    return True
