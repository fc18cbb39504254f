"""The settings of Kafka clients: which properties are the user's, which are ours, and where secrets are kept.

Types of ``confluent_kafka`` are unknown to the type checkers in part; what comes from it is `Any` here.
"""

from __future__ import annotations

import difflib
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from krishiv_connectors._extras import need
from krishiv_connectors._secrets import Secret
from krishiv_connectors.kafka._errors import (
    BadClientProperty,
    KafkaFailed,
    KafkaRefused,
    KafkaUnavailable,
    TopicMissing,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from krishiv_guarantees import KrishivError

__all__ = ["CLIENT_LIBRARY", "Admin", "Clients", "kafka_errors", "translated"]

CLIENT_LIBRARY = "confluent-kafka"

_log = logging.getLogger("krishiv_connectors.kafka.client")
_log.addHandler(logging.NullHandler())

_SECRET = frozenset(
    (
        "sasl.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    )
)
_SECURITY = frozenset(
    (
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.kerberos.service.name",
        "sasl.kerberos.principal",
        "sasl.kerberos.keytab",
        "sasl.kerberos.kinit.cmd",
        "sasl.kerberos.min.time.before.relogin",
        "sasl.oauthbearer.method",
        "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.scope",
        "sasl.oauthbearer.extensions",
        "sasl.oauthbearer.token.endpoint.url",
        "enable.ssl.certificate.verification",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.certificate.pem",
        "ssl.cipher.suites",
        "ssl.crl.location",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.keystore.location",
    )
)
_TUNING = frozenset(
    (
        "broker.address.family",
        "broker.address.ttl",
        "client.dns.lookup",
        "client.id",
        "client.rack",
        "connections.max.idle.ms",
        "debug",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.timeout.ms",
        "linger.ms",
        "log_level",
        "max.partition.fetch.bytes",
        "message.max.bytes",
        "message.timeout.ms",
        "metadata.max.age.ms",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "receive.message.max.bytes",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "request.timeout.ms",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "socket.connection.setup.timeout.ms",
        "socket.keepalive.enable",
        "socket.max.fails",
        "socket.nagle.disable",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "topic.metadata.refresh.interval.ms",
        "transaction.timeout.ms",
    )
)
_ALLOWED = _SECRET | _SECURITY | _TUNING

_LOOK = 0.05
"""Seconds between two looks at a request's connections."""

_OURS = {
    "bootstrap.servers": "it is the first argument, brokers",
    "metadata.broker.list": "it is the first argument, brokers",
    "group.id": 'partitions are assigned by the job; where others look for its offsets is group="..."',
    "auto.offset.reset": 'where to begin is start="..."',
    "enable.auto.commit": "offsets are published after their epoch is committed",
    "isolation.level": 'it is the argument isolation="read_committed" or "read_uncommitted"',
    "transactional.id": "it is made of lineage, sink and slot, so that a zombie is fenced",
    "enable.idempotence": "it is always on: without it retries reorder and double records",
    "acks": 'it is always "all": less loses records that were acknowledged',
    "request.required.acks": 'it is always "all": less loses records that were acknowledged',
    "max.in.flight": "idempotence decides it",
    "max.in.flight.requests.per.connection": "idempotence decides it",
    "partitioner": 'it is the argument partitioner="..."',
    "on_delivery": "delivery errors are raised by flush",
    "error_cb": "errors are raised where they matter",
    "stats_cb": "statistics are in the job's metrics",
}


class Clients:
    """Makes the clients of one connector. It prints without secrets, and reads them when a client is made.

    Parameters
    ----------
    brokers : str or sequence of str
        ``host:port``, one or several (as one text: with commas between).
    properties : mapping
        librdkafka's client properties (https://docs.confluent.io/platform/current/clients/librdkafka/html/
        md_CONFIGURATION.html), of which those that bear on the guarantee are the connector's own. A secret may be a
        `Secret`; as plain text it is turned into one.

    Raises
    ------
    BadClientProperty
        If a property is unknown or not the user's to set.
    """

    def __init__(self, brokers: str | Sequence[str], properties: Mapping[str, Any] | None = None) -> None:
        self.brokers = brokers if isinstance(brokers, str) else ",".join(brokers)
        self._properties = {name: _checked(name, value) for name, value in (properties or {}).items()}

    def __repr__(self) -> str:
        return f"Clients({self.brokers!r}, {self._properties!r})"

    def get(self, name: str) -> Any:
        """Return a property that the user set, or None; a secret as a `Secret`."""
        return self._properties.get(name)

    def consumer(self, **ours: Any) -> Any:
        """Return a new consumer that belongs to no group's assignment. Names of `ours` have ``_`` for ``.``."""
        library = _library()
        settings = {
            "group.id": "krishiv-stream",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # A client that holds enough looks again after so long; in librdkafka's own 1,000 it runs dry.
            "fetch.queue.backoff.ms": 10,
            **self._revealed(),
            **_dotted(ours),
        }
        with kafka_errors(f"a consumer of {self.brokers}"):
            return library.Consumer(settings)

    def producer(self, **ours: Any) -> Any:
        """Return a new idempotent producer."""
        library = _library()
        settings = {"enable.idempotence": True, "acks": "all", **self._revealed(), **_dotted(ours)}
        with kafka_errors(f"a producer of {self.brokers}"):
            return library.Producer(settings)

    @contextmanager
    def admin(self, what: str) -> Generator[Admin]:
        """Give a new admin client, and raise what goes wrong with it as ours.

        Parameters
        ----------
        what : str
            What is asked, as a phrase.
        """
        _library()
        with kafka_errors(f"{what} at {self.brokers}"):
            yield self.new_admin()

    def new_admin(self) -> Admin:
        """Return a new admin client; what goes wrong with it is for `kafka_errors`."""
        from confluent_kafka.admin import AdminClient

        told: list[Any] = []
        settings: Any = {**self._revealed(), "error_cb": told.append}  # declared to hold no callbacks
        return Admin(AdminClient(settings), told)

    def _revealed(self) -> dict[str, Any]:
        own = {name: v.reveal() if isinstance(v, Secret) else v for name, v in self._properties.items()}
        # Errors reach us as errors; librdkafka would print them to stderr besides.
        quiet: dict[str, Any] = {"log_level": 0, "logger": _log}
        return {"bootstrap.servers": self.brokers, **quiet, **own}


class Admin:
    """An admin client, and what it was told of its connections.

    Parameters
    ----------
    told : list
        Errors of connections; the client appends to it while it is polled.
    """

    def __init__(self, client: Any, told: list[Any]) -> None:
        self.client = client
        self._told = told

    def result(self, future: Any) -> Any:
        """Return what a request's future gives; a broker that refuses the connection is not waited for."""
        while True:
            try:
                return future.result(_LOOK)
            except TimeoutError:
                self.client.poll(0)
            for error in self._told:
                if error.name() in _REFUSED:
                    raise _exception(error)


def _exception(error: Any) -> Exception:
    from confluent_kafka import KafkaException

    return KafkaException(error)


def _checked(name: str, value: Any) -> Any:
    if name in _OURS:
        raise BadClientProperty(f"client property {name!r} is not set here", hint=_OURS[name], property=name)
    if name not in _ALLOWED:
        near = difflib.get_close_matches(name, _ALLOWED, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see librdkafka's CONFIGURATION.md for the names"
        raise BadClientProperty(f"client property {name!r} is not one that can be set", hint=hint, property=name)
    if name in _SECRET and not isinstance(value, Secret):
        return Secret(str(value))
    return value


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    # Callbacks alone are written with an underscore.
    return {name if callable(value) else name.replace("_", "."): value for name, value in settings.items()}


def _library() -> Any:
    return need("confluent_kafka", "kafka", what="a Kafka connector")


# ---------------------------------------------------------------- errors

_REFUSED = {
    "_AUTHENTICATION": "check sasl.username, sasl.password and sasl.mechanism in client={...}",
    "SASL_AUTHENTICATION_FAILED": "check sasl.username, sasl.password and sasl.mechanism in client={...}",
    "_SSL": "check security.protocol and the ssl.* properties in client={...}",
    "TOPIC_AUTHORIZATION_FAILED": "grant this user Read (a source) or Write and Describe (a sink) on the topic",
    "GROUP_AUTHORIZATION_FAILED": "grant this user Read on the consumer group",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "grant this user Write and Describe on transactional ids that begin "
    "with 'krishiv-'",
    "CLUSTER_AUTHORIZATION_FAILED": "grant this user IdempotentWrite on the cluster",
}
_MISSING = frozenset(("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_ID", "_UNKNOWN_PARTITION"))
_PASSING = frozenset(
    (
        "_ALL_BROKERS_DOWN",
        "_TRANSPORT",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_MSG_TIMED_OUT",
        "_WAIT_COORD",
        "_WAIT_CACHE",
        "_RETRY",
        "REQUEST_TIMED_OUT",
        "BROKER_NOT_AVAILABLE",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "NOT_COORDINATOR",
        "COORDINATOR_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "CONCURRENT_TRANSACTIONS",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NETWORK_EXCEPTION",
    )
)


def translated(error: Any, what: str) -> KrishivError:
    """Return a ``KafkaError`` as one of ours.

    Parameters
    ----------
    what : str
        What was being done, as a phrase: ``"topic 'bids'"``.
    """
    name = error.name()
    if name in _REFUSED:
        return KafkaRefused(f"{what}: {error.str()}", hint=_REFUSED[name], error=name)
    if name in _MISSING:
        return TopicMissing(f"{what}: {error.str()}", hint="create the topic, or mend its name", error=name)
    if name in _PASSING or error.retriable():
        hint = "see that the brokers are up and can be reached from here at the addresses that they advertise"
        return KafkaUnavailable(f"{what}: {error.str()}", hint=hint, error=name)
    return KafkaFailed(
        f"{what}: {error.str()} ({name})",
        hint="mend the cause and run the job again: it resumes from its last checkpoint",
        error=name,
    )


@contextmanager
def kafka_errors(what: str) -> Generator[None]:
    """Raise the client's errors as ours."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        cause = error.args[0]
        raise translated(cause, what) from error
