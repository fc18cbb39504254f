"""Fixtures for tests that need an S3 server: a ``conftest.py`` imports those that its folder needs.

Their tests carry ``@pytest.mark.server("s3")``: without Ceph they are skipped, or fail where it was promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services.s3.gateway import Gateway, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_s3", "s3"]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The server that all tests of a process share."""
    yield from _started(tmp_path_factory)


@pytest.fixture
def own_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server of the test's own, which it may kill and pause."""
    yield from _started(tmp_path_factory)


def _started(folders: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(folders.mktemp("s3"))
    try:
        gateway.start()
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield gateway
    gateway.close()
