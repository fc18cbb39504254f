"""Durability profiles: what each refuses, and that the refusal names the setting to change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from krishiv_guarantees import (
    CheckpointPlace,
    ConfigurationError,
    ControlAccess,
    FailureDomain,
    MetadataPlace,
    Profile,
    ProfileError,
    ProfileSettings,
    ShufflePlace,
    check_profile,
    unmet_requirements,
)

FIT = {
    Profile.DEV_LOCAL: ProfileSettings(checkpoints=CheckpointPlace.NONE),
    Profile.SINGLE_NODE_DURABLE: ProfileSettings(checkpoints=CheckpointPlace.LOCAL, data_dir=True),
    Profile.DISTRIBUTED_DURABLE: ProfileSettings(
        checkpoints=CheckpointPlace.OBJECT_STORE,
        shuffle=ShufflePlace.TIERED,
        metadata=MetadataPlace.ETCD,
        fencing=True,
        control=ControlAccess.AUTHENTICATED,
    ),
}
SINGLE, DISTRIBUTED = Profile.SINGLE_NODE_DURABLE, Profile.DISTRIBUTED_DURABLE
REFUSED: list[tuple[Profile, dict[str, Any], str]] = [
    (SINGLE, {"checkpoints": CheckpointPlace.NONE}, "checkpoints"),
    (SINGLE, {"checkpoints": CheckpointPlace.EPHEMERAL}, "checkpoints"),
    (SINGLE, {"data_dir": False}, "data_dir"),
    (SINGLE, {"state_snapshots": False}, "state"),
    (SINGLE, {"control": ControlAccess.OPEN}, "control_token"),
    (DISTRIBUTED, {"checkpoints": CheckpointPlace.EPHEMERAL}, "checkpoints"),
    (DISTRIBUTED, {"checkpoints": CheckpointPlace.LOCAL}, "checkpoints"),
    (DISTRIBUTED, {"state_snapshots": False}, "state"),
    (DISTRIBUTED, {"shuffle": ShufflePlace.MEMORY}, "shuffle"),
    (DISTRIBUTED, {"shuffle": ShufflePlace.LOCAL_DISK}, "shuffle"),
    (DISTRIBUTED, {"metadata": MetadataPlace.LOCAL}, "metadata"),
    (DISTRIBUTED, {"fencing": False}, "fencing"),
    (DISTRIBUTED, {"control": ControlAccess.OPEN}, "control_token"),
]
ACCEPTED: list[tuple[Profile, dict[str, Any]]] = [
    (Profile.DEV_LOCAL, {"state_snapshots": False, "control": ControlAccess.OPEN, "shuffle": ShufflePlace.MEMORY}),
    (SINGLE, {"checkpoints": CheckpointPlace.OBJECT_STORE}),
    (SINGLE, {"control": ControlAccess.AUTHENTICATED}),
    (SINGLE, {"shuffle": ShufflePlace.CHANNELS}),
    (DISTRIBUTED, {"shuffle": ShufflePlace.CHANNELS}),
    (DISTRIBUTED, {"control": ControlAccess.NONE}),
]


@pytest.mark.parametrize("profile", list(Profile))
def test_profile_accepts_what_it_asks_for(profile: Profile) -> None:
    check_profile(profile, FIT[profile])


@pytest.mark.parametrize(("profile", "change"), ACCEPTED)
def test_profile_is_a_minimum(profile: Profile, change: dict[str, Any]) -> None:
    check_profile(profile, replace(FIT[profile], **change))


@pytest.mark.parametrize(("profile", "change", "setting"), REFUSED)
def test_profile_refuses_and_names_the_setting(profile: Profile, change: dict[str, Any], setting: str) -> None:
    with pytest.raises(ProfileError) as caught:
        check_profile(profile, replace(FIT[profile], **change))
    assert caught.value.fields["settings"] == (setting,)
    assert setting in caught.value.hint
    assert profile.value in caught.value.message


def test_profile_refuses_everything_at_once_when_nothing_fits() -> None:
    poor = ProfileSettings(
        checkpoints=CheckpointPlace.NONE,
        state_snapshots=False,
        shuffle=ShufflePlace.MEMORY,
        control=ControlAccess.OPEN,
    )
    assert unmet_requirements(DISTRIBUTED, poor) == DISTRIBUTED.spec.requirements
    assert unmet_requirements(SINGLE, poor) == SINGLE.spec.requirements


def test_profiles_survive_more_from_one_to_the_next() -> None:
    assert [profile.spec.survives for profile in Profile] == [
        FailureDomain.TASK,
        FailureDomain.HOST_RESTART,
        FailureDomain.HOST_LOSS,
    ]


@pytest.mark.parametrize("profile", list(Profile))
def test_profile_is_parsed_from_its_name_and_from_itself(profile: Profile) -> None:
    assert Profile.parse(profile.label) is Profile.parse(profile) is profile


def test_unknown_profile_is_an_error_that_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Profile.parse("single-node")
    assert "did you mean 'single-node-durable'?" in caught.value.hint
    assert all(profile.label in caught.value.hint for profile in Profile)
