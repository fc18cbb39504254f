"""A job full of secrets that tells everything it knows, in a process of its own: see ``test_canary``.

As a module it is a pipeline for the command line; run, it starts the job, prints all that can be printed of it, and
how it ended. The environment says where things are, what the secrets are, and what goes wrong.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import krishiv_stream as ks
from krishiv_connectors.codecs import AvroFormat, SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

ENV = os.environ
LEAK = ENV.get("LEAK", "")
"""Where the job gives secrets away on purpose: in an "error", in its "rows", or in every "description"."""

logging.basicConfig(level=logging.DEBUG, filename="debug.log")


def client(*, plain: bool) -> dict[str, Any]:
    """Return a client's properties, the secrets given as plain text or as what reads them late."""

    def secret(name: str) -> str | ks.Secret:
        return ENV[name] if plain else ks.Secret.from_env(name)

    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": secret("BROKER_PASSWORD"),
        "ssl.ca.location": ENV["CA"],
        "ssl.certificate.location": ENV["CERTIFICATE"],
        "ssl.key.location": ENV["KEY"],
        "ssl.key.password": secret("KEY_PASSWORD"),
        "debug": "all",
        "log_level": 7,
    }


def read(registry: SchemaRegistry) -> ks.KafkaSource:
    """Return the source."""
    return ks.KafkaSource(
        ENV["BROKERS"],
        ENV["INPUT"],
        format=AvroFormat(registry=registry),
        group=ENV.get("GROUP"),
        until="latest",
        client=client(plain=True),
    )


def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Raise an error whose text holds all that a user's function can see."""
    leaked = ENV["BROKER_PASSWORD"] if LEAK == "error" else ""
    raise ValueError(f"the job's own mistake: {described(source, sink, registry)} {leaked}")


def give_away(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Put a secret into every row."""
    rows = [{**row, "name": ENV["BROKER_PASSWORD"]} for row in batch.to_pylist()]
    return type(batch).from_pylist(rows, schema=batch.schema)


def described(*things: object) -> str:
    """Return every description of `things`, and of all that hangs on them."""
    return "\n".join(line for thing in things for line in _descriptions(thing, {}))


def _descriptions(thing: Any, seen: dict[int, object]) -> Iterator[str]:
    if id(thing) in seen or isinstance(thing, ModuleType | FunctionType | MethodType | type):
        return
    seen[id(thing)] = thing
    yield from (repr(thing), str(thing), f"{thing}")
    if hasattr(thing, "_repr_html_"):
        yield thing._repr_html_()
    for part in _parts(thing):
        yield from _descriptions(part, seen)


def _parts(thing: Any) -> Iterator[object]:
    yield from getattr(thing, "__dict__", {}).values()
    for name in getattr(type(thing), "__slots__", ()):
        with suppress(AttributeError):
            yield getattr(thing, name)
    if isinstance(thing, dict):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing


def told(error: BaseException | None) -> None:
    """Print an error, and what it came from, in every way that is usual."""
    traceback.print_exception(error)
    logging.getLogger("canary").error("it failed", exc_info=error)
    while error is not None:
        print(described(error), vars(error), error.args)
        error = error.__cause__ or error.__context__


def run() -> None:
    """Run the job, and print all that a session tells of it."""
    session = ks.Session(
        profile="single-node-durable",
        data_dir=ENV["DATA"],
        checkpoint_interval="100ms",
        allow_uncertified=True,
        restart_attempts=0,
    )
    with session:
        print(described(session, session.settings))
        print(session.explain(pipeline), session.guarantee(pipeline).to_dict())
        handle = session.start(pipeline)
        while not handle.done:
            print(handle, handle.status(), handle.metrics())
            time.sleep(0.1)
        print(handle.status(), handle.metrics())
        print(described(handle.wait()))


def main() -> None:
    """Tell everything."""
    print(described(source, sink, registry, pipeline))
    try:
        run()
    except Exception as error:
        told(error)
        sys.exit(1)


if LEAK == "description":
    setattr(ks.Secret, "__repr__", ks.Secret.reveal)  # noqa: B010  # a method is not to be assigned to
registry = SchemaRegistry(ENV["REGISTRY"], username="alice", password=ks.Secret.from_env("REGISTRY_PASSWORD"))
source = read(registry)
sink = ks.KafkaSink(
    ENV["BROKERS"],
    ENV["OUTPUT"],
    format=AvroFormat(registry=registry),
    key="id",
    transaction_timeout="5s",
    client=client(plain=False),
)
rows = ks.read(source, name="in", max_rate=float(ENV["RATE"]))
if LEAK == "rows":
    rows = rows.map_batches(give_away, schema=rows.schema)
if ENV.get("FAIL"):
    rows = rows.map_batches(fail, schema=rows.schema)
pipeline = rows.write(sink, name="out")

if __name__ == "__main__":
    main()
