"""A schema registry: schemas by number, and numbers for schemas."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from krishiv_connectors._errors import FormatUnfit, RegistryRefused, RegistryRejected, RegistryUnreachable
from krishiv_connectors._extras import need

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from krishiv_connectors._secrets import Secret

__all__ = ["Reference", "RegisteredSchema", "SchemaRegistry"]

_NOT_FOUND, _UNAUTHORISED, _FORBIDDEN = 404, 401, 403
_PASSING = {408, 429}


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as the registry has it.

    Parameters
    ----------
    id : int
        Its number, which messages name.
    text : str
        The schema.
    kind : str
        ``"AVRO"``, ``"PROTOBUF"`` or ``"JSON"``.
    referenced : tuple of str
        The schemas that it refers to, each after those that it refers to itself.
    """

    id: int
    text: str
    kind: str
    referenced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """What a schema refers to: a name that it uses, and the version of a subject that it stands for."""

    name: str
    subject: str
    version: int


class SchemaRegistry:
    """Confluent Schema Registry, or another that answers as it does.

    Parameters
    ----------
    url : str
        Where it is: ``http://…`` or ``https://…``, without credentials.
    username : str or None
        For basic authentication.
    password : Secret or None
        For basic authentication.
    ca : path or None
        Certificates that the registry's is signed with, as PEM; None: those of the system.
    timeout : float
        Seconds to wait for an answer.

    Notes
    -----
    Schemas are kept for good once they were fetched: a registry never changes what a number stands for. There is no
    connection to close: each request is by itself, and there are few.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: Secret | None = None,
        ca: str | Path | None = None,
        timeout: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise FormatUnfit(
                "a schema registry's URL begins with http:// or https:// and names a host",
                hint='for example SchemaRegistry("http://localhost:8081")',
            )
        if parts.username or parts.password:
            raise FormatUnfit(
                "credentials in a schema registry's URL would be shown wherever the URL is",
                hint="pass username=... and password=Secret.from_env(...) instead",
            )
        self.url = url
        self._username = username
        self._password = password
        self._ca = ca
        self._timeout = timeout
        self._known: dict[int, RegisteredSchema] = {}

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.url!r})"

    def by_id(self, number: int) -> RegisteredSchema | None:
        """Return schema `number`, or None if the registry has none.

        Raises
        ------
        RegistryUnreachable, RegistryRefused
        """
        if number not in self._known:
            with self._client(f"schema id {number}") as client:
                try:
                    # Protobuf comes as a base64 descriptor then; the other kinds know no such form.
                    schema = client.get_schema(number, fmt="serialized")
                except self._library().SchemaRegistryError as error:
                    if error.http_status_code == _NOT_FOUND:
                        return None
                    raise
                self._known[number] = _registered(client, number, schema)
        return self._known[number]

    def latest(self, subject: str) -> RegisteredSchema:
        """Return the latest version under `subject`.

        Raises
        ------
        RegistryRejected
            If there is none.
        RegistryUnreachable, RegistryRefused
        """
        with self._client(f"subject {subject!r}", subject=subject) as client:
            found = client.get_latest_version(subject)
            return _registered(client, found.schema_id, found.schema)

    def number(
        self, subject: str, text: str, kind: str, *, register: bool, references: Sequence[Reference] = ()
    ) -> tuple[int, int]:
        """Return the id and the version of a schema under `subject`.

        Parameters
        ----------
        subject : str
            Such as ``"orders-value"``.
        text : str
            The schema.
        kind : str
            ``"AVRO"`` or ``"PROTOBUF"``.
        register : bool
            True: add it, if it is not there. False: it must be.
        references : sequence of Reference
            What it refers to.

        Raises
        ------
        RegistryRejected
            If the schema is not there, or the registry does not take it: it is not compatible, or not valid.
        RegistryUnreachable, RegistryRefused
        """
        library = self._library()
        named = [library.SchemaReference(ref.name, ref.subject, ref.version) for ref in references]
        schema = library.Schema(text, kind, named)
        with self._client(f"subject {subject!r}", subject=subject) as client:
            if register:
                client.register_schema(subject, schema)
            found = client.lookup_schema(subject, schema)
            return found.schema_id, found.version

    @staticmethod
    def _library() -> Any:
        return need("confluent_kafka.schema_registry", "kafka")

    @contextmanager
    def _client(self, asked: str, **fields: Any) -> Generator[Any]:
        """Give a client for one request, and turn what goes wrong into errors of ours; `asked` says for what."""
        library = self._library()
        settings = self._settings()
        try:
            with library.SchemaRegistryClient.new_client(settings) as client:
                yield client
        except library.SchemaRegistryError as error:
            raise self._error(error.http_status_code, error.error_code, error.error_message, asked, fields) from error
        except OSError as error:
            raise self._bad_file(error) from error
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryRejected(
                f"{self.url} does not answer as a schema registry does", hint="check the URL", **fields
            ) from error
        except Exception as error:  # the HTTP client's own tree, which the library does not name
            raise RegistryUnreachable(
                f"the schema registry at {self.url} does not answer: {type(error).__name__}: {error}",
                hint="check that it runs and can be reached from here",
            ) from error

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"url": self.url, "timeout": self._timeout, "max.retries": 0}
        if self._username is not None or self._password is not None:
            password = self._password.reveal() if self._password is not None else ""
            settings["basic.auth.user.info"] = f"{self._username or ''}:{password}"
        if self._ca is not None:
            settings["ssl.ca.location"] = str(self._ca)
        return settings

    def _bad_file(self, error: OSError) -> FormatUnfit:
        return FormatUnfit(
            f"the certificates in {str(self._ca)!r} cannot be read: {error.strerror or error}",
            hint="ca= names a PEM file",
        )

    def _error(self, status: int, code: int, said: str, asked: str, fields: dict[str, Any]) -> Exception:
        if status in {_UNAUTHORISED, _FORBIDDEN}:
            return RegistryRefused(
                f"the schema registry at {self.url} refuses access ({status}) to {asked}",
                hint="check username= and password=, and what this user may do",
                status=status,
            )
        if status >= 500 or status in _PASSING:
            return RegistryUnreachable(f"the schema registry at {self.url} failed ({status}, {code}): {said}")
        return RegistryRejected(
            f"the schema registry at {self.url} has nothing or takes nothing for {asked} ({status}, {code}): {said}",
            hint="check the subject's name, its versions and its compatibility setting",
            error_code=code,
            **fields,
        )


def _registered(client: Any, number: int, schema: Any) -> RegisteredSchema:
    return RegisteredSchema(number, schema.schema_str, schema.schema_type, tuple(_referenced(client, schema)))


def _referenced(client: Any, schema: Any) -> Iterator[str]:
    for reference in schema.references or ():
        found = client.get_version(reference.subject, reference.version).schema
        yield from _referenced(client, found)
        yield found.schema_str
