"""Settings: where they come from, which of several holds, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_checkpoint import CheckpointSettings
from krishiv_connectors import Secret
from krishiv_stream._config import OTHER_VARIABLES, Origin, OriginKind, resolve_settings
from krishiv_stream._errors import InvalidSetting, UnknownSetting
from krishiv_stream._modes import RuntimeMode
from krishiv_stream._session_options import SessionOptions
from krishiv_stream._settings import SETTINGS, Settings, StateBackend

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_are_the_defaults_when_nothing_sets_them(tmp_path: Path) -> None:
    resolved = resolve_settings({}, {"HOME": "/root", "PATH": "/bin"}, tmp_path)
    assert resolved.settings == Settings()
    assert all(resolved.origin(name) == Origin(OriginKind.DEFAULT) for name in SETTINGS)


# Each place in turn, weakest first; every stronger one is added to those before.
PLACES: list[tuple[OriginKind, str]] = [
    (OriginKind.FILE, "1"),
    (OriginKind.ENVIRONMENT, "2"),
    (OriginKind.FLAG, "3"),
    (OriginKind.ARGUMENT, "4"),
]


@pytest.mark.parametrize("strongest", range(len(PLACES)))
def test_setting_comes_from_the_strongest_place_when_several_set_it(tmp_path: Path, strongest: int) -> None:
    given_by = dict(PLACES[: strongest + 1])

    def setting(kind: OriginKind, name: str) -> dict[str, str]:
        return {name: given_by[kind]} if kind in given_by else {}

    (tmp_path / "krishiv.toml").write_text(f"parallelism = {given_by[OriginKind.FILE]}\n")
    resolved = resolve_settings(
        setting(OriginKind.ARGUMENT, "parallelism"),
        setting(OriginKind.ENVIRONMENT, "KRISHIV_PARALLELISM"),
        tmp_path,
        flags=setting(OriginKind.FLAG, "parallelism"),
    )
    kind, value = PLACES[strongest]
    assert resolved.settings.parallelism == int(value)
    assert resolved.origin("parallelism").kind is kind
    assert resolved.is_set("parallelism")


def test_origin_names_the_flag_the_variable_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "krishiv.toml").write_text('linger = "1ms"\n')
    resolved = resolve_settings({}, {"KRISHIV_STRICT": "1"}, tmp_path, flags={"data_dir": "d"})
    assert str(resolved.origin("linger")) == f"file {tmp_path / 'krishiv.toml'}"
    assert str(resolved.origin("strict")) == "environment KRISHIV_STRICT"
    assert str(resolved.origin("data_dir")) == "flag --data-dir"
    assert str(resolved.origin("mode")) == "default"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mode", "Single_Node", RuntimeMode.SINGLE_NODE),
        ("state", "rocksdb", StateBackend.ROCKSDB),
        ("checkpoint_interval", "1m30s", 90.0),
        ("checkpoint_interval", "none", None),
        ("min_pause", "0s", 0.0),
        ("memory_budget", "512MiB", 512 * 2**20),
        ("memory_budget", "1.5 GB", 1_500_000_000),
        ("memory_budget", "4096", 4096),
        ("allow_uncertified", "on", True),
        ("strict", "false", False),
        ("parallelism", "7", 7),
        ("coordinator", "none", None),
        ("checkpoints", "s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_setting_is_read_from_text(tmp_path: Path, name: str, text: str, value: object) -> None:
    resolved = resolve_settings({}, {SETTINGS[name].variable: text}, tmp_path)
    assert getattr(resolved.settings, name) == value


def test_paths_start_from_the_working_folder_when_they_are_relative(tmp_path: Path) -> None:
    settings = resolve_settings({"data_dir": "data", "checkpoints": "ckpt"}, {}, tmp_path).settings
    assert settings.data_dir == tmp_path / "data"
    assert settings.checkpoints == str(tmp_path / "ckpt")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parallelism", 0),
        ("parallelism", "two"),
        ("parallelism", True),
        ("parallelism", None),
        ("parallelism", 1.5),
        ("checkpoint_interval", "0s"),
        ("checkpoint_interval", "soon"),
        ("checkpoint_timeout", None),
        ("linger", "-1s"),
        ("memory_budget", "lots"),
        ("memory_budget", 0),
        ("memory_budget", "5 parsecs"),
        ("strict", "perhaps"),
        ("data_dir", ""),
        ("coordinator", 7),
    ],
)
def test_setting_is_refused_with_its_place_when_its_value_cannot_be_used(
    tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(InvalidSetting, match=rf"setting {name} \(argument\)") as caught:
        resolve_settings({name: value}, {}, tmp_path)
    assert caught.value.hint
    assert caught.value.fields["setting"] == name


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "meant"),
    [
        ({"paralellism": 2}, {}, "", "'parallelism'"),
        ({}, {"KRISHIV_DATADIR": "x"}, "", "'KRISHIV_DATA_DIR'"),
        ({}, {}, "checkpoint_intervall = '1s'\n", "'checkpoint_interval'"),
        ({"mode": "embeded"}, {}, "", "'embedded'"),
        ({}, {"KRISHIV_PROFILE": "single-node-durabel"}, "", "'single-node-durable'"),
    ],
)
def test_unknown_name_is_refused_with_what_it_may_have_meant_and_what_there_is(
    tmp_path: Path, arguments: dict[str, Any], environ: dict[str, str], file: str, meant: str
) -> None:
    (tmp_path / "krishiv.toml").write_text(file)
    with pytest.raises(UnknownSetting) as caught:
        resolve_settings(arguments, environ, tmp_path)
    assert f"did you mean {meant}?" in caught.value.hint
    assert all(valid in caught.value.hint for valid in caught.value.fields["valid"])


def test_other_variables_of_ours_are_no_settings(tmp_path: Path) -> None:
    assert resolve_settings({}, dict.fromkeys(OTHER_VARIABLES, "1"), tmp_path).settings == Settings()


@pytest.mark.parametrize("text", ["parallelism = \n", "[restart]\nattempts = 3\n"])
def test_file_is_refused_when_it_is_no_toml_or_holds_no_setting(tmp_path: Path, text: str) -> None:
    (tmp_path / "krishiv.toml").write_text(text)
    with pytest.raises((InvalidSetting, UnknownSetting), match=r"krishiv\.toml"):
        resolve_settings({}, {}, tmp_path)


def test_file_is_refused_when_it_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "krishiv.toml").mkdir()
    with pytest.raises(InvalidSetting, match="cannot be read"):
        resolve_settings({}, {}, tmp_path)


def test_token_does_not_print_when_settings_are_shown(tmp_path: Path) -> None:
    resolved = resolve_settings({}, {"KRISHIV_CONTROL_TOKEN": "hunter2"}, tmp_path)
    assert isinstance(resolved.settings.control_token, Secret)
    assert resolved.settings.control_token.reveal() == "hunter2"
    assert "hunter2" not in repr(resolved)
    assert SETTINGS["control_token"].kind.shows(resolved.settings.control_token) == "***"


def test_state_backend_is_the_profiles_own_when_it_is_not_set(tmp_path: Path) -> None:
    durable = {"profile": "single-node-durable", "data_dir": "d"}
    assert resolve_settings({}, {}, tmp_path).settings.state_backend is StateBackend.MEMORY
    assert resolve_settings(durable, {}, tmp_path).settings.state_backend is StateBackend.ROCKSDB
    assert resolve_settings({**durable, "state": "memory"}, {}, tmp_path).settings.state_backend is StateBackend.MEMORY


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "control_token"])
def test_setting_is_read_back_from_what_it_shows(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.kind.reads(setting.kind.shows(setting.default)) == setting.default


@given(size=st.integers(1, 1 << 50))
def test_size_is_read_back_from_what_it_shows(size: int) -> None:
    kind = SETTINGS["memory_budget"].kind
    assert kind.reads(kind.shows(size)) == size


def test_session_options_name_every_setting() -> None:
    assert set(SessionOptions.__annotations__) == set(SETTINGS)


def test_defaults_of_checkpoints_are_those_of_the_checkpoint_floor() -> None:
    own = CheckpointSettings()
    assert {field.name: SETTINGS[field.name].default for field in fields(own)} == asdict(own)


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({}, None),
        ({"data_dir": "d"}, "d/jobs"),
        ({"data_dir": "d", "checkpoints": "c"}, "c/jobs"),
        ({"data_dir": "d", "checkpoints": "memory://"}, None),
        ({"checkpoints": "s3://bucket/c"}, None),
        ({"checkpoints": "file:///c"}, "/c/jobs"),
    ],
)
def test_jobs_are_kept_where_the_settings_say(tmp_path: Path, settings: dict[str, str], folder: str | None) -> None:
    found = resolve_settings(settings, {}, tmp_path).settings.jobs_directory
    assert found == (None if folder is None else tmp_path / folder)
