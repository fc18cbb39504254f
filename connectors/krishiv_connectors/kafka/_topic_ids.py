"""Whether topics are still those that a job began with: names can be given again, ids cannot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from krishiv_connectors.kafka._client import kafka_errors
from krishiv_connectors.kafka._errors import TopicMissing, TopicRecreated
from krishiv_connectors.kafka._topics import ask_for_topics
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_connectors.kafka._client import Admin, Clients
    from krishiv_connectors.kafka._topics import Topic

__all__ = ["TopicIds", "check_topic_id"]

_log = logging.getLogger("krishiv_connectors")

_PATIENCE = 1.0
"""Seconds for an answer. A client that fetches a topic by name goes on in another one of that name without a word; a
barrier waits for the answer, and not for brokers that are away."""


class TopicIds:
    """Asks the cluster for the ids of topics, over a connection that is kept.

    Parameters
    ----------
    topics : mapping of name to Topic
        As they were when reading began.
    """

    def __init__(self, clients: Clients, topics: Mapping[str, Topic]) -> None:
        self._clients = clients
        self._topics = topics
        self._admin: Admin | None = None

    def same(self) -> bool:
        """Return whether all topics are still the same; False: there was no answer.

        What was fetched before this was called is then from these topics: an id never comes back.

        Raises
        ------
        TopicRecreated, TopicMissing, KafkaRefused
        """
        try:
            for name, found in self._ask().items():
                check_topic_id(name, self._topics[name].id, found.id)
        except RetriableError as error:
            _log.warning("topics could not be looked at, which is made up for later: %s", error.message)
            return False
        except TopicMissing as error:
            raise TopicMissing(
                f"topic {error.fields['topic']!r} was deleted while the job read it",
                hint='the job cannot go on: begin anew with restore="none" and another output, over another topic',
                topic=error.fields["topic"],
            ) from error
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._admin = None

    def _ask(self) -> dict[str, Topic]:
        if self._admin is None:
            self._admin = self._clients.new_admin()
        with kafka_errors(f"topics {', '.join(self._topics)}"):
            return ask_for_topics(self._admin, tuple(self._topics), _PATIENCE)


def check_topic_id(name: str, known: str, found: str) -> None:
    """Raise `TopicRecreated` if topic `name` has another id than it had."""
    if known != found:
        raise TopicRecreated(
            f"topic {name!r} was deleted and made again since the job read it",
            hint='the offsets that the job knows are of the topic that is gone: begin anew with restore="none" and '
            "another output",
            topic=name,
            stored=known,
            found=found,
        )
