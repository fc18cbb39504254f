"""Secrets are nowhere: not in what is printed, logged, raised, measured or described, and not in what is stored.

Every secret of a job holds one word, the canary. The job runs over a secured broker and a registry through success and
trouble, in processes that log all there is and print all that they hold; then everything that is left of it is searched
for the word, in every form that it may have taken.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import krishiv_stream as ks
from krishiv_connectors.kafka._errors import BadClientProperty
from krishiv_stream._cli._exits import Exit
from tests.integration.jobs import wait_until
from tests.integration.kafka.clients import send
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import READ_UNCOMMITTED, read_topic
from tests.support.schema_registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.services.fixtures import NewBroker
    from tests.services.kafka.broker import Broker
    from tests.support.schema_registry import StandInRegistry

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180)]

JOB = Path(__file__).with_name("canary_job.py")
CANARY = "Fringilla7canaria"
SECRETS = {
    "BROKER_PASSWORD": f"{CANARY}-broker",
    "KEY_PASSWORD": f"{CANARY}-key",
    "REGISTRY_PASSWORD": f"{CANARY}-registry",
    "KRISHIV_CONTROL_TOKEN": f"{CANARY}-control",
}
ROWS = 1_000
LITERAL = f"""
import krishiv_stream as ks

rows = ks.read(
    ks.KafkaSource(
        "nowhere:1", "t", format="string",
        client={{
            "sasl.pasword": "{CANARY}",
            "sasl.password": "{CANARY}",
        }},
    ),
    name="in",
)
pipeline = rows.write(ks.PrintSink(), name="out")
"""
"""A pipeline with a misspelt property, and its secrets in its text."""
LOOKING = [
    ("doctor", "--json"),
    ("config", "show", "--origin"),
    ("config", "show", "--json"),
    ("checkpoints", "ls", "out", "--data-dir", "data", "--json"),
    ("checkpoints", "show", "out", "--data-dir", "data", "--json"),
    ("checkpoints", "verify", "out", "--data-dir", "data"),
]
"""Commands that look at a job, its settings and its machine."""
SAID = ("kafka_received_bytes", '"event": "checkpoint"', "control_token", "Secret('***')", "checkpoints")
LOGGED = ("SASL", "krishiv_connectors.kafka.client", "httpx", "job out")
"""What a search that finds nothing has at least to have searched."""
DURABLE = ("--profile", "single-node-durable", "--data-dir", "data", "--checkpoint-interval", "100ms")
RUN = ("run", str(JOB), *DURABLE, "--allow-uncertified", "--restart-attempts", "0", "--log-level", "debug", "--debug")


# ---------------------------------------------------------------- the search


def forms(secret: str) -> list[bytes]:
    """Return what `secret` looks like as text, in base64 at each of the three places it may begin, and in hex."""
    plain = secret.encode()
    shifted = [base64.b64encode(b"\0" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)]
    return [plain, secret.encode("utf-16-le"), plain[::-1], plain.hex().encode(), *shifted]


NEEDLE = re.compile(b"|".join(re.escape(form) for form in forms(CANARY)), re.IGNORECASE)


def contents(data: bytes) -> Iterator[bytes]:
    """Give `data` as it is, and what it holds if it is packed in one of the ways that this project knows."""
    yield data
    for unpack in (_unpacked("gzip"), _unpacked("zstd"), _unpacked("lz4"), _stream, _file, _parquet):
        with suppress(pa.ArrowException, OSError):
            yield unpack(data)


def _unpacked(codec: str) -> Callable[[bytes], bytes]:
    return lambda data: bytes(pa.CompressedInputStream(pa.BufferReader(data), codec).read())


def _stream(data: bytes) -> bytes:
    return repr(pa.ipc.open_stream(data).read_all().to_pylist()).encode()


def _file(data: bytes) -> bytes:
    return repr(pa.ipc.open_file(data).read_all().to_pylist()).encode()


def _parquet(data: bytes) -> bytes:
    return repr(pq.read_table(pa.BufferReader(data)).to_pylist()).encode()


def leaks(folder: Path) -> list[str]:
    """Return the files below `folder` that hold the canary, in their names or in what they contain."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files
    return [
        str(path.relative_to(folder))
        for path in files
        if NEEDLE.search(str(path).encode()) or any(map(NEEDLE.search, contents(path.read_bytes())))
    ]


# ---------------------------------------------------------------- the job


@dataclass
class Project:
    """A folder with everything that the processes of one test leave: what they say, log and store.

    What holds the secrets rightfully, the broker's own folder, lies elsewhere.
    """

    folder: Path
    broker: Broker
    environment: dict[str, str]
    topics: list[str]

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start Python with `words`; what it prints goes to files."""
        said = self.folder / "said" / f"{len(list((self.folder / 'said').iterdir()))}"
        with said.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env={**os.environ, **self.environment, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def job(self, **environment: str) -> int:
        """Run the job that tells everything, into a topic of its own, and return its exit code."""
        self.topics.append(create_topic(self.broker.client()))
        return self.start(str(JOB), **{"DATA": "own", "OUTPUT": self.topics[-1], **environment}).wait(120)

    def command(self, *words: str, **environment: str) -> int:
        """Run ``krishiv-stream``, and return its exit code."""
        return self.start("-m", "krishiv_stream", *words, **environment).wait(120)

    def logged(self) -> str:
        """Return all that processes have logged."""
        log = self.folder / "debug.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def said(self) -> str:
        """Return all that processes have printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.folder / "said").iterdir()))

    def look(self, **environment: str) -> list[int]:
        """Run the commands that look at a pipeline and do not run it; returns their exit codes."""
        return [self.command(word, str(JOB), *DURABLE, "--debug", **environment) for word in ("check", "explain")]

    def check(self) -> None:
        """Search everything that the processes left, and every topic of the broker."""
        assert leaks(self.folder) == []
        for topic in (*self.topics, "_krishiv_marks"):
            for record in read_topic(self.broker.client(), topic, READ_UNCOMMITTED):
                assert not NEEDLE.search(repr(record).encode())


@pytest.fixture
def registry() -> Generator[StandInRegistry]:
    with running_registry(("alice", SECRETS["REGISTRY_PASSWORD"])) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, new_broker: NewBroker, registry: StandInRegistry) -> Project:
    broker = new_broker(security="sasl_ssl", users={"alice": SECRETS["BROKER_PASSWORD"]})
    folder, keys = tmp_path / "project", tmp_path / "keys"
    (folder / "said").mkdir(parents=True)
    keys.mkdir()
    make_key(keys)
    topic, output = (create_topic(broker.client()) for _ in range(2))
    fill(broker, registry, topic)
    environment = {
        **SECRETS,
        "BROKERS": broker.bootstrap,
        "CA": str(broker.security.authority),
        "CERTIFICATE": str(keys / "client.pem"),
        "KEY": str(keys / "client.key"),
        "REGISTRY": registry.url,
        "INPUT": topic,
        "OUTPUT": output,
        "RATE": "1000",
    }
    return Project(folder, broker, environment, [topic, output])


def make_key(folder: Path) -> None:
    """Make a client's certificate, with a key that its password encrypts."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=alice"]
    files = ["-keyout", "client.key", "-out", "client.pem", "-passout", "env:KEY_PASSWORD"]
    subprocess.run([*new, *files], cwd=folder, env={**os.environ, **SECRETS}, check=True, capture_output=True)


def fill(broker: Broker, registry: StandInRegistry, topic: str) -> None:
    """Write rows as the registry's clients do: a zero, the schema's number, the record."""
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    schema = {"type": "record", "name": "row", "fields": fields}
    number = registry.register(f"{topic}-value", json.dumps(schema))

    def encoded(row: int) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), {"id": row, "name": f"row {row}"})
        return b"\0" + number.to_bytes(4, "big") + buffer.getvalue()

    send(broker.client(), topic, *map(encoded, range(ROWS)))


# ---------------------------------------------------------------- success and trouble


def kill_while_output_waits(project: Project, running: subprocess.Popen[bytes]) -> None:
    """Kill a process once output of its job lies in the checkpoint store."""
    staged = project.folder / "data" / "jobs" / "out" / "staged"
    wait_until(lambda: running.poll() is not None or any(path.is_file() for path in staged.rglob("*")))
    running.kill()
    assert running.wait() < 0, project.said()[-3000:]
    assert any(path.is_file() for path in staged.rglob("*"))


@pytest.mark.slow
@pytest.mark.kill
def test_no_secret_shows_when_a_process_is_killed_and_the_job_goes_on(project: Project) -> None:
    kill_while_output_waits(project, project.start("-m", "krishiv_stream", *RUN))
    assert leaks(project.folder) == []
    assert project.command(*RUN, GROUP="canary") == Exit.OK, project.said()[-3000:]
    assert project.job(RATE="150") == Exit.OK, "long enough for the client's statistics"
    assert project.look() == [Exit.OK, Exit.OK]
    for words in LOOKING:
        assert project.command(*words) in (Exit.OK, Exit.FAILED), project.said()[-3000:]
    said, logged = project.said(), project.logged()
    assert {word for word in SAID if word not in said} == set()
    assert {word for word in LOGGED if word not in logged} == set()
    project.check()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"BROKER_PASSWORD": f"{CANARY}-wrong"}, "KS-KAFKA-REFUSED"),
        ({"KEY_PASSWORD": f"{CANARY}-wrong"}, "ssl.key"),
        ({"REGISTRY_PASSWORD": f"{CANARY}-wrong"}, "KS-REGISTRY-ACCESS"),
        ({"OUTPUT": "nowhere"}, "KS-KAFKA-TOPIC"),
        ({"FAIL": "yes"}, "the job's own mistake"),
    ],
    ids=["broker password", "key password", "registry password", "topic", "crash"],
)
def test_no_secret_shows_when_a_job_fails(project: Project, wrong: dict[str, str], says: str) -> None:
    assert project.command(*RUN, **wrong) != Exit.OK
    assert project.job(**wrong) == 1
    project.look(**wrong)
    assert says in project.said()
    assert "Traceback" in project.said()
    project.check()


@pytest.mark.slow
def test_no_secret_shows_while_the_broker_is_away(project: Project) -> None:
    with project.start("-m", "krishiv_stream", *RUN, RATE="100") as running:
        try:
            wait_until(lambda: '"committed": 3' in project.said())
            before = len(project.logged())
            project.broker.kill()
            # The source says so if it is fetching just then, else the sink, when its transaction has timed out.
            wait_until(lambda: "WARNING:krishiv_" in project.logged()[before:])
            assert project.command("check", str(JOB), *DURABLE, "--debug") == Exit.FAILED
            assert "KS-KAFKA-UNAVAILABLE" in project.said()
            for _ in range(2):
                running.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # how soon it ends without a broker is no matter here
                running.wait(20)
        finally:
            running.kill()
    project.broker.start()
    project.check()


# ---------------------------------------------------------------- properties that are not to be set


@pytest.mark.parametrize("make", [ks.KafkaSource, ks.KafkaSink])
@pytest.mark.parametrize(
    "name", ["sasl.pasword", "sasl.jaas.config", "ssl.keystore.passwort", "group.id", "transactional.id", "nonsense"]
)
def test_a_property_that_is_refused_does_not_show_its_value(make: Callable[..., object], name: str) -> None:
    with pytest.raises(BadClientProperty) as caught:
        make("nowhere:1", "t", client={name: CANARY, "sasl.password": CANARY})
    error = caught.value
    texts = [str(error), repr(error), repr(vars(error)), str(error.hint), *traceback.format_exception(error)]
    assert name in str(error)
    assert not NEEDLE.search("".join(texts).encode())


@pytest.mark.parametrize("command", ["run", "check", "explain"])
@pytest.mark.parametrize(
    "debug",
    [
        pytest.param((), id="plain"),
        pytest.param(("--debug",), id="debug"),
    ],
)
def test_a_command_does_not_show_a_secret_that_stands_in_the_pipelines_file(
    tmp_path: Path, command: str, debug: tuple[str, ...]
) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text(LITERAL)
    words = [sys.executable, "-m", "krishiv_stream", command, str(file), *debug]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == Exit.USAGE
    assert b"KS-KAFKA-PROPERTY" in done.stderr
    assert not NEEDLE.search(done.stdout + done.stderr), done.stderr.decode()


# ---------------------------------------------------------------- the search can fail


@pytest.mark.parametrize(
    "how", ["plain", "utf-16", "hex", "base64", "gzip", "zstd", "lz4", "stream", "file", "parquet"]
)
def test_the_search_finds_a_secret_in_every_form(tmp_path: Path, how: str) -> None:
    for before in ("", "a", "ab"):
        (tmp_path / "one").write_bytes(packed(f"{before}{CANARY}-broker, and more", how))
        assert leaks(tmp_path) == ["one"]
        (tmp_path / "one").write_bytes(packed("nothing of that kind", how))
        assert leaks(tmp_path) == []


def test_the_search_finds_a_secret_in_a_name(tmp_path: Path) -> None:
    (tmp_path / f"{CANARY}.log").touch()
    assert leaks(tmp_path) == [f"{CANARY}.log"]


def packed(text: str, how: str) -> bytes:
    """Return a file's content that holds `text`."""
    table, buffer = pa.table({"name": [text] * 100}), pa.BufferOutputStream()
    match how:
        case "plain":
            return text.encode()
        case "utf-16":
            return text.encode("utf-16-le")
        case "hex":
            return text.encode().hex().encode()
        case "base64":
            return base64.b64encode(text.encode())
        case "gzip" | "zstd" | "lz4":
            with pa.CompressedOutputStream(buffer, how) as stream:
                stream.write(text.encode())
        case "parquet":
            pq.write_table(table, buffer, compression="zstd")
        case _:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            new = pa.ipc.new_stream if how == "stream" else pa.ipc.new_file
            with new(buffer, table.schema, options=options) as writer:
                writer.write_table(table)
    return bytes(buffer.getvalue())


def test_the_search_finds_what_a_job_gives_away_in_an_error(project: Project) -> None:
    assert project.job(FAIL="yes", LEAK="error") == 1
    assert leaks(project.folder) == ["debug.log", "said/0"]


def test_the_search_finds_what_a_description_gives_away(project: Project) -> None:
    assert project.job(LEAK="description") == Exit.OK
    assert leaks(project.folder) == ["said/0"]
    for name, secret in SECRETS.items():
        assert secret in project.said(), name


@pytest.mark.kill
def test_the_search_finds_what_a_job_gives_away_in_its_rows(project: Project) -> None:
    dying = project.start("-m", "krishiv_stream", *RUN, LEAK="rows")
    kill_while_output_waits(project, dying)
    assert any("staged" in path for path in leaks(project.folder))
