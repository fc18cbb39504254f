"""``krishiv-stream doctor``: whether this machine and this installation can keep what the guarantees promise."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from operator import attrgetter
from pathlib import Path
from typing import Final

from krishiv_guarantees import Certificate, KrishivError, syntax_digests
from krishiv_stream._admission import check_settings
from krishiv_stream._cli._exits import Exit
from krishiv_stream._cli._options import Place, resolve
from krishiv_stream._cli._output import Json, print_json, print_table
from krishiv_stream._places import JobPlaces

__all__ = ["Finding", "Verdict", "doctor"]

_FSYNCS: Final = 20
_SLOW_FSYNC: Final = 0.05
_LOW_SPACE: Final = 1 << 30
_NO_SPACE: Final = 64 << 20


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    detail: str


def doctor(*, json: Json = False, place: Place | None = None) -> int:
    """Check versions, settings, the disk under data_dir, file locks, conditional creates and certificates.

    Exit code 1 if a check fails; a warning is no failure.
    """
    findings = list(_findings(place))
    if json:
        print_json(findings)
    else:
        print_table(("check", "", "found"), [(each.check, each.verdict.value, each.detail) for each in findings])
    return Exit.FAILED if any(each.verdict is Verdict.FAIL for each in findings) else Exit.OK


def _findings(place: Place | None) -> Iterator[Finding]:
    yield from _versions()
    yield _checked("settings", lambda: _settings(place))
    folder = _folder(place)
    yield _checked("free space", lambda: _space(folder))
    try:
        with tempfile.TemporaryDirectory(prefix=".krishiv-doctor-", dir=folder) as scratch:
            yield from _disk(Path(scratch))
        if (bucket := _bucket_of(place)) is not None:
            yield _checked("bucket", lambda: _bucket(bucket))
    except OSError as error:
        yield Finding("data folder", Verdict.FAIL, f"{folder} cannot be written to: {error.strerror}")
    yield _checked("certificates", _certificates)


def _checked(check: str, look: Callable[[], tuple[Verdict, str]]) -> Finding:
    try:
        return Finding(check, *look())
    except KrishivError as error:
        return Finding(check, Verdict.FAIL, f"[{error.code}] {error.message}. {error.hint}")
    except Exception as error:  # whatever is wrong with this installation is what was asked for
        return Finding(check, Verdict.FAIL, f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11) and sys.platform == "linux"
    machine = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", Verdict.OK if supported else Verdict.WARN, machine)
    for requirement in ("krishiv-stream", *_required()):
        try:
            yield Finding(requirement, Verdict.OK, version(requirement))
        except PackageNotFoundError:
            yield Finding(requirement, Verdict.FAIL, "not installed")


def _required() -> list[str]:
    """Return the names of the packages that the core needs, without their version ranges."""
    core = [line for line in requires("krishiv-stream") or [] if "extra ==" not in line]
    return sorted("".join(_name_part(line)) for line in core)


def _name_part(requirement: str) -> Iterator[str]:
    for character in requirement:
        if not (character.isalnum() or character in "-_."):
            return
        yield character


def _settings(place: Place | None) -> tuple[Verdict, str]:
    resolved = resolve(place)
    runtime = check_settings(resolved.settings)
    return Verdict.OK, f"mode {runtime.mode.value}, profile {resolved.settings.profile.label}"


def _folder(place: Place | None) -> Path:
    """Return the nearest folder that exists on the way to where jobs are kept."""
    try:
        wanted = resolve(place).settings.jobs_directory or Path.cwd()
    except KrishivError:
        wanted = Path.cwd()
    return next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())


def _space(folder: Path) -> tuple[Verdict, str]:
    free = shutil.disk_usage(folder).free
    verdict = Verdict.FAIL if free < _NO_SPACE else Verdict.WARN if free < _LOW_SPACE else Verdict.OK
    return verdict, f"{free / 2**30:.1f} GiB in {folder}"


def _disk(scratch: Path) -> Iterator[Finding]:
    yield _checked("fsync", lambda: _fsync(scratch))
    yield _checked("file locks", lambda: _locks(scratch / "lock"))
    yield _checked("conditional create", lambda: _conditional_create(scratch / "store"))


def _fsync(scratch: Path) -> tuple[Verdict, str]:
    times: list[float] = []
    folder = os.open(scratch, os.O_RDONLY)
    try:
        for number in range(_FSYNCS):
            began = time.perf_counter()
            with (scratch / f"file-{number}").open("wb") as file:
                file.write(b"\0" * 4096)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(folder)
            times.append(time.perf_counter() - began)
    finally:
        os.close(folder)
    median, worst = statistics.median(times), max(times)
    verdict = Verdict.WARN if median > _SLOW_FSYNC else Verdict.OK
    return verdict, f"median {median * 1000:.1f} ms, worst of {_FSYNCS} {worst * 1000:.1f} ms (file and folder)"


def _locks(path: Path) -> tuple[Verdict, str]:
    with path.open("w") as held, path.open("w") as other:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Verdict.OK, "a held lock is refused to others"
    return Verdict.FAIL, "a held lock was given twice: two processes could run one job here"


def _bucket_of(place: Place | None) -> JobPlaces | None:
    """Return where checkpoints are, if that is a bucket."""
    try:
        settings = resolve(place).settings
    except KrishivError:
        return None
    return None if settings.checkpoint_bucket is None else JobPlaces(settings)


def _bucket(places: JobPlaces) -> tuple[Verdict, str]:
    if places.store("doctor").capabilities().conditional_create:
        return Verdict.OK, f"{places}: a taken key is refused"
    return Verdict.FAIL, f"{places}: a key was created twice: this server gives no more than at_least_once"


def _conditional_create(root: Path) -> tuple[Verdict, str]:
    from krishiv_checkpoint import FilesystemStore, KeyExists

    store = FilesystemStore(root)
    store.create("log/probe", b"first")
    try:
        store.create("log/probe", b"second")
    except KeyExists:
        if bytes(store.get("log/probe")) == b"first":
            return Verdict.OK, "a taken key is refused"
    return Verdict.FAIL, "a key was created twice: writers could overwrite each other's checkpoints here"


def _certificates() -> tuple[Verdict, str]:
    from krishiv_stream._guarantee_parts import installed_certificates

    certificates = list(installed_certificates())
    if not certificates:
        return Verdict.WARN, "none is installed: nothing resolves to exactly_once without allow_uncertified"
    stale = {each.origin or each.id: changes for each in certificates if (changes := list(_changes(each)))}
    if stale:
        listed = "; ".join(f"{name}: {', '.join(changes)} changed" for name, changes in stale.items())
        return Verdict.WARN, f"{len(stale)} of {len(certificates)} are stale ({listed}): certify them again"
    return Verdict.OK, f"{len(certificates)} installed, all fresh"


def _changes(certificate: Certificate) -> Iterator[str]:
    """Yield what of the code that `certificate` is bound to is not what it was."""
    from krishiv_checkpoint import commit_path_texts
    from krishiv_connectors import module_texts

    for part in (certificate.source, certificate.sink, certificate.store):
        if syntax_digests(module_texts(_load(part.class_name))) != dict(part.digests):
            yield part.class_name
    if syntax_digests(commit_path_texts()) != dict(certificate.commit_path):
        yield "the commit path"


def _load(class_name: str) -> type:
    module, _, qualname = class_name.partition(":")
    found: type = attrgetter(qualname)(import_module(module))
    return found
