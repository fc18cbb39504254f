"""Errors of the Kafka connectors (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── BadClientProperty    a client property is unknown, or not the user's to set
    ├── KafkaRefused         the broker refused a password, a certificate or an operation
    ├── TopicMissing         a topic does not exist
    └── KafkaUnfit           the broker's or a topic's settings do not allow what was asked for
    RetriableError
    └── KafkaUnavailable     no broker answered, or not in time
    SkippableError
    └── BadKafkaRecord       a record's value cannot be decoded
    FatalError
    ├── TopicRecreated       a topic is another one than when it was read or written before
    ├── OffsetGone           records that were to be read next have been deleted by the broker
    ├── SchemaDrift          the schema inferred now is not the one that the job began with
    ├── MessageTooLarge      a row makes a larger message than the topic takes
    └── KafkaFailed          the client gave up, or the broker refused a request for good
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError, SkippableError

__all__ = [
    "BadClientProperty",
    "BadKafkaRecord",
    "KafkaFailed",
    "KafkaRefused",
    "KafkaUnavailable",
    "KafkaUnfit",
    "MessageTooLarge",
    "OffsetGone",
    "SchemaDrift",
    "TopicMissing",
    "TopicRecreated",
]


class BadClientProperty(ConfigurationError):
    """A client property is unknown, or one that the connector sets itself. Field: `property`."""

    code = "KS-KAFKA-PROPERTY"


class KafkaRefused(ConfigurationError):
    """The broker refused a password, a certificate or an operation. Field: `error` (Kafka's name of it)."""

    code = "KS-KAFKA-REFUSED"


class TopicMissing(ConfigurationError):
    """A topic does not exist. Field: `topic`."""

    code = "KS-KAFKA-TOPIC"


class KafkaUnfit(ConfigurationError):
    """The broker's or a topic's settings do not allow what was asked for. Fields: `setting`, `found`."""

    code = "KS-KAFKA-UNFIT"


class KafkaUnavailable(RetriableError):
    """No broker answered, or not in time. Field: `error`."""

    code = "KS-KAFKA-UNAVAILABLE"


class BadKafkaRecord(SkippableError):
    """A record's value cannot be decoded. Fields: `place`, `topic`, `partition`, `offset`, `raw` (bytes)."""

    code = "KS-KAFKA-RECORD"


class TopicRecreated(FatalError):
    """A topic was deleted and made again since it was read or written before. Fields: `topic`, `stored`, `found`."""

    code = "KS-KAFKA-RECREATED"


class OffsetGone(FatalError):
    """Records that were to be read next have been deleted by the broker. Fields: `topic`, `partition`, `offset`."""

    code = "KS-KAFKA-OFFSET"


class SchemaDrift(FatalError):
    """The schema inferred from a topic now is not the one that the job began with. Field: `topic`."""

    code = "KS-KAFKA-SCHEMA"


class MessageTooLarge(FatalError):
    """A row makes a larger message than the topic takes. Fields: `topic`, `size`, `limit`."""

    code = "KS-KAFKA-SIZE"


class KafkaFailed(FatalError):
    """The client gave up, or the broker refused a request for good. Field: `error`."""

    code = "KS-KAFKA-FAILED"
