"""How a session executes: the mode that the user picks, the placement of the data plane, and which pairs exist."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from krishiv_stream._errors import CoordinatorUnfit, InvalidPlacement, ModeMismatch, NotAvailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ExecutionPlacement", "Runtime", "RuntimeMode", "require_available", "resolve_runtime", "runtime_from_env"]


class RuntimeMode(StrEnum):
    """What the user picks."""

    EMBEDDED = "embedded"
    """In this process, without a daemon: tests and local use."""
    SINGLE_NODE = "single-node"
    """Every piece of the engine on one host."""
    DISTRIBUTED = "distributed"
    """A remote coordinator and remote executors."""


class ExecutionPlacement(StrEnum):
    """Where the data plane may run."""

    LOCAL_IN_PROCESS = "local-in-process"
    """In this process, or in child processes that this one owns."""
    SINGLE_NODE_DAEMON = "single-node-daemon"
    """In a daemon on this host."""
    REMOTE_CLUSTER = "remote-cluster"
    """In the executors of a remote cluster."""


# Each mode's valid placements; the first is the default where no coordinator is given.
_VALID: Final[dict[RuntimeMode, tuple[ExecutionPlacement, ...]]] = {
    RuntimeMode.EMBEDDED: (ExecutionPlacement.LOCAL_IN_PROCESS,),
    RuntimeMode.SINGLE_NODE: (ExecutionPlacement.LOCAL_IN_PROCESS, ExecutionPlacement.SINGLE_NODE_DAEMON),
    RuntimeMode.DISTRIBUTED: (ExecutionPlacement.REMOTE_CLUSTER,),
}
_WHY_NOT: Final[dict[RuntimeMode, str]] = {
    RuntimeMode.EMBEDDED: "an embedded session runs in its own process and nowhere else",
    RuntimeMode.SINGLE_NODE: "a single node is a daemon on this host or a cluster inside the session's process",
    RuntimeMode.DISTRIBUTED: "a distributed session runs on its cluster and never falls back to this host",
}
_FLIGHT_SCHEMES: Final = ("grpc", "grpc+tcp", "grpc+tls")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A mode and placement that belong together, with the coordinator that they need.

    Parameters
    ----------
    mode : RuntimeMode
    placement : ExecutionPlacement
    coordinator : str or None
        Flight URL of the coordinator; None in process.
    """

    mode: RuntimeMode
    placement: ExecutionPlacement
    coordinator: str | None = None


def resolve_runtime(
    mode: RuntimeMode, placement: ExecutionPlacement | None = None, coordinator: str | None = None
) -> Runtime:
    """Return the runtime that these three settings name; nothing is started or asked.

    Parameters
    ----------
    mode : RuntimeMode
    placement : ExecutionPlacement, optional
        None: the mode's own; for a single node, the daemon if a coordinator is given.
    coordinator : str, optional
        ``grpc://host:port``, ``grpc+tcp://…`` or ``grpc+tls://…``.

    Raises
    ------
    InvalidPlacement
        For the five pairs of mode and placement that do not exist.
    CoordinatorUnfit
        If the placement needs a coordinator and has none, has none to use and is given one, or a daemon's is not on
        the loopback interface.

    Examples
    --------
    >>> resolve_runtime(RuntimeMode.EMBEDDED).placement
    <ExecutionPlacement.LOCAL_IN_PROCESS: 'local-in-process'>
    """
    chosen = placement or _default_placement(mode, coordinator)
    valid = _VALID[mode]
    if chosen not in valid:
        raise InvalidPlacement(
            f"mode {mode.value!r} cannot run at placement {chosen.value!r}: {_WHY_NOT[mode]}",
            hint=f"with this mode set placement to {_one_of(valid)}, or leave it out",
            mode=mode,
            placement=chosen,
            valid=valid,
        )
    _check_coordinator(mode, chosen, coordinator)
    return Runtime(mode=mode, placement=chosen, coordinator=coordinator)


def runtime_from_env(
    mode: RuntimeMode | None,
    placement: ExecutionPlacement | None,
    coordinator: str | None,
    ask_mode: Callable[[str], RuntimeMode],
) -> Runtime:
    """Return the runtime of a session that takes its settings from its surroundings.

    A mode that is not set is embedded without a coordinator; with one, the coordinator there states its mode. A mode
    that is set must be the one the coordinator states: a forwarded port looks like loopback, so the URL proves nothing.

    Parameters
    ----------
    mode : RuntimeMode or None
        None if nothing set it.
    ask_mode : callable
        Asks the coordinator at a URL for its mode. Called once if there is a coordinator, else not at all.

    Raises
    ------
    ModeMismatch
        If a mode was set and the coordinator's is another.
    """
    if coordinator is None:
        return resolve_runtime(mode or RuntimeMode.EMBEDDED, placement, None)
    actual = ask_mode(coordinator)
    if mode is not None and actual is not mode:
        raise ModeMismatch(
            f"the mode is set to {mode.value!r}, but the coordinator at {coordinator} runs {actual.value!r}",
            hint="unset the mode to take the coordinator's, or point the coordinator setting at another one",
            mode=mode,
            actual=actual,
            coordinator=coordinator,
        )
    return resolve_runtime(actual, placement, coordinator)


def require_available(runtime: Runtime) -> None:
    """Raise `NotAvailable` unless this build can execute `runtime`. Never falls back to another."""
    if runtime.mode is not RuntimeMode.EMBEDDED:
        raise NotAvailable(
            f"mode {runtime.mode.value!r} at placement {runtime.placement.value!r} is not available in this build",
            hint=f"this build runs mode {RuntimeMode.EMBEDDED.value!r} only; set it to run in this process",
            mode=runtime.mode,
            placement=runtime.placement,
        )


def _default_placement(mode: RuntimeMode, coordinator: str | None) -> ExecutionPlacement:
    if mode is RuntimeMode.SINGLE_NODE and coordinator is not None:
        return ExecutionPlacement.SINGLE_NODE_DAEMON
    return _VALID[mode][0]


def _check_coordinator(mode: RuntimeMode, placement: ExecutionPlacement, coordinator: str | None) -> None:
    problem = _coordinator_problem(placement, coordinator)
    if problem is not None:
        message, hint = problem
        raise CoordinatorUnfit(
            f"mode {mode.value!r} at placement {placement.value!r} {message}",
            hint=hint,
            mode=mode,
            placement=placement,
        )


def _coordinator_problem(placement: ExecutionPlacement, coordinator: str | None) -> tuple[str, str] | None:
    if placement is ExecutionPlacement.LOCAL_IN_PROCESS:
        if coordinator is None:
            return None
        return f"uses no coordinator, but {coordinator!r} is set", "unset coordinator, or set the mode that uses it"
    if coordinator is None:
        return "needs a coordinator", "set coordinator (KRISHIV_COORDINATOR) to a Flight URL like 'grpc://host:7411'"
    url = urlsplit(coordinator)
    if url.scheme not in _FLIGHT_SCHEMES or not url.hostname:
        return (
            f"needs a Flight URL as its coordinator, not {coordinator!r}",
            "write it like 'grpc://host:7411' or 'grpc+tls://host:7411'",
        )
    if placement is ExecutionPlacement.SINGLE_NODE_DAEMON and not _is_loopback(url.hostname):
        return (
            f"needs a coordinator on this host, not {coordinator!r}",
            "use a loopback address such as 'grpc://127.0.0.1:7411', or set mode to 'distributed'",
        )
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _one_of(placements: tuple[ExecutionPlacement, ...]) -> str:
    return " or ".join(repr(placement.value) for placement in placements)
