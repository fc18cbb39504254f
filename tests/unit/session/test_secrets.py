"""A secret is read late and never shows."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import TYPE_CHECKING

import pytest

from krishiv_connectors import Secret, SecretMissing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUE = "hunter2"


@pytest.mark.parametrize(
    "show",
    [str, repr, lambda secret: f"{secret:>20}", lambda secret: f"%s {[secret]}" % secret, lambda s: repr({"token": s})],
)
def test_secret_does_not_show_when_it_is_formatted(show: Callable[[Secret], str]) -> None:
    assert VALUE not in show(Secret(VALUE))


def test_secret_does_not_show_when_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("token %s %r", Secret(VALUE), Secret(VALUE))
    assert caplog.messages == ["token *** Secret('***')"]


@pytest.mark.parametrize("leave", [pickle.dumps, copy.deepcopy])
def test_secret_is_refused_when_it_would_be_pickled(leave: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        leave(Secret(VALUE))


def test_secret_is_read_when_it_is_used_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_file, of_env = Secret.from_file(tmp_path / "token"), Secret.from_env("SOME_TOKEN")
    (tmp_path / "token").write_text(f"{VALUE}\n")
    monkeypatch.setenv("SOME_TOKEN", VALUE)
    assert (of_file.reveal(), of_env.reveal()) == (VALUE, VALUE)
    assert str(tmp_path / "token") in of_file.origin


def test_secret_names_where_it_should_come_from_when_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_TOKEN", raising=False)
    with pytest.raises(SecretMissing, match="SOME_TOKEN"):
        Secret.from_env("SOME_TOKEN").reveal()
    with pytest.raises(SecretMissing, match="missing"):
        Secret.from_file(tmp_path / "missing").reveal()
