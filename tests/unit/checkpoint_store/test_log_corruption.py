"""P12: a published entry that is damaged in any way is a hard error; no older one stands in for it."""

from __future__ import annotations

import hashlib

import pytest

from krishiv_checkpoint import CheckpointStore, CorruptManifest, FutureFormat, JobLog, MemoryStore
from krishiv_checkpoint._keys import log_key
from krishiv_checkpoint._sealed import seal
from tests.unit.checkpoint_store.support import committable, manifest, overwrite, takeover


def write_log(store: CheckpointStore) -> None:
    log = JobLog(store)
    log.append(takeover())
    for epoch in (1, 2, 3):
        log.append(manifest(epoch, committed={"out": {"0": epoch - 1}}, pending=(committable(epoch),)))


@pytest.mark.parametrize("entry", [1, 2, 4])
def test_every_single_byte_of_an_entry_is_protected(entry: int) -> None:
    """P12: a flip of any byte anywhere is found, in the newest entry, in the middle and in the first."""
    store = MemoryStore()
    write_log(store)
    sound = bytes(store.get(log_key(entry)))
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1
        store.replace(log_key(entry), bytes(damaged))
        with pytest.raises(CorruptManifest):
            JobLog(store).read()
    store.replace(log_key(entry), sound)
    assert len(JobLog(store).read().records) == 4


@pytest.mark.parametrize("keep", [0, 1, 10, 100, -78, -77, -2, -1])
def test_a_truncated_entry_is_found(store: CheckpointStore, keep: int) -> None:
    """P12."""
    write_log(store)
    overwrite(store, log_key(4), bytes(store.get(log_key(4)))[:keep])
    with pytest.raises(CorruptManifest) as caught:
        JobLog(store).read()
    assert caught.value.fields["key"] == log_key(4)


def test_the_error_names_the_only_safe_ways_out(store: CheckpointStore) -> None:
    """P12: an older checkpoint is none of them, because its epochs may be committed outside."""
    write_log(store)
    overwrite(store, log_key(4), b"")
    with pytest.raises(CorruptManifest) as caught:
        JobLog(store).read()
    assert "savepoint" in caught.value.hint
    assert 'restore="none"' in caught.value.hint


@pytest.mark.parametrize("entry", [1, 2, 3])
def test_a_gap_inside_the_log_is_corruption(store: CheckpointStore, entry: int) -> None:
    """P12: only retirement, declared by a later entry, may remove the front."""
    write_log(store)
    store.delete(log_key(entry))
    with pytest.raises(CorruptManifest, match="missing from the middle"):
        JobLog(store).read()


def test_an_entry_in_the_wrong_place_is_corruption(store: CheckpointStore) -> None:
    """P12."""
    write_log(store)
    overwrite(store, log_key(4), bytes(store.get(log_key(3))))
    with pytest.raises(CorruptManifest, match="says that it is entry 3"):
        JobLog(store).read()


def test_a_token_that_falls_is_corruption(store: CheckpointStore) -> None:
    """P9, P12: no chain of ours does that."""
    log = JobLog(store)
    log.append(takeover(2))
    view = log.read()
    assert view.tip
    body = bytes(store.get(log_key(1))).replace(b'"token":2', b'"token":1')
    document = body[: body.rindex(b',"sha256"')].replace(b'"sequence":1', b'"sequence":2') + b"}"
    document = document.replace(b'"previous":""', f'"previous":"{view.tip.digest}"'.encode())
    store.create(log_key(2), seal(document)[0])
    with pytest.raises(CorruptManifest, match="token 1 after token 2"):
        JobLog(store).read()


def sealed(text: str) -> bytes:
    return seal(text.encode())[0]


@pytest.mark.parametrize(
    "text",
    [
        '{"format":2,"whatever":[]}',
        '{"format":2}',
        '{"format":1,"sequence":1,"first":1,"previous":"","entry":{"type":"new","format":2}}',
        '{"format":1,"sequence":1,"first":1,"previous":"","entry":{"type":"takeover","format":9,"x":1}}',
    ],
)
def test_a_newer_format_is_refused_as_such(store: CheckpointStore, text: str) -> None:
    """Unknown future versions are refused: whether the envelope is newer or the entry in it."""
    store.create(log_key(1), sealed(text))
    with pytest.raises(FutureFormat, match="reads formats up to 1") as caught:
        JobLog(store).read()
    assert caught.value.fields["format"] > 1


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"format":"x"}',
        '{"format":1}',
        '{"format":1,"sequence":1,"first":1,"previous":"","entry":{"type":"unknown","format":1}}',
        '{"format":1,"sequence":1,"first":1,"previous":"","entry":{"type":"takeover","format":1}}',
        '{"format":1,"sequence":1,"first":1,"previous":"","entry":[]}',
    ],
)
def test_a_sound_document_that_is_no_entry_is_corruption(store: CheckpointStore, text: str) -> None:
    """P12."""
    store.create(log_key(1), sealed(text))
    with pytest.raises(CorruptManifest):
        JobLog(store).read()


def test_the_seal_is_the_digest_of_all_bytes_before_it() -> None:
    """The framing that all formats to come share."""
    data, digest = seal(b'{"a":1}')
    assert data == b'{"a":1,"sha256":"' + hashlib.sha256(b'{"a":1').hexdigest().encode() + b'"}\n'
    assert digest == hashlib.sha256(b'{"a":1').hexdigest()
