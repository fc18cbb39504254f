"""A stand-in for a schema registry, for tests that speak to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_connectors.codecs import SchemaRegistry
from tests.support.schema_registry import StandInRegistry, running_registry

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def stand_in() -> Generator[StandInRegistry]:
    """A registry without schemas."""
    with running_registry() as registry:
        yield registry


@pytest.fixture
def registry(stand_in: StandInRegistry) -> SchemaRegistry:
    """Its client."""
    return SchemaRegistry(stand_in.url)
