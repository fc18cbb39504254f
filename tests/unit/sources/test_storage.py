"""What an S3 server is called, and what of it is shown."""

from __future__ import annotations

import pytest
import s3fs

from krishiv_connectors import S3, Secret
from krishiv_guarantees import ConfigurationError


def test_options_have_the_names_of_the_libraries() -> None:
    server = S3(endpoint="http://127.0.0.1:9", access_key="key", secret_key=Secret("hidden"), region="r")
    assert server.options() == {
        "aws_endpoint": "http://127.0.0.1:9",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "hidden",
        "aws_region": "r",
        "aws_virtual_hosted_style_request": "false",
        "aws_allow_http": "true",
    }


def test_an_encrypted_endpoint_stays_encrypted() -> None:
    assert "aws_allow_http" not in S3(endpoint="https://host").options()


def test_what_is_left_out_is_left_to_the_environment() -> None:
    assert S3().options() == {}


def test_secrets_do_not_print() -> None:
    shown = repr(S3(endpoint="https://host", access_key="canary-a", secret_key="canary-b", session_token="canary-c"))
    assert "canary" not in shown
    assert "https://host" in shown


def test_an_endpoint_without_a_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no endpoint"):
        S3(endpoint="127.0.0.1:9000")


def test_a_file_system_of_s3fs_says_where_the_server_is() -> None:
    files = s3fs.S3FileSystem(
        key="key", secret="canary", endpoint_url="http://127.0.0.1:9", client_kwargs={"region_name": "r"}
    )
    server = S3.of(files)
    assert (
        server.options()
        == S3(endpoint="http://127.0.0.1:9", access_key="key", secret_key="canary", region="r").options()
    )
    assert "canary" not in repr(server)
    assert S3.of(s3fs.S3FileSystem()).options() == {}


@pytest.mark.parametrize("other", [s3fs.S3FileSystem(anon=True), "s3://bucket", None])
def test_other_file_systems_are_refused(other: object) -> None:
    with pytest.raises(ConfigurationError, match="no s3fs"):
        S3.of(other)
