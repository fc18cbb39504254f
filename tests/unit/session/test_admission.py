"""Settings that are each fine and do not go together: refused with the setting to change."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from krishiv_connectors import Secret
from krishiv_guarantees import ConfigurationError, Profile, ProfileError, ShufflePlace
from krishiv_stream._admission import check_mode_profile, check_settings, profile_settings, require_build
from krishiv_stream._errors import InvalidSetting, NotAvailable, ProfileUnfit
from krishiv_stream._modes import ExecutionPlacement, RuntimeMode, resolve_runtime
from krishiv_stream._settings import Settings, Shuffle

DURABLE = Profile.SINGLE_NODE_DURABLE
DISTRIBUTED_DURABLE = Profile.DISTRIBUTED_DURABLE
DAEMON: dict[str, Any] = {"mode": RuntimeMode.SINGLE_NODE, "coordinator": "grpc://127.0.0.1:7411"}
CLUSTER: dict[str, Any] = {"mode": RuntimeMode.DISTRIBUTED, "coordinator": "grpc://10.0.0.7:7411"}
SHARED: dict[str, Any] = {
    "profile": DISTRIBUTED_DURABLE,
    "checkpoints": "s3://bucket/ckpt",
    "metadata": "etcd://127.0.0.1:2379",
    "control_token": Secret("t"),
}


@pytest.mark.parametrize(("mode", "profile"), [*product(RuntimeMode, Profile)])
def test_profile_is_refused_only_when_it_is_one_hosts_and_the_mode_is_distributed(
    mode: RuntimeMode, profile: Profile
) -> None:
    if (mode, profile) == (RuntimeMode.DISTRIBUTED, DURABLE):
        with pytest.raises(ProfileUnfit, match="single-node-durable"):
            check_mode_profile(mode, profile)
    else:
        check_mode_profile(mode, profile)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"profile": DURABLE, "data_dir": Path("/d")},
        {"profile": DURABLE, "data_dir": Path("/d"), "checkpoints": "s3://bucket/ckpt"},
        {**DAEMON, "profile": DURABLE, "data_dir": Path("/d"), "control_token": Secret("t")},
        {**DAEMON},
        SHARED,
        {**SHARED, "control_token": None},
        {**CLUSTER, **SHARED},
        {**CLUSTER},
        {**SHARED, "shuffle": Shuffle.MEMORY},
    ],
)
def test_settings_are_taken_when_they_meet_their_profile(settings: dict[str, Any]) -> None:
    assert check_settings(Settings(**settings)).mode is settings.get("mode", RuntimeMode.EMBEDDED)


@pytest.mark.parametrize(
    ("settings", "to_change"),
    [
        ({"profile": DURABLE}, "data_dir"),
        ({"profile": DURABLE, "data_dir": Path("/d"), "checkpoints": "memory://"}, "checkpoints"),
        ({**DAEMON, "profile": DURABLE, "data_dir": Path("/d")}, "control_token"),
        ({**SHARED, "checkpoints": "/d"}, "checkpoints"),
        ({**SHARED, "checkpoints": None, "data_dir": Path("/d")}, "checkpoints"),
        ({**SHARED, "metadata": None}, "metadata"),
        ({**SHARED, "fencing": False}, "fencing"),
        ({**CLUSTER, **SHARED, "shuffle": Shuffle.LOCAL_DISK}, "shuffle"),
        ({**CLUSTER, **SHARED, "control_token": None}, "control_token"),
    ],
)
def test_settings_are_refused_with_the_one_to_change_when_below_their_profile(
    settings: dict[str, Any], to_change: str
) -> None:
    with pytest.raises(ProfileError) as caught:
        check_settings(Settings(**settings))
    assert to_change in caught.value.fields["settings"]
    assert to_change in caught.value.hint
    assert hasattr(Settings(), to_change)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"parallelism": 9, "max_key_groups": 8}, "parallelism"),
        ({"checkpoints": "ftp://host/x"}, "checkpoints"),
        ({"metadata": "zookeeper://host"}, "metadata"),
    ],
)
def test_settings_are_refused_when_they_contradict_each_other(settings: dict[str, Any], setting: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        check_settings(Settings(**settings))
    assert caught.value.fields["setting"] == setting


@pytest.mark.parametrize("settings", [SHARED, {**SHARED, "checkpoints": "/d", "profile": Profile.DEV_LOCAL}, DAEMON])
def test_build_refuses_what_it_does_not_have_instead_of_something_else(settings: dict[str, Any]) -> None:
    asked = Settings(**settings)
    with pytest.raises(NotAvailable):
        require_build(asked, check_settings(asked))


def test_build_has_what_the_embedded_durable_session_needs() -> None:
    settings = Settings(profile=DURABLE, data_dir=Path("/d"))
    require_build(settings, check_settings(settings))


def test_invalid_settings_are_refused_before_the_build_is_asked() -> None:
    settings = Settings(mode=RuntimeMode.DISTRIBUTED, placement=ExecutionPlacement.LOCAL_IN_PROCESS)
    with pytest.raises(ConfigurationError) as caught:
        require_build(settings, check_settings(settings))
    assert not isinstance(caught.value, NotAvailable)


@pytest.mark.parametrize(
    ("profile", "place"),
    [
        (Profile.DEV_LOCAL, ShufflePlace.MEMORY),
        (DURABLE, ShufflePlace.LOCAL_DISK),
        (DISTRIBUTED_DURABLE, ShufflePlace.TIERED),
    ],
)
def test_shuffle_is_the_profiles_own_when_it_is_not_set(profile: Profile, place: ShufflePlace) -> None:
    settings = Settings(mode=RuntimeMode.SINGLE_NODE, profile=profile)
    runtime = resolve_runtime(settings.mode)
    assert profile_settings(settings, runtime).shuffle is place
