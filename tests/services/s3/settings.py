"""What a Ceph of one host has to be told so that it starts in a second and writes to loopback alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Ports", "write_settings"]

_TEXT = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{ports.monitor}]
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind ipv4 = true
ms bind port min = {ports.storage}
ms bind port max = {last}
auth cluster required = none
auth service required = none
auth client required = none
auth_allow_insecure_global_id_reclaim = true
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
paxos propose interval = 0.02
paxos min wait = 0.01
mon election timeout = 1
osd mon report interval = 1
mon max pg per osd = 1000
run dir = {folder}/run
log file = {folder}/log/$name.log
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
keyring = {folder}/keyring
[mon.a]
mon data = {folder}/mon
mon data avail crit = 1
mon data avail warn = 2
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
memstore page set = false
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{ports.client} tcp_nodelay=1
rgw data = {folder}/rgw
# How long the completion of an upload stays locked when the gateway dies within it: ten minutes by default.
rgw mp lock max time = 5
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
auth client required = none
rgw run sync thread = false
rgw enable usage log = false
rgw enable ops log = false
rgw thread pool size = 64
"""

_MEMORY = 8 << 30  # bytes that may be stored
_STORAGE_PORTS = 16  # how many ports the storage daemon may choose from


@dataclass(frozen=True)
class Ports:
    """Where the three daemons listen; the storage daemon takes a few from its first on."""

    client: int
    monitor: int
    storage: int


def write_settings(folder: Path, ports: Ports) -> str:
    """Write ``ceph.conf`` and the folders it names; returns the id of the cluster."""
    for name in ("mon", "osd", "rgw", "run", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    fsid = str(uuid.uuid4())
    text = _TEXT.format(fsid=fsid, ports=ports, last=ports.storage + _STORAGE_PORTS, folder=folder, memory=_MEMORY)
    (folder / "ceph.conf").write_text(text)
    (folder / "keyring").touch()
    return fsid
