"""A producer with a transactional id: what it does, and what it means when something goes wrong with it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from krishiv_checkpoint import failpoint
from krishiv_connectors.kafka._client import translated
from krishiv_connectors.kafka._errors import KafkaUnfit
from krishiv_connectors.kafka._outgoing import send
from krishiv_connectors.kafka._producers import Told, new_producer
from krishiv_connectors.kafka._topics import missing_topic
from krishiv_guarantees import KrishivError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Generator

    import pyarrow as pa

    from krishiv_connectors.kafka._client import Clients
    from krishiv_connectors.kafka._marks import SlotKey, SlotMark
    from krishiv_connectors.kafka._outgoing import Limits

__all__ = ["Lost", "TransactionSettings", "Transactions", "end_transactions_of"]

_LOST = frozenset(
    (
        "_FENCED",
        "_FATAL",
        "PRODUCER_FENCED",
        "INVALID_PRODUCER_EPOCH",
        "INVALID_PRODUCER_ID_MAPPING",
        "INVALID_TXN_STATE",
    )
)


class Lost(Exception):
    """Another producer has the id, or the broker has ended the transaction by itself."""


@dataclass(frozen=True, kw_only=True)
class TransactionSettings:
    """What all slots of a sink share.

    Parameters
    ----------
    timeout : float
        Seconds after which the broker ends a transaction that its producer left open.
    max_bytes : int
        How large one transaction may get.
    token : int
        Of this attempt.
    """

    clients: Clients
    limits: Limits
    partitioner: str
    topics: tuple[str, ...]
    control_topic: str
    timeout: float
    max_bytes: int
    job: str
    token: int


class Transactions:
    """The transactions of one slot, under its id.

    Whether a commit that was not answered has happened only the next initialisation can tell: the broker may still get
    it (KIP-890). So after any error the producer is abandoned: `alive` is false, and another one has to be made.
    """

    def __init__(self, settings: TransactionSettings, key: SlotKey) -> None:
        self.alive = True
        self._settings = settings
        self._key = key
        self._told = Told()
        self._producer = new_producer(
            settings.clients,
            settings.limits,
            settings.partitioner,
            self._told,
            transactional_id=key.transactional_id,
            transaction_timeout_ms=int(settings.timeout * 1_000),
        )

    def initialise(self) -> None:
        """Take the id: whoever had it before is fenced, and what it left open is ended.

        Raises
        ------
        Lost, KafkaUnavailable, KafkaRefused, KafkaUnfit
        """
        with self.outcome():
            # Asked for its coordinator before it has a connection, librdkafka waits half a second.
            self._producer.list_topics(self._settings.control_topic, timeout=self._settings.timeout)
            self._producer.init_transactions(self._settings.timeout)

    def begin(self) -> None:
        """Begin a transaction. This and what follows it is done within `outcome`."""
        self._producer.begin_transaction()
        failpoint("commit.during")

    def send(self, messages: pa.RecordBatch) -> None:
        """Queue messages."""
        send(self._producer, messages, self._settings.topics[0], self._settings.timeout)

    def end(self, mark: SlotMark, partition: int) -> None:
        """Write the mark, and commit it with what was sent."""
        failpoint("commit.during")
        self._producer.produce(self._settings.control_topic, msgspec.json.encode(mark), self._key.encode(), partition)
        failpoint("commit.during")
        self._producer.commit_transaction(self._settings.timeout)

    def close(self) -> None:
        """Let go of the producer, without publishing anything: an open transaction is aborted."""
        if self.alive:
            self.alive = False
            self._producer.close()

    def abandon(self, *, dead: bool = False, abort: bool = False) -> None:
        """Let go of a producer that is in trouble.

        Parameters
        ----------
        dead : bool
            Nothing more can be done with it. Polling it would only raise what is known, in an exception that the
            client library never lets go of.
        abort : bool
            There is a transaction to be aborted; if that fails, the next initialisation does it.
        """
        from confluent_kafka import KafkaException

        self.alive = False
        if not dead:
            with suppress(KafkaException):
                self._producer.poll(0)
                if abort:
                    self._producer.abort_transaction(self._settings.timeout)
        self._producer.purge()

    @contextmanager
    def outcome(self) -> Generator[None]:
        """Raise what goes wrong as what it means, and abandon the producer."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as failure:
            error = failure.args[0]
            self.abandon(dead=error.fatal(), abort=error.txn_requires_abort())
            # The client library never lets go of what it raised, and its traceback would keep the producer.
            raise self._named(error) from failure.with_traceback(None)
        except BaseException as failure:
            self.abandon(abort=isinstance(failure, KrishivError))
            raise

    def _named(self, error: Any) -> Exception:
        settings, told = self._settings, self._told
        what = f"slot {self._key.slot}, topics {', '.join(settings.topics)}"
        # The client says that messages failed; why, their delivery reports say.
        cause = told.delivery if error.name() == "_INCONSISTENT" and told.delivery is not None else error
        if cause.name() in _LOST:
            return Lost(cause.str())
        if cause.name() == "INVALID_TRANSACTION_TIMEOUT":
            return KafkaUnfit(
                f"transaction_timeout is {settings.timeout} s, and the broker allows less",
                hint="lower transaction_timeout=, or raise the brokers' transaction.max.timeout.ms",
                setting="transaction.max.timeout.ms",
            )
        found = translated(cause, what)
        if not isinstance(found, RetriableError):
            return found
        # Messages for a topic that is gone wait in the client, as those for a broker that is away.
        return told.refusal(what) or missing_topic(settings.clients, settings.topics) or found


def end_transactions_of(settings: TransactionSettings, key: SlotKey) -> None:
    """End what a dead producer of another slot left open. What goes wrong shows when that slot is asked itself."""
    transactions = Transactions(settings, key)
    with suppress(KrishivError, Lost):
        transactions.initialise()
    transactions.close()
