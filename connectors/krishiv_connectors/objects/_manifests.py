"""The manifests of one sink of one lineage: one object an epoch, which is its mark; old ones put together.

Names sort by epoch, and old manifests are moved out of the way, so that one request finds the newest. Of epochs in a
range only those with files are kept. A range is written before the manifests in it are removed: whoever lists the
manifests first and the ranges after that misses none, and may see some twice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from krishiv_connectors.objects._names import Folder, RangeName
from krishiv_connectors.objects._records import EpochManifest, RangeManifest, decode

if TYPE_CHECKING:
    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["GROUP", "KnownManifests", "Manifests"]

GROUP = 100
"""Epochs whose manifests are put together, and ranges of these that are put together once more."""
_AT_ONCE = 8
_KEPT = 1
"""Full groups that are left as they are, for readers that follow and for going back."""


class Manifests:
    """What `folder` holds."""

    def __init__(self, bucket: Bucket, folder: Folder) -> None:
        self._bucket = bucket
        self._folder = folder

    def newest(self) -> EpochManifest | None:
        """Return the manifest of the newest epoch that is published, or None."""
        for epoch in sorted(self.epochs(), reverse=True):
            manifest = self.get(epoch)
            if manifest is not None and not manifest.withdrawn:
                return manifest
        return None

    def epochs(self) -> list[int]:
        """Return the epochs that have a manifest of their own, withdrawn ones among them, ascending."""
        found = (Folder.epoch_of(name) for name in self._bucket.names(str(self._folder)))
        return sorted(epoch for epoch in found if epoch is not None)

    def ranges(self) -> list[RangeName]:
        """Return the ranges, without those that lie in others, ascending."""
        found = (RangeName.parse(name) for name in self._bucket.names(self._folder.ranges))
        ranges = sorted((each for each in found if each is not None), key=lambda each: (each.first, -each.last))
        widest: list[RangeName] = []
        for each in ranges:
            if not widest or each.last > widest[-1].last:
                widest.append(each)
        return widest

    def get(self, epoch: int) -> EpochManifest | None:
        """Return the manifest of `epoch` if it has one of its own."""
        key = self._folder.epoch(epoch)
        found = self._bucket.get(key)
        return None if found is None else decode(found[0], EpochManifest, self._bucket.place(key))

    def get_range(self, name: RangeName) -> RangeManifest | None:
        """Return a range, or None if it was put into a wider one meanwhile."""
        key = f"{self._folder.ranges}{name}"
        found = self._bucket.get(key)
        return None if found is None else decode(found[0], RangeManifest, self._bucket.place(key))

    def find(self, epoch: int) -> EpochManifest | None:
        """Return what is published as `epoch`, wherever it is written. Of an epoch in a range, files are all it has."""
        own = self.get(epoch)
        if own is not None:
            return own
        for name in self.ranges():
            if name.covers(epoch) and (found := self.get_range(name)) is not None:
                empty = EpochManifest(job="", lineage=found.lineage, sink=found.sink, epoch=epoch, previous=0)
                return next((each for each in found.epochs if each.epoch == epoch), empty)
        return None

    def create(self, manifest: EpochManifest) -> bool:
        """Publish an epoch, if it has no manifest yet."""
        return self._bucket.create(self._folder.epoch(manifest.epoch), manifest.encode())

    def replace(self, manifest: EpochManifest) -> None:
        """Write a manifest over whatever is there."""
        self._bucket.put(self._folder.epoch(manifest.epoch), manifest.encode())

    # ---------------------------------------------------------------- putting together

    def condense(self, newest: int) -> None:
        """Put manifests together that are far enough below `newest`. May be done by several at once, and be cut off."""
        settled = newest // GROUP - _KEPT
        groups: dict[int, list[int]] = {}
        for epoch in self.epochs():
            if epoch // GROUP < settled:
                groups.setdefault(epoch // GROUP, []).append(epoch)
        for group, epochs in groups.items():
            self._condense_group(group, epochs)
        if groups:
            self._condense_ranges(settled)

    def _condense_group(self, group: int, epochs: list[int]) -> None:
        name = RangeName(group * GROUP, group * GROUP + GROUP - 1)
        if not any(each.covers(name.first) for each in self.ranges()):
            known = KnownManifests()
            if not self._fetch(epochs, [], known):
                return  # another does the same, and has begun to remove them
            self._write_range(name, [known.epochs[epoch] for epoch in epochs])
        with ThreadPoolExecutor(_AT_ONCE, "manifests") as threads:
            list(threads.map(self._bucket.delete, map(self._folder.epoch, epochs)))

    def _condense_ranges(self, settled: int) -> None:
        """Put full runs of ranges together once more."""
        names = [RangeName.parse(name) for name in self._bucket.names(self._folder.ranges)]
        small = [name for name in names if name is not None and name.last - name.first == GROUP - 1]
        for group in sorted({name.first // GROUP**2 for name in small}):
            if (group + 1) * GROUP <= settled:
                self._condense_run(group, [name for name in small if name.first // GROUP**2 == group])

    def _condense_run(self, group: int, names: list[RangeName]) -> None:
        wide = RangeName(group * GROUP**2, (group + 1) * GROUP**2 - 1)
        if wide not in self.ranges():
            known = KnownManifests()
            if not self._fetch([], names, known):
                return
            self._write_range(wide, [epoch for name in names for epoch in known.ranges[name].epochs])
        for name in names:
            self._bucket.delete(f"{self._folder.ranges}{name}")

    def _write_range(self, name: RangeName, manifests: list[EpochManifest]) -> None:
        epochs = tuple(each for each in manifests if each.files and not each.withdrawn)
        folder = self._folder
        written = RangeManifest(
            lineage=folder.lineage, sink=folder.sink, first=name.first, last=name.last, epochs=epochs
        )
        self._bucket.create(f"{folder.ranges}{name}", written.encode())

    # ---------------------------------------------------------------- reading

    def published(self, known: KnownManifests) -> list[EpochManifest]:
        """Return every published epoch that has files, ascending; what is `known` is not fetched again."""
        while True:
            epochs = self.epochs()
            ranges = self.ranges()  # after that: what was moved between the two is in both, not in none
            alone = [epoch for epoch in epochs if not any(name.covers(epoch) for name in ranges)]
            if self._fetch(alone, ranges, known):
                break
        found = [each for name in ranges for each in known.ranges[name].epochs]
        found += [known.epochs[epoch] for epoch in alone]
        return [each for each in found if each.files and not each.withdrawn]

    def _fetch(self, epochs: list[int], ranges: list[RangeName], known: KnownManifests) -> bool:
        """Add to `known` what is not there; False if something was moved meanwhile."""
        new_ranges = [name for name in ranges if name not in known.ranges]
        new_epochs = [epoch for epoch in epochs if epoch not in known.epochs]
        with ThreadPoolExecutor(_AT_ONCE, "manifests") as threads:
            got_ranges = list(threads.map(self.get_range, new_ranges))
            got_epochs = list(threads.map(self.get, new_epochs))
        known.ranges |= {name: each for name, each in zip(new_ranges, got_ranges, strict=True) if each is not None}
        known.epochs |= {epoch: each for epoch, each in zip(new_epochs, got_epochs, strict=True) if each is not None}
        return None not in got_ranges and None not in got_epochs


@dataclass
class KnownManifests:
    """Manifests that were fetched once: they do not change, but for an epoch that is withdrawn."""

    epochs: dict[int, EpochManifest] = field(default_factory=dict[int, EpochManifest])
    ranges: dict[RangeName, RangeManifest] = field(default_factory=dict[RangeName, RangeManifest])
