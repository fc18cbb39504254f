"""What formats with a schema registry share."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

from krishiv_connectors._errors import FormatUnfit
from krishiv_connectors.codecs._codec import Format

if TYPE_CHECKING:
    from krishiv_connectors.codecs._registry import SchemaRegistry

__all__ = ["RegisteredFormat"]


class RegisteredFormat(Format):
    """A format whose messages may begin with the id of a schema in a registry.

    Parameters
    ----------
    registry : SchemaRegistry or None
        None: messages are bare.
    subject : str or None
        Under which name the registry has the schema. None: left to the connector.
    auto_register : bool
        Whether encoding adds its schema to the subject. False: it must be there.
    """

    kind: ClassVar[str]

    def __init__(self, registry: SchemaRegistry | None, subject: str | None, *, auto_register: bool) -> None:
        self._registry = registry
        self._subject = subject
        self._auto_register = auto_register

    def for_subject(self, subject: str) -> Format:
        """Return this format with `subject`, unless it has one."""
        if self._registry is None or self._subject is not None:
            return self
        other = copy.copy(self)
        other._subject = subject
        return other

    def _named_subject(self) -> str:
        if self._subject is None:
            raise FormatUnfit(
                "a schema registry has schemas by subject, and none is named",
                hint='pass subject="<topic>-value"',
                format=self.kind,
            )
        return self._subject
