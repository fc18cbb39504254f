"""What is checked when a session starts: settings that are each fine may still not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from krishiv_guarantees import (
    CheckpointPlace,
    ControlAccess,
    MetadataPlace,
    Profile,
    ProfileSettings,
    ShufflePlace,
    check_profile,
)
from krishiv_stream._errors import InvalidSetting, NotAvailable, ProfileUnfit
from krishiv_stream._modes import ExecutionPlacement, Runtime, RuntimeMode, require_available, resolve_runtime
from krishiv_stream._settings import BUCKET_SCHEMES, Settings, Shuffle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_mode_profile", "check_settings", "profile_settings", "require_build"]

# Profiles are minimums: a mode takes every profile that it can carry out. dev-local is for trials everywhere.
_PROFILES: Final[Mapping[RuntimeMode, tuple[Profile, ...]]] = {
    RuntimeMode.EMBEDDED: (Profile.DEV_LOCAL, Profile.SINGLE_NODE_DURABLE, Profile.DISTRIBUTED_DURABLE),
    RuntimeMode.SINGLE_NODE: (Profile.DEV_LOCAL, Profile.SINGLE_NODE_DURABLE, Profile.DISTRIBUTED_DURABLE),
    RuntimeMode.DISTRIBUTED: (Profile.DEV_LOCAL, Profile.DISTRIBUTED_DURABLE),
}
_CHECKPOINT_SCHEMES: Final[Mapping[str, CheckpointPlace]] = {
    "memory": CheckpointPlace.EPHEMERAL,
    "file": CheckpointPlace.LOCAL,
    **dict.fromkeys(BUCKET_SCHEMES, CheckpointPlace.OBJECT_STORE),
}
_SHUFFLE_PLACES: Final[Mapping[Shuffle, ShufflePlace]] = {
    Shuffle.MEMORY: ShufflePlace.MEMORY,
    Shuffle.LOCAL_DISK: ShufflePlace.LOCAL_DISK,
    Shuffle.TIERED: ShufflePlace.TIERED,
}
_OWN_SHUFFLE: Final[Mapping[Profile, Shuffle]] = {
    Profile.DEV_LOCAL: Shuffle.MEMORY,
    Profile.SINGLE_NODE_DURABLE: Shuffle.LOCAL_DISK,
    Profile.DISTRIBUTED_DURABLE: Shuffle.TIERED,
}


def check_settings(settings: Settings, runtime: Runtime | None = None) -> Runtime:
    """Check that `settings` go together, and return the runtime that they name.

    Parameters
    ----------
    settings : Settings
    runtime : Runtime, optional
        What `runtime_from_env` found; None: what `settings` say.

    Raises
    ------
    InvalidPlacement, CoordinatorUnfit
        If mode, placement and coordinator do not go together.
    ProfileUnfit
        If the mode does not run under the profile.
    ProfileError
        If the profile asks for more than the settings give.
    InvalidSetting
        For two numbers that contradict each other, or a store of an unknown scheme.
    """
    found = runtime or resolve_runtime(settings.mode, settings.placement, settings.coordinator)
    check_mode_profile(found.mode, settings.profile)
    check_profile(settings.profile, profile_settings(settings, found))
    if settings.parallelism > settings.max_key_groups:
        raise InvalidSetting(
            f"parallelism is {settings.parallelism}, but max_key_groups is {settings.max_key_groups}: "
            "a subtask without a key group would do nothing",
            hint="lower parallelism, or raise max_key_groups before the job's first start",
            setting="parallelism",
        )
    return found


def check_mode_profile(mode: RuntimeMode, profile: Profile) -> None:
    """Raise `ProfileUnfit` if `mode` does not run under `profile`."""
    valid = _PROFILES[mode]
    if profile not in valid:
        names = " or ".join(repr(each.label) for each in valid)
        raise ProfileUnfit(
            f"mode {mode.value!r} does not run under profile {profile.label!r}: "
            "one host's disk does not survive the loss of that host",
            hint=f"set profile to {names}",
            mode=mode,
            profile=profile,
            valid=valid,
        )


def require_build(settings: Settings, runtime: Runtime) -> None:
    """Raise `NotAvailable` for what is valid and not part of this build: runtimes and stores. No fallback."""
    require_available(runtime)
    scheme = _scheme(settings.metadata)
    if scheme not in ("", "file"):
        raise NotAvailable(
            f"metadata at {scheme}:// are not available in this build",
            hint="leave metadata unset: it is kept beside the checkpoints",
            setting="metadata",
        )


def profile_settings(settings: Settings, runtime: Runtime) -> ProfileSettings:
    """Return what `settings` come to, as far as profiles ask."""
    return ProfileSettings(
        checkpoints=_checkpoint_place(settings),
        data_dir=settings.data_dir is not None,
        state_snapshots=True,  # memory and RocksDB both have them
        shuffle=_shuffle_place(settings, runtime),
        metadata=_metadata_place(settings),
        fencing=settings.fencing,
        control=_control_access(settings, runtime),
    )


def _checkpoint_place(settings: Settings) -> CheckpointPlace:
    if settings.checkpoints is None:
        return CheckpointPlace.EPHEMERAL if settings.data_dir is None else CheckpointPlace.LOCAL
    scheme = _scheme(settings.checkpoints)
    if scheme and scheme not in _CHECKPOINT_SCHEMES:
        raise InvalidSetting(
            f"checkpoints cannot be kept at {scheme}://",
            hint="write a folder, memory://, file:///folder or s3://bucket/prefix",
            setting="checkpoints",
        )
    return _CHECKPOINT_SCHEMES.get(scheme, CheckpointPlace.LOCAL)


def _metadata_place(settings: Settings) -> MetadataPlace:
    scheme = _scheme(settings.metadata)
    if scheme not in ("", "file", "etcd"):
        raise InvalidSetting(
            f"metadata cannot be kept at {scheme}://",
            hint="leave it unset, or write etcd://host:2379",
            setting="metadata",
        )
    return MetadataPlace.ETCD if scheme == "etcd" else MetadataPlace.LOCAL


def _shuffle_place(settings: Settings, runtime: Runtime) -> ShufflePlace:
    if runtime.mode is RuntimeMode.EMBEDDED:
        return ShufflePlace.CHANNELS
    return _SHUFFLE_PLACES[settings.shuffle or _OWN_SHUFFLE[settings.profile]]


def _control_access(settings: Settings, runtime: Runtime) -> ControlAccess:
    if runtime.placement is ExecutionPlacement.LOCAL_IN_PROCESS:
        return ControlAccess.NONE
    return ControlAccess.OPEN if settings.control_token is None else ControlAccess.AUTHENTICATED


def _scheme(location: str | None) -> str:
    scheme, separator, _ = (location or "").partition("://")
    return scheme.lower() if separator else ""
