"""Checkpoint stores that each break one rule. In a child they take the place of the session's own store."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from krishiv_checkpoint import FilesystemStore, KeyExists, KeyMissing
from krishiv_conformance._shipped import FilesystemStoreHarness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krishiv_stream._session_options import SessionOptions

__all__ = ["MUTANTS"]


class MutantHarness(FilesystemStoreHarness):
    """Makes a mutant; a session of this process gets its methods."""

    connector: ClassVar[type] = FilesystemStore

    def make(self, workdir: Path, job: str) -> Any:
        return self.connector(workdir / "jobs" / job)

    def settings(self, workdir: Path) -> SessionOptions:
        for name, value in vars(self.connector).items():
            if not name.startswith("__"):
                setattr(FilesystemStore, name, value)
        return super().settings(workdir)


class TruncatesLargeBlobs(FilesystemStore):
    def create(self, key: str, data: bytes) -> None:
        FilesystemStore.create(self, key, data[:65_536])


class Overwrites(FilesystemStore):
    def create(self, key: str, data: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


_original_list = FilesystemStore.list


class OwnWorld(FilesystemStore):
    """Replaces entries, and lists those that it found at first and its own: nobody else's."""

    _seen: ClassVar[dict[Path, set[str]]] = {}

    def create(self, key: str, data: bytes) -> None:
        Overwrites.create(self, key, data)
        OwnWorld._seen.setdefault(self.root, set()).add(key)

    def list(self, prefix: str) -> list[str]:
        keys = _original_list(self, prefix)
        if prefix != "log/":
            return keys
        seen = OwnWorld._seen.setdefault(self.root, set(keys))
        return sorted(seen)


class LooksThenWrites(FilesystemStore):
    """Between the look and the write there is a moment for another."""

    def create(self, key: str, data: bytes) -> None:
        path = self._path(key)
        if path.exists():
            raise KeyExists(f"{key} is taken", key=key)
        time.sleep(0.01)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class _InPlace:
    def __init__(self, store: FilesystemStore, key: str) -> None:
        self.store, self.key = store, key
        path = store._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("wb", buffering=0)

    def write(self, data: Any) -> int:
        time.sleep(0.001)
        return self.file.write(data)

    def finish(self, key: str | None = None) -> Any:
        self.file.close()
        whole = self.store._path(self.key).read_bytes()
        with FilesystemStore.writer(self.store, key or self.key) as writer:
            writer.write(whole)
            return writer.finish()


class WritesInPlace(FilesystemStore):
    """A blob has its key from the first byte on."""

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Iterator[Any]:
        blob = _InPlace(self, key)
        try:
            yield blob
        finally:
            blob.file.close()


class KeepsTheFirstKey(FilesystemStore):
    """Ignores the key that `finish` is given."""

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Iterator[Any]:
        with FilesystemStore.writer(self, key, final=final) as writer:
            finish = writer.finish

            class Stubborn:
                write = staticmethod(writer.write)

                def finish(self, other: str | None = None) -> Any:
                    return finish(key)

            yield Stubborn()


class PublishesWhatWasLeft(FilesystemStore):
    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Iterator[Any]:
        with FilesystemStore.writer(self, key, final=final) as writer:
            try:
                yield writer
            finally:
                if not self._path(key).exists():
                    writer.finish()


class ListsByFolder(FilesystemStore):
    def list(self, prefix: str) -> list[str]:
        folder = prefix.rpartition("/")[0]
        return FilesystemStore.list(self, f"{folder}/" if folder else "")


class DeletesNothing(FilesystemStore):
    def delete(self, key: str) -> None:
        pass


class EmptyWhenMissing(FilesystemStore):
    def get(self, key: str) -> memoryview:
        try:
            return FilesystemStore.get(self, key)
        except KeyMissing:
            return memoryview(b"")


_original_delete = FilesystemStore.delete


class ForgetsTheLog(FilesystemStore):
    """Loses every entry of a dead process: each new one empties the log."""

    _begun: ClassVar[list[bool]] = []

    def list(self, prefix: str) -> list[str]:
        keys = [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()]
        keys = sorted(key for key in keys if key.startswith(prefix) and not key.startswith(".tmp") and key != "lock")
        if not ForgetsTheLog._begun:
            ForgetsTheLog._begun.append(True)
            for key in keys:
                _original_delete(self, key)
            return []
        return keys


MUTANTS: tuple[type[FilesystemStore], ...] = (
    TruncatesLargeBlobs,
    Overwrites,
    OwnWorld,
    LooksThenWrites,
    WritesInPlace,
    KeepsTheFirstKey,
    PublishesWhatWasLeft,
    ListsByFolder,
    DeletesNothing,
    EmptyWhenMissing,
    ForgetsTheLog,
)
"""Every broken store. Each has a harness of its name with ``Harness`` behind it, for children to find."""

for _mutant in MUTANTS:
    _name = f"{_mutant.__name__}Harness"
    globals()[_name] = type(_name, (MutantHarness,), {"connector": _mutant, "__module__": __name__})
