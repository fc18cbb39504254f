"""A stand-in for a schema registry: the part of Confluent's HTTP interface that the codecs use, in memory.

It is not a registry. It gives ids and versions, knows the error codes 40401, 40402, 40403, 42201 and 409, and checks
compatibility by one rule alone: an Avro field without a default may not be added. The interface is that of
https://docs.confluent.io/platform/current/schema-registry/develop/api.html.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["StandInRegistry", "running_registry"]

LEVELS = {"NONE", "BACKWARD", "FORWARD", "FULL", "BACKWARD_TRANSITIVE", "FORWARD_TRANSITIVE", "FULL_TRANSITIVE"}
Body = dict[str, Any]


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error_code": code, "message": message}


@dataclass
class StandInRegistry:
    """Schemas by id and by subject. `requests` holds what was asked, as ``"GET /schemas/ids/1"``."""

    url: str = ""
    credentials: tuple[str, str] | None = None
    broken: bool = False
    requests: list[str] = field(default_factory=list)
    schemas: list[Body] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, subject: str, text: str, kind: str = "AVRO", references: list[Body] | None = None) -> int:
        """Return the id of a schema after adding it to `subject`."""
        schema = {"schema": text, "schemaType": kind, "references": references or []}
        return int(self.add_version(schema, subject)["id"])

    def add_version(self, body: Body, subject: str) -> Body:
        """POST /subjects/{subject}/versions"""
        schema = _checked(body)
        versions = self.subjects.get(subject, [])
        number = self._id(schema)
        if number in versions:
            return {"id": number}
        if versions and not self._compatible(subject, self.schemas[versions[-1] - 1], schema):
            raise Refusal(409, 409, "Schema being registered is incompatible with an earlier schema")
        if number > len(self.schemas):
            self.schemas.append(schema)
        self.subjects.setdefault(subject, []).append(number)
        return {"id": number}

    def look_up(self, body: Body, subject: str) -> Body:
        """POST /subjects/{subject}"""
        number = self._id(_checked(body))
        if number not in self._versions(subject):
            raise Refusal(404, 40403, "Schema not found")
        return self._version(subject, self.subjects[subject].index(number) + 1)

    def get_version(self, body: Body, subject: str, version: str) -> Body:
        """GET /subjects/{subject}/versions/{version}"""
        versions = self._versions(subject)
        if version == "latest":
            return self._version(subject, len(versions))
        if not version.isdigit() or not 1 <= int(version) <= len(versions):
            raise Refusal(404, 40402, f"Version {version} not found.")
        return self._version(subject, int(version))

    def get_schema(self, body: Body, number: str) -> Body:
        """GET /schemas/ids/{id}"""
        if not 1 <= int(number) <= len(self.schemas):
            raise Refusal(404, 40403, f"Schema {number} not found")
        return _shown(self.schemas[int(number) - 1])

    def get_config(self, body: Body, subject: str = "") -> Body:
        """GET /config and /config/{subject}"""
        return {"compatibilityLevel": self._level(subject)}

    def put_config(self, body: Body, subject: str = "") -> Body:
        """PUT /config and /config/{subject}"""
        if body.get("compatibility") not in LEVELS:
            raise Refusal(422, 42203, "Invalid compatibility level")
        self.levels[subject] = body["compatibility"]
        return {"compatibility": body["compatibility"]}

    def test_compatibility(self, body: Body, subject: str, version: str) -> Body:
        """POST /compatibility/subjects/{subject}/versions/{version}"""
        older = self.schemas[self.get_version({}, subject, version)["id"] - 1]
        return {"is_compatible": self._compatible(subject, older, _checked(body))}

    def answer(self, method: str, path: str, body: Body) -> Body:
        """Return the answer to a request."""
        if self.broken:
            raise Refusal(500, 50001, "Error in the backend datastore")
        for verb, pattern, handle in ROUTES:
            if verb == method and (found := re.fullmatch(pattern, path)):
                return handle(self, body, *(unquote(part or "") for part in found.groups()))
        raise Refusal(404, 404, "HTTP 404 Not Found")

    def _versions(self, subject: str) -> list[int]:
        if subject not in self.subjects:
            raise Refusal(404, 40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def _version(self, subject: str, version: int) -> Body:
        number = self.subjects[subject][version - 1]
        return {"subject": subject, "version": version, "id": number, **_shown(self.schemas[number - 1])}

    def _id(self, schema: Body) -> int:
        """Return the id of a schema, or the one that it would get: equal schemas have one id in all subjects."""
        return self.schemas.index(schema) + 1 if schema in self.schemas else len(self.schemas) + 1

    def _level(self, subject: str) -> str:
        return self.levels.get(subject) or self.levels.get("", "BACKWARD")

    def _compatible(self, subject: str, older: Body, newer: Body) -> bool:
        if self._level(subject) == "NONE" or newer["schemaType"] != "AVRO":
            return True
        before = {known["name"] for known in json.loads(older["schema"])["fields"]}
        added = [known for known in json.loads(newer["schema"])["fields"] if known["name"] not in before]
        return all("default" in known for known in added)


ROUTES: list[tuple[str, str, Callable[..., Body]]] = [
    ("POST", "/subjects/([^/]+)/versions", StandInRegistry.add_version),
    ("POST", "/subjects/([^/]+)", StandInRegistry.look_up),
    ("GET", "/subjects/([^/]+)/versions/([^/]+)", StandInRegistry.get_version),
    ("GET", r"/schemas/ids/(\d+)", StandInRegistry.get_schema),
    ("GET", "/config(?:/([^/]+))?", StandInRegistry.get_config),
    ("PUT", "/config(?:/([^/]+))?", StandInRegistry.put_config),
    ("POST", "/compatibility/subjects/([^/]+)/versions/([^/]+)", StandInRegistry.test_compatibility),
]


def _checked(body: Body) -> Body:
    """Return a request's schema in the form it is stored in."""
    schema: Body = {
        "schema": body.get("schema"),
        "schemaType": body.get("schemaType", "AVRO"),
        "references": body.get("references") or [],
    }
    try:
        if schema["schemaType"] == "AVRO":
            schema["schema"] = json.dumps(json.loads(schema["schema"]), separators=(",", ":"))
        elif schema["schemaType"] == "PROTOBUF":
            base64.b64decode(schema["schema"], validate=True)
    except (TypeError, ValueError):
        raise Refusal(422, 42201, "Invalid schema") from None
    return schema


def _shown(schema: Body) -> Body:
    """Return a schema as the registry shows it: it leaves out what is usual."""
    usual = {"schemaType": "AVRO", "references": []}
    return {key: value for key, value in schema.items() if usual.get(key) != value}


@contextmanager
def running_registry(credentials: tuple[str, str] | None = None) -> Generator[StandInRegistry]:
    """Give a registry that answers on a free port of the loopback interface."""
    registry = StandInRegistry(credentials=credentials)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry))
    server.daemon_threads = False  # so that closing waits for them
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(registry: StandInRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = urlsplit(self.path).path
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            with registry.lock:
                registry.requests.append(f"{self.command} {path}")
                try:
                    self._check_access()
                    status, answer = 200, registry.answer(self.command, path, json.loads(body or b"{}"))
                except Refusal as refusal:
                    status, answer = refusal.status, refusal.body
            self._send(status, json.dumps(answer).encode())

        do_GET = do_POST = do_PUT = answer  # the names that the server calls

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def _check_access(self) -> None:
            if registry.credentials is None:
                return
            expected = base64.b64encode(":".join(registry.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                raise Refusal(401, 40101, "Unauthorized")

        def _send(self, status: int, answer: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    return Handler
