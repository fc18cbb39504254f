"""The Delta connectors over a real S3 server; tables are read by polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import FilesystemStore
from krishiv_connectors.delta._errors import DeltaRefused, DeltaUnavailable
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.delta import read_table, warm_up
from tests.unit.sinks.contract import CHECKS, SCHEMA, Target, check_prepared_rows_are_invisible_until_the_commit

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_checkpoint import Committable
    from tests.services.s3.gateway import Gateway

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(120)]

CHOSEN = (
    "a_crash_anywhere_in_a_commit_loses_and_doubles_nothing",
    "a_zombie_that_commits_a_listed_epoch_again_changes_nothing",
    "an_epoch_id_that_comes_back_under_a_higher_token_is_another_epoch",
    "an_epoch_whose_staged_rows_are_lost_fails",
    "list_prepared_names_what_is_neither_committed_nor_aborted",
    "marks_carry_job_and_lineage",
)
"""Those that hang on what the storage does; the rest is the same as on a disk."""


def storage(server: Gateway, **wrong: str) -> ks.S3:
    return ks.S3(
        **{"endpoint": server.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "r", **wrong}
    )


@pytest.fixture(scope="module", autouse=True)
def bucket(s3: Gateway, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket, after the libraries have opened what they keep open."""
    warm_up()
    name = s3.new_bucket()
    target = place(s3, f"s3://{name}/warm-up", tmp_path_factory.mktemp("store"), "append")
    check_prepared_rows_are_invisible_until_the_commit(target)
    return name


def place(server: Gateway, uri: str, folder: Path, mode: str) -> Target:
    store = FilesystemStore(folder / "store")

    def lose(committable: Committable) -> None:
        import json

        payload = json.loads(committable.payload)
        if mode == "upsert":
            store.delete(payload["key"])
            return
        files = ks.DeltaSink(uri, storage=storage(server)).address.files()
        for file in payload["files"]:
            files.delete(file["key"])

    options = {"mode": "upsert", "keys": "id"} if mode == "upsert" else {}
    return Target(
        sink=lambda: ks.DeltaSink(uri, storage=storage(server), **options),
        rows=lambda: sorted(read_table(uri, server.options()).select("id", "name", "price").rows()),
        lose=lose,
        store=store if mode == "upsert" else None,
    )


@pytest.mark.parametrize(
    ("check", "mode"),
    [*((check, "append") for check in CHOSEN), ("an_epoch_whose_staged_rows_are_lost_fails", "upsert")],
)
def test_sink_keeps_the_contract_in_a_bucket(s3: Gateway, bucket: str, tmp_path: Path, check: str, mode: str) -> None:
    CHECKS[check](place(s3, f"s3://{bucket}/{check}-{mode}", tmp_path, mode))


def test_table_in_a_bucket_is_written_and_read_back(s3: Gateway, bucket: str, tmp_path: Path) -> None:
    uri, rows = f"s3://{bucket}/there-and-back", pa.table({"id": range(1_000)})
    with ks.Session(profile="single-node-durable", data_dir=tmp_path) as session:
        there = ks.read(ks.MemorySource(rows), name="in").write(ks.DeltaSink(uri, storage=storage(s3)), name="out")
        session.run(there, job="there")
        back = ks.MemorySink()
        session.run(ks.read(ks.DeltaSource(uri, storage=storage(s3)), name="in").write(back, name="out"), job="back")
    assert sorted(pa.Table.from_batches(back.batches).column("id").to_pylist()) == list(range(1_000))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"secret_key": "canary-51"}, DeltaRefused), ({"endpoint": "http://127.0.0.1:1"}, DeltaUnavailable)],
)
def test_storage_that_does_not_let_in_is_named_and_secrets_are_not(
    s3: Gateway, bucket: str, wrong: dict[str, str], error: type[ks.KrishivError]
) -> None:
    sink = ks.DeltaSink(f"s3://{bucket}/closed", storage=storage(s3, **wrong))
    with pytest.raises(error) as raised:
        sink.check(SCHEMA)
    assert "canary" not in str(raised.value) + repr(sink.address) + repr(vars(sink))
