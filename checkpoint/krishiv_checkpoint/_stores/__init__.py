"""The stores that come with the checkpoint floor: in memory, on a local file system, in a bucket."""

from krishiv_checkpoint._stores._filesystem_store import FilesystemStore
from krishiv_checkpoint._stores._memory_store import MemoryStore
from krishiv_checkpoint._stores._object_store import ObjectStore
from krishiv_checkpoint._stores._prefixed import PrefixedStore
from krishiv_checkpoint._stores._verified import copy_verified, read_verified

__all__ = ["FilesystemStore", "MemoryStore", "ObjectStore", "PrefixedStore", "copy_verified", "read_verified"]
