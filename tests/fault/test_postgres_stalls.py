"""A network that stalls or breaks within a commit: whether the server has applied it is not known to the job."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault.postgres_jobs import PostgresJob, postgres_job
from tests.services.processes import free_ports
from tests.support.postgres_proxy import COMMIT, COPY_END, PostgresProxy

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.services.postgres.server import Postgres

pytestmark = [pytest.mark.server("postgres"), pytest.mark.fault, pytest.mark.timeout(180)]


@contextmanager
def proxied(postgres: Postgres, folder: Path, **options: Any) -> Generator[tuple[PostgresProxy, PostgresJob]]:
    """Give a proxy before the server, and a job that connects through it; it is not restarted."""
    (port,) = free_ports(1)
    dsn = postgres.new_database()
    through = dsn.replace(f":{postgres.port}/", f":{port}/")
    with PostgresProxy(port, postgres.port) as proxy:
        yield proxy, postgres_job(folder, through, read_dsn=dsn, restart_attempts=0, **options)


@pytest.mark.parametrize("message", [COPY_END, COMMIT], ids=["rows", "commit"])
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
def test_job_is_exact_when_the_connection_is_cut_within_a_commit(
    tmp_path: Path, postgres: Postgres, message: int, forward: bool
) -> None:
    """Where the server got the COMMIT and the answer is lost, the job looks at the mark again."""
    with proxied(postgres, tmp_path) as (proxy, job), ThreadPoolExecutor(1) as pool:
        proxy.stall_at(message, 6, forward=forward)
        finished = pool.submit(job.finish)
        assert proxy.stalled.wait(30)
        assert not _ends_within(finished, 0.3)
        proxy.cut()
        finished.result(120)
        job.check()


@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
def test_job_is_exact_when_the_connection_is_cut_within_one_commit_after_the_other(
    tmp_path: Path, postgres: Postgres, forward: bool
) -> None:
    with proxied(postgres, tmp_path, rate=4_000) as (proxy, job), ThreadPoolExecutor(1) as pool:
        finished = None
        for nth in (6, 1, 1):  # the first ones are those of the tables that the job makes
            proxy.stalled.clear()
            proxy.stall_at(COMMIT, nth, forward=forward)
            finished = finished or pool.submit(job.finish)
            assert proxy.stalled.wait(30)
            proxy.cut()
        assert finished is not None
        finished.result(120)
        job.check()


@pytest.mark.parametrize("message", [COPY_END, COMMIT], ids=["rows", "commit"])
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
def test_job_is_exact_when_the_network_stalls_within_a_commit(
    tmp_path: Path, postgres: Postgres, message: int, forward: bool
) -> None:
    with proxied(postgres, tmp_path) as (proxy, job), ThreadPoolExecutor(1) as pool:
        proxy.stall_at(message, 6, forward=forward)
        finished = pool.submit(job.finish)
        assert proxy.stalled.wait(30)
        assert not _ends_within(finished, 0.5)
        proxy.resume()
        finished.result(120)
        job.check()


@pytest.mark.kill
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
def test_job_is_exact_when_it_is_killed_while_its_commit_is_under_way(
    tmp_path: Path, postgres: Postgres, forward: bool
) -> None:
    """The server still has the transaction, open or just ended, when the next process comes."""
    with proxied(postgres, tmp_path) as (proxy, job):
        proxy.stall_at(COMMIT, 6, forward=forward)
        with job.process() as process:
            assert proxy.stalled.wait(30)
            process.kill()
            process.communicate()
        with ThreadPoolExecutor(1) as pool:
            finished = pool.submit(job.finish)
            assert not _ends_within(finished, 0.5)
            proxy.resume()
            finished.result(120)
        job.check()


def _ends_within(finished: Future[Any], seconds: float) -> bool:
    try:
        finished.result(seconds)
    except TimeoutError:
        return False
    return True
