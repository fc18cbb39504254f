"""The nine pairs of mode and placement, what each needs, and what this build can run."""

from __future__ import annotations

from itertools import product

import pytest

from krishiv_stream._errors import CoordinatorUnfit, InvalidPlacement, ModeMismatch, NotAvailable
from krishiv_stream._modes import (
    ExecutionPlacement,
    Runtime,
    RuntimeMode,
    require_available,
    resolve_runtime,
    runtime_from_env,
)

EMBEDDED, SINGLE_NODE, DISTRIBUTED = RuntimeMode
LOCAL, DAEMON, REMOTE = ExecutionPlacement

VALID = {
    (EMBEDDED, LOCAL): None,
    (SINGLE_NODE, LOCAL): None,
    (SINGLE_NODE, DAEMON): "grpc://127.0.0.1:7411",
    (DISTRIBUTED, REMOTE): "grpc+tls://coordinator.example:7411",
}
INVALID = [pair for pair in product(RuntimeMode, ExecutionPlacement) if pair not in VALID]


@pytest.mark.parametrize(("mode", "placement"), VALID)
def test_runtime_is_resolved_when_mode_and_placement_belong_together(
    mode: RuntimeMode, placement: ExecutionPlacement
) -> None:
    coordinator = VALID[mode, placement]
    expected = Runtime(mode=mode, placement=placement, coordinator=coordinator)
    assert resolve_runtime(mode, placement, coordinator) == expected


def test_invalid_pairs_are_five() -> None:
    assert len(INVALID) == 5


@pytest.mark.parametrize(("mode", "placement"), INVALID)
@pytest.mark.parametrize("coordinator", [None, "grpc://127.0.0.1:7411"])
def test_runtime_is_refused_when_mode_and_placement_do_not_belong_together(
    mode: RuntimeMode, placement: ExecutionPlacement, coordinator: str | None
) -> None:
    with pytest.raises(InvalidPlacement) as caught:
        resolve_runtime(mode, placement, coordinator)
    assert caught.value.fields["mode"] is mode
    assert caught.value.fields["placement"] is placement
    assert all(each.value in caught.value.hint for each in caught.value.fields["valid"])


@pytest.mark.parametrize(
    ("mode", "coordinator", "placement"),
    [
        (EMBEDDED, None, LOCAL),
        (SINGLE_NODE, None, LOCAL),
        (SINGLE_NODE, "grpc://localhost:7411", DAEMON),
        (SINGLE_NODE, "grpc://[::1]:7411", DAEMON),
        (DISTRIBUTED, "grpc://10.0.0.7:7411", REMOTE),
    ],
)
def test_placement_is_the_modes_own_when_it_is_not_set(
    mode: RuntimeMode, coordinator: str | None, placement: ExecutionPlacement
) -> None:
    assert resolve_runtime(mode, None, coordinator).placement is placement


@pytest.mark.parametrize(
    ("mode", "placement", "coordinator"),
    [
        (DISTRIBUTED, None, None),
        (DISTRIBUTED, None, "http://coordinator.example:7411"),
        (DISTRIBUTED, None, "coordinator.example:7411"),
        (DISTRIBUTED, None, "grpc://"),
        (SINGLE_NODE, DAEMON, None),
        (SINGLE_NODE, None, "grpc://10.0.0.7:7411"),
        (SINGLE_NODE, None, "grpc://coordinator.example:7411"),
        (SINGLE_NODE, LOCAL, "grpc://127.0.0.1:7411"),
        (EMBEDDED, None, "grpc://127.0.0.1:7411"),
    ],
)
def test_runtime_is_refused_when_its_coordinator_does_not_fit(
    mode: RuntimeMode, placement: ExecutionPlacement | None, coordinator: str | None
) -> None:
    with pytest.raises(CoordinatorUnfit) as caught:
        resolve_runtime(mode, placement, coordinator)
    assert caught.value.hint


def never_asked(coordinator: str) -> RuntimeMode:
    raise AssertionError(f"{coordinator} was asked")


def test_mode_from_env_is_embedded_when_neither_mode_nor_coordinator_is_set() -> None:
    assert runtime_from_env(None, None, None, never_asked) == resolve_runtime(EMBEDDED)


def test_mode_from_env_is_the_set_one_when_there_is_no_coordinator() -> None:
    assert runtime_from_env(SINGLE_NODE, None, None, never_asked).mode is SINGLE_NODE


@pytest.mark.parametrize("actual", [SINGLE_NODE, DISTRIBUTED])
@pytest.mark.parametrize("is_set", [True, False])
def test_mode_from_env_is_what_the_coordinator_states_when_it_agrees_or_none_is_set(
    actual: RuntimeMode, is_set: bool
) -> None:
    url = "grpc://127.0.0.1:7411"
    asked: list[str] = []

    def ask(coordinator: str) -> RuntimeMode:
        asked.append(coordinator)
        return actual

    runtime = runtime_from_env(actual if is_set else None, None, url, ask)
    assert (runtime.mode, runtime.coordinator, asked) == (actual, url, [url])


@pytest.mark.parametrize(
    ("mode", "actual"), [(m, a) for m in RuntimeMode for a in (SINGLE_NODE, DISTRIBUTED) if m != a]
)
def test_mode_from_env_is_refused_when_the_coordinator_states_another(mode: RuntimeMode, actual: RuntimeMode) -> None:
    with pytest.raises(ModeMismatch, match=actual.value):
        runtime_from_env(mode, None, "grpc://127.0.0.1:7411", lambda _: actual)


@pytest.mark.parametrize("pair", [pair for pair in VALID if pair[0] is not EMBEDDED])
def test_other_runtimes_are_refused_when_this_build_has_only_the_embedded_one(
    pair: tuple[RuntimeMode, ExecutionPlacement],
) -> None:
    with pytest.raises(NotAvailable):
        require_available(resolve_runtime(*pair, VALID[pair]))


def test_embedded_runtime_is_available() -> None:
    require_available(resolve_runtime(EMBEDDED))
