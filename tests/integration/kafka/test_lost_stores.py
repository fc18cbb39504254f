"""What remembers how far a job has come is lost or set back: the other side's memory shows it, and nothing is written.

A job over Kafka is remembered twice: by its folder, and by its marks in the control topic.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

import krishiv_stream as ks
from krishiv_checkpoint import ForeignMarks, SinkAhead, SinkBehind
from tests.integration.jobs import wait_until
from tests.integration.kafka.clients import WAIT, send
from tests.support.kafka_reader import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")

SCHEMA = pa.schema([("n", pa.int64())])


class Job:
    """A job from one topic to another, with a folder and a control topic of its own."""

    def __init__(self, kafka: SharedBroker, topic: NewNamedTopic, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder / "data"
        self.input, self.output = topic(2), topic(2)
        self.control = topic(1, cleanup_policy="compact")

    def put(self, numbers: Iterable[int]) -> None:
        """Write numbers to its input."""
        send(self.kafka.client(), self.input, *(b'{"n": %d}' % number for number in numbers))

    def run_until(self, rows: int, *, epochs: int = 1) -> None:
        """Run it until `rows` more rows came and `epochs` were published, and stop it with a checkpoint."""
        source = ks.KafkaSource(self.kafka.bootstrap, self.input, schema=SCHEMA)
        sink = ks.KafkaSink(self.kafka.bootstrap, self.output, control_topic=self.control)
        pipeline = ks.read(source, name="in").write(sink, name="out")
        session = ks.Session(
            profile="single-node-durable",
            data_dir=self.folder,
            checkpoint_interval="50ms" if epochs else None,
            allow_uncertified=True,
            restart_attempts=0,
        )
        with session, session.start(pipeline, job="job", require="exactly_once") as handle:
            wait_until(lambda: handle.done or reached(handle.status(), rows, epochs))
            handle.stop()

    def written(self) -> list[bytes]:
        """Return what readers of committed records see."""
        return sorted(record.value or b"" for record in read_topic(self.kafka.client(), self.output))


def reached(status: ks.JobStatus, rows: int, epochs: int) -> bool:
    """Return whether a job has come that far."""
    return status.rows_in >= rows and status.epoch_committed >= epochs


@pytest.fixture
def new_job(kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Path) -> Job:
    """A job that has ten rows to read."""
    job = Job(kafka, topic, tmp_path)
    job.put(range(10))
    return job


@pytest.fixture
def job(new_job: Job) -> Job:
    """A job that has come through ten rows."""
    new_job.run_until(10)
    assert len(new_job.written()) == 10
    return new_job


def test_a_job_whose_folder_was_lost_is_refused(job: Job) -> None:
    shutil.rmtree(job.folder)
    with pytest.raises(ForeignMarks) as refused:
        job.run_until(10)
    assert refused.value.hint
    assert len(job.written()) == 10


def test_a_job_whose_folder_was_set_back_is_refused_until_it_is_the_newest_again(job: Job) -> None:
    backup, newest = job.folder.with_name("backup"), job.folder.with_name("newest")
    shutil.copytree(job.folder, backup)
    job.put(range(10, 20))
    job.run_until(10)
    job.folder.rename(newest)
    backup.rename(job.folder)
    with pytest.raises(SinkAhead) as refused:
        job.run_until(10)
    assert refused.value.hint
    assert len(job.written()) == 20
    shutil.rmtree(job.folder)
    newest.rename(job.folder)
    job.put(range(20, 30))
    job.run_until(10)
    assert job.written() == sorted(b'{"n":%d}' % number for number in range(30))


def test_a_job_whose_control_topic_was_lost_is_refused(job: Job) -> None:
    delete(job, job.control)
    with pytest.raises(SinkBehind) as refused:
        job.run_until(10)
    assert refused.value.hint
    assert len(job.written()) == 10


def test_a_job_that_had_published_one_epoch_publishes_it_again_without_its_control_topic(new_job: Job) -> None:
    """No later manifest says that it was published, and no mark does: a limit that is known, and documented."""
    new_job.run_until(10, epochs=0)
    assert len(new_job.written()) == 10
    delete(new_job, new_job.control)
    new_job.run_until(0, epochs=0)
    assert len(new_job.written()) == 20


def test_a_job_whose_output_topic_was_made_again_goes_on_behind_what_was_lost(job: Job) -> None:
    """Nothing remembers what a topic held: its rows went with it, as they go with retention."""
    delete(job, job.output)
    admin = AdminClient({**job.kafka.client(), "log_level": 0})
    wait_until(lambda: admin.create_topics([NewTopic(job.output, 2, 1)])[job.output].exception(WAIT) is None)
    job.put(range(10, 20))
    job.run_until(10)
    assert job.written() == sorted(b'{"n":%d}' % number for number in range(10, 20))


def delete(job: Job, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    admin = AdminClient({**job.kafka.client(), "log_level": 0})
    admin.delete_topics([topic])[topic].result(WAIT)
    wait_until(lambda: topic not in admin.list_topics(timeout=WAIT).topics)
