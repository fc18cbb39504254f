"""Durability profiles: what each keeps where, what it survives, and what it asks of a session's settings.

A profile is a minimum. Each requirement is data, so that whoever checks it can name the setting to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, StrEnum

from krishiv_guarantees._capabilities import FailureDomain
from krishiv_guarantees._errors import ConfigurationError, ProfileError
from krishiv_guarantees._levels import Guarantee

__all__ = [
    "CheckpointPlace",
    "ControlAccess",
    "MetadataPlace",
    "Profile",
    "ProfileSettings",
    "ProfileSpec",
    "Requirement",
    "ShufflePlace",
    "check_profile",
    "unmet_requirements",
]


class CheckpointPlace(StrEnum):
    """Where checkpoints go."""

    NONE = "none"
    EPHEMERAL = "ephemeral local"
    LOCAL = "local filesystem"
    OBJECT_STORE = "object store"


class ShufflePlace(StrEnum):
    """Where rows wait between tasks of different workers."""

    CHANNELS = "in-process channels"
    MEMORY = "memory"
    LOCAL_DISK = "local disk"
    TIERED = "tiered: local disk + object store"


class MetadataPlace(StrEnum):
    """Where leadership and the pointer to the newest log entry live."""

    LOCAL = "beside the checkpoints"
    ETCD = "etcd"


class ControlAccess(StrEnum):
    """Who may tell the job what to do."""

    NONE = "nothing listens"
    AUTHENTICATED = "authenticated"
    OPEN = "unauthenticated"


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """What a session was set to, as far as profiles ask.

    Parameters
    ----------
    checkpoints : CheckpointPlace
        Where checkpoints go.
    data_dir : bool
        Whether a data directory is set.
    state_snapshots : bool
        Whether the state backend can be snapshotted and restored.
    shuffle : ShufflePlace
        Where rows wait between workers. In-process channels are not shuffle and pass under every profile.
    metadata : MetadataPlace
        Where the commit point's metadata lives.
    fencing : bool
        Whether coordination is fenced: a writer with an old token cannot change the job's log.
    control : ControlAccess
        Who may reach the control interface.
    """

    checkpoints: CheckpointPlace
    data_dir: bool = False
    state_snapshots: bool = True
    shuffle: ShufflePlace = ShufflePlace.CHANNELS
    metadata: MetadataPlace = MetadataPlace.LOCAL
    fencing: bool = False
    control: ControlAccess = ControlAccess.NONE


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that a profile asks for.

    Parameters
    ----------
    field : str
        The attribute of `ProfileSettings` that it looks at.
    accepts : frozenset
        The values that meet it.
    setting : str
        The setting that a user changes to meet it.
    reason : str
        What is wrong when it is not met, as a clause that follows "profile ... refuses".
    remedy : str
        How to change the setting.
    """

    field: str
    accepts: frozenset[object]
    setting: str
    reason: str
    remedy: str

    def met_by(self, settings: ProfileSettings) -> bool:
        """Whether `settings` give what is asked for."""
        return getattr(settings, self.field) in self.accepts


@dataclass(frozen=True, kw_only=True)
class ProfileSpec:
    """What a profile promises and asks for.

    Parameters
    ----------
    state, shuffle, checkpoints : str
        What is kept where, as in the documentation's table.
    survives : FailureDomain
        The worst failure that a job outlives.
    guarantee : Guarantee
        The profile's own level, one link of the chain.
    requirements : tuple of Requirement
        All must be met when a session starts.
    """

    state: str
    shuffle: str
    checkpoints: str
    survives: FailureDomain
    guarantee: Guarantee
    requirements: tuple[Requirement, ...] = ()


_SNAPSHOTS = Requirement(
    field="state_snapshots",
    accepts=frozenset({True}),
    setting="state",
    reason="a state backend without snapshots: nothing could be restored",
    remedy='set state="memory" or state="rocksdb"; both can be snapshotted',
)
_CONTROL = Requirement(
    field="control",
    accepts=frozenset({ControlAccess.NONE, ControlAccess.AUTHENTICATED}),
    setting="control_token",
    reason="unauthenticated control access: anyone could stop or drain the job",
    remedy="set control_token (KRISHIV_CONTROL_TOKEN)",
)
_DATA_DIR = Requirement(
    field="data_dir",
    accepts=frozenset({True}),
    setting="data_dir",
    reason="a session without a data directory",
    remedy='set data_dir="./data" (a disk that outlives a restart of the host)',
)
_DURABLE_CHECKPOINTS = Requirement(
    field="checkpoints",
    accepts=frozenset({CheckpointPlace.LOCAL, CheckpointPlace.OBJECT_STORE}),
    setting="checkpoints",
    reason="ephemeral checkpoints: they die with the process",
    remedy='leave checkpoints unset (they go under data_dir) or set checkpoints="s3://bucket/prefix"',
)
_SHARED_CHECKPOINTS = Requirement(
    field="checkpoints",
    accepts=frozenset({CheckpointPlace.OBJECT_STORE}),
    setting="checkpoints",
    reason="checkpoints that are ephemeral or on one host's disk: they are lost with the host",
    remedy='set checkpoints="s3://bucket/prefix" and storage=ks.S3(...)',
)
_TIERED_SHUFFLE = Requirement(
    field="shuffle",
    accepts=frozenset({ShufflePlace.CHANNELS, ShufflePlace.TIERED}),
    setting="shuffle",
    reason="untiered shuffle: rows between hosts are lost with the host",
    remedy='set shuffle="tiered"',
)
_ETCD = Requirement(
    field="metadata",
    accepts=frozenset({MetadataPlace.ETCD}),
    setting="metadata",
    reason="metadata outside etcd: two coordinators could both believe that they lead",
    remedy='set metadata="etcd://host:2379"',
)
_FENCING = Requirement(
    field="fencing",
    accepts=frozenset({True}),
    setting="fencing",
    reason="coordination without fencing: a writer that was replaced could still write",
    remedy="set fencing=True",
)

_SPECS = {
    "dev-local": ProfileSpec(
        state="memory",
        shuffle="memory",
        checkpoints="ephemeral local",
        survives=FailureDomain.TASK,
        guarantee=Guarantee.BEST_EFFORT,
    ),
    "single-node-durable": ProfileSpec(
        state="RocksDB, local",
        shuffle="local disk",
        checkpoints="local filesystem",
        survives=FailureDomain.HOST_RESTART,
        guarantee=Guarantee.EXACTLY_ONCE,
        requirements=(_DATA_DIR, _DURABLE_CHECKPOINTS, _SNAPSHOTS, _CONTROL),
    ),
    "distributed-durable": ProfileSpec(
        state="RocksDB, restored from the checkpoint",
        shuffle="tiered: local disk + object store",
        checkpoints="object store; metadata in etcd; fenced coordination",
        survives=FailureDomain.HOST_LOSS,
        guarantee=Guarantee.EXACTLY_ONCE,
        requirements=(_SHARED_CHECKPOINTS, _SNAPSHOTS, _TIERED_SHUFFLE, _ETCD, _FENCING, _CONTROL),
    ),
}


class Profile(Enum):
    """How much a job survives; the value is the name that users type."""

    DEV_LOCAL = "dev-local"
    SINGLE_NODE_DURABLE = "single-node-durable"
    DISTRIBUTED_DURABLE = "distributed-durable"

    @property
    def label(self) -> str:
        """The name as users type it."""
        return self.value

    @property
    def spec(self) -> ProfileSpec:
        """What it promises and asks for."""
        return _SPECS[self.value]

    @classmethod
    def parse(cls, value: str | Profile) -> Profile:
        """Return the profile that `value` names.

        Raises
        ------
        ConfigurationError
            If `value` names none; the hint lists them all.
        """
        if isinstance(value, Profile):
            return value
        if value in _SPECS:
            return cls(value)
        close = get_close_matches(value, _SPECS, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        names = ", ".join(repr(name) for name in _SPECS)
        raise ConfigurationError(f"unknown profile {value!r}", hint=f"{guess}one of {names}")


def unmet_requirements(profile: Profile, settings: ProfileSettings) -> tuple[Requirement, ...]:
    """Return what `profile` asks for and `settings` do not give."""
    return tuple(requirement for requirement in profile.spec.requirements if not requirement.met_by(settings))


def check_profile(profile: Profile, settings: ProfileSettings) -> None:
    """Refuse `settings` that are below `profile`.

    Raises
    ------
    ProfileError
        Lists every unmet requirement; the hint names each setting to change.
    """
    unmet = unmet_requirements(profile, settings)
    if unmet:
        raise ProfileError(
            f"profile {profile.label!r} refuses " + "; ".join(requirement.reason for requirement in unmet),
            hint="; ".join(requirement.remedy for requirement in unmet),
            profile=profile.label,
            settings=tuple(requirement.setting for requirement in unmet),
        )
