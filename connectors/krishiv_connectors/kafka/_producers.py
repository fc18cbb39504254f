"""Producers as sinks need them, and what went wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_connectors.kafka._client import translated

if TYPE_CHECKING:
    from krishiv_connectors.kafka._client import Clients
    from krishiv_connectors.kafka._outgoing import Limits
    from krishiv_guarantees import KrishivError

__all__ = ["Told", "new_producer"]

_UNDER_WAY = frozenset(("_PURGE_QUEUE", "_PURGE_INFLIGHT"))


class Told:
    """Errors that a producer reports by callback: of deliveries, and of connections."""

    def __init__(self) -> None:
        self.delivery: Any = None
        self.connection: Any = None

    def undelivered(self, error: Any, _: Any) -> None:
        """Note the first message that could not be delivered."""
        if error is not None and self.delivery is None and error.name() not in _UNDER_WAY:
            self.delivery = error

    def heard(self, error: Any) -> None:
        """Note what the client says of a connection."""
        self.connection = error

    def refusal(self, what: str) -> KrishivError | None:
        """Return why the broker does not let this client in, if that is what it says."""
        from krishiv_connectors.kafka._errors import KafkaRefused

        error = None if self.connection is None else translated(self.connection, what)
        return error if isinstance(error, KafkaRefused) else None


def new_producer(clients: Clients, limits: Limits, partitioner: str, told: Told, **ours: Any) -> Any:
    """Return a producer whose batches fit the topics; users' own client properties go before what is tuned here."""
    batch, linger = clients.get("batch.size"), clients.get("linger.ms")
    if clients.get("queue.buffering.max.messages") is None:
        ours["queue_buffering_max_messages"] = 0  # no limit by number: that by bytes holds
    return clients.producer(
        partitioner=partitioner,
        batch_size=limits.batch if batch is None else min(int(batch), limits.batch),
        message_max_bytes=max(limits.message, 1_000),
        linger_ms=5 if linger is None else linger,
        delivery_report_only_error=True,
        on_delivery=told.undelivered,
        error_cb=told.heard,
        **ours,
    )
