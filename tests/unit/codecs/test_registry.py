"""The client of a schema registry, and the stand-in that it is tested with."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from krishiv_connectors import Secret
from krishiv_connectors._errors import (
    FormatUnfit,
    RegistryRefused,
    RegistryRejected,
    RegistryUnreachable,
    SecretMissing,
)
from krishiv_connectors.codecs import AvroFormat, SchemaRegistry
from tests.support.schema_registry import running_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.schema_registry import StandInRegistry

TEXT = '{"type":"record","name":"R","fields":[{"name":"x","type":"int"}]}'
MORE = '{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]}'
PASSWORD = "hunter2-hunter2"


def ask(stand_in: StandInRegistry, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the body of an answer."""
    request = Request(stand_in.url + path, None if body is None else json.dumps(body).encode(), method=method)
    try:
        with urlopen(request) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_schema_is_found_by_its_id_and_asked_for_once(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    number = stand_in.register("orders-value", TEXT)
    found = registry.by_id(number)
    assert found is not None
    assert (found.id, found.text, found.kind) == (number, TEXT, "AVRO")
    assert registry.by_id(number) is found
    assert stand_in.requests == ["GET /schemas/ids/1"]


def test_unknown_id_is_none(registry: SchemaRegistry) -> None:
    assert registry.by_id(99) is None


def test_latest_version_is_found_by_its_subject(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    stand_in.levels[""] = "NONE"
    stand_in.register("a/b value", TEXT)
    assert registry.latest("a/b value").text == TEXT
    stand_in.register("a/b value", MORE)
    assert registry.latest("a/b value").id == 2


def test_unknown_subject_is_a_configuration_error(registry: SchemaRegistry) -> None:
    with pytest.raises(RegistryRejected, match="40401") as caught:
        registry.latest("orders-value")
    assert caught.value.fields == {"error_code": 40401, "subject": "orders-value"}


def test_equal_schemas_have_one_id(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    assert registry.number("a", TEXT, "AVRO", register=True) == (1, 1)
    assert registry.number("a", TEXT, "AVRO", register=True) == (1, 1)
    assert registry.number("b", TEXT, "AVRO", register=True) == (1, 1)
    stand_in.levels["a"] = "NONE"
    assert registry.number("a", MORE, "AVRO", register=True) == (2, 2)


def test_looking_a_schema_up_does_not_register_it(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    stand_in.register("a", TEXT)
    assert registry.number("a", TEXT, "AVRO", register=False) == (1, 1)
    with pytest.raises(RegistryRejected, match="40403"):
        registry.number("a", MORE, "AVRO", register=False)
    assert stand_in.subjects == {"a": [1]}


@pytest.mark.parametrize(("text", "code"), [("{", "42201"), (MORE, "409")])
def test_schema_that_is_not_taken_is_a_configuration_error(
    stand_in: StandInRegistry, registry: SchemaRegistry, text: str, code: str
) -> None:
    stand_in.register("a", TEXT)
    with pytest.raises(RegistryRejected, match=code):
        registry.number("a", text, "AVRO", register=True)


def test_registry_that_is_not_there_is_passing_trouble() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and listening to nobody
        registry = SchemaRegistry(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(RegistryUnreachable, match="does not answer"):
            registry.by_id(1)


def test_registry_that_fails_is_passing_trouble(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    stand_in.broken = True
    with pytest.raises(RegistryUnreachable, match="50001"):
        registry.by_id(1)
    stand_in.broken = False
    assert registry.by_id(1) is None


def test_decode_passes_the_trouble_on(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    decoder = AvroFormat(TEXT, registry).decoder(None)
    stand_in.broken = True
    with pytest.raises(RegistryUnreachable):
        decoder.decode([b"\0\0\0\0\1\2"])


def test_right_credentials_open_and_wrong_ones_are_a_configuration_error() -> None:
    with running_registry(("user", PASSWORD)) as stand_in:
        right = SchemaRegistry(stand_in.url, username="user", password=Secret(PASSWORD))
        assert right.by_id(1) is None
        for wrong in (
            SchemaRegistry(stand_in.url),
            SchemaRegistry(stand_in.url, username="user", password=Secret("x")),
        ):
            with pytest.raises(RegistryRefused) as caught:
                wrong.by_id(1)
            assert caught.value.fields == {"status": 401}
            assert "password=" in caught.value.hint


def test_password_is_shown_nowhere() -> None:
    with running_registry(("user", "another")) as stand_in:
        registry = SchemaRegistry(stand_in.url, username="user", password=Secret(PASSWORD))
        form = AvroFormat(registry=registry, subject="a")
        with pytest.raises(RegistryRefused) as caught:
            form.decoder(None)
    shown = [
        repr(registry),
        repr(form),
        str(form.config()),
        str(caught.value),
        repr(caught.value),
        str(vars(caught.value)),
    ]
    assert [text for text in shown if PASSWORD in text] == []


def test_missing_secret_is_its_own_error(stand_in: StandInRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    registry = SchemaRegistry(stand_in.url, username="user", password=Secret.from_env("NO_SUCH_SECRET"))
    with pytest.raises(SecretMissing):
        registry.by_id(1)


@pytest.mark.parametrize("url", ["localhost:8081", "ftp://host", "http://", f"http://user:{PASSWORD}@host"])
def test_url_that_is_none_or_holds_credentials_is_refused(url: str) -> None:
    with pytest.raises(FormatUnfit) as caught:
        SchemaRegistry(url)
    assert PASSWORD not in str(caught.value)


def test_certificates_that_cannot_be_read_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(FormatUnfit, match="certificates"):
        SchemaRegistry("https://localhost:1", ca=tmp_path / "missing.pem").by_id(1)
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(FormatUnfit, match="certificates"):
        SchemaRegistry("https://localhost:1", ca=tmp_path / "bad.pem").by_id(1)


def test_stand_in_answers_as_the_interface_has_it(stand_in: StandInRegistry) -> None:
    assert ask(stand_in, "POST", "/subjects/s/versions", {"schema": TEXT}) == (200, {"id": 1})
    version = {"subject": "s", "version": 1, "id": 1, "schema": TEXT}
    assert ask(stand_in, "POST", "/subjects/s", {"schema": TEXT}) == (200, version)
    assert ask(stand_in, "GET", "/subjects/s/versions/latest") == (200, version)
    assert ask(stand_in, "GET", "/subjects/s/versions/1") == (200, version)
    assert ask(stand_in, "GET", "/schemas/ids/1") == (200, {"schema": TEXT})
    assert ask(stand_in, "GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    compatibility = "/compatibility/subjects/s/versions/latest"
    assert ask(stand_in, "POST", compatibility, {"schema": MORE}) == (200, {"is_compatible": False})
    assert ask(stand_in, "PUT", "/config/s", {"compatibility": "NONE"}) == (200, {"compatibility": "NONE"})
    assert ask(stand_in, "POST", compatibility, {"schema": MORE}) == (200, {"is_compatible": True})
    assert ask(stand_in, "POST", "/subjects/s/versions", {"schema": MORE}) == (200, {"id": 2})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/none/versions/latest", None, 404, 40401),
        ("GET", "/subjects/s/versions/7", None, 404, 40402),
        ("GET", "/schemas/ids/7", None, 404, 40403),
        ("POST", "/subjects/s", {"schema": MORE}, 404, 40403),
        ("POST", "/subjects/s/versions", {"schema": "{"}, 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": MORE}, 409, 409),
        ("PUT", "/config", {"compatibility": "SOME"}, 422, 42203),
        ("GET", "/nothing", None, 404, 404),
    ],
)
def test_stand_in_refuses_with_the_interfaces_codes(
    stand_in: StandInRegistry, method: str, path: str, body: Any, status: int, code: int
) -> None:
    stand_in.register("s", TEXT)
    answered, answer = ask(stand_in, method, path, body)
    assert (answered, answer["error_code"]) == (status, code)
