"""A table by catalog and name: opened, made, looked at; and the store of data files that lies in it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import FilesystemStore, ObjectStore
from krishiv_connectors._extras import need
from krishiv_connectors._secrets import Secret
from krishiv_connectors.iceberg._errors import IcebergMissing, IcebergUnfit, iceberg_errors
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from krishiv_checkpoint import CheckpointStore

__all__ = ["CLIENT_LIBRARY", "FOLDER", "TableAddress", "pinned"]

CLIENT_LIBRARY = "pyiceberg"
FOLDER = "krishiv"
"""Where data files lie in a table's data folder, before and after their commit."""

_DURABLE_IO = "krishiv_connectors.iceberg._durable_io.DurableFileIO"
_BUCKETS = {
    "s3.endpoint": "aws_endpoint",
    "s3.access-key-id": "aws_access_key_id",
    "s3.secret-access-key": "aws_secret_access_key",
    "s3.session-token": "aws_session_token",
    "s3.region": "aws_region",
}


class TableAddress:
    """Where a table is. Prints without secrets.

    Parameters
    ----------
    catalog : str or mapping
        The name of a catalog that pyiceberg's own configuration knows (``~/.pyiceberg.yaml``,
        ``PYICEBERG_CATALOG__...``), or its properties, with ``name`` among them if it is not ``"default"``. Values may
        be a `Secret`.
    table : str
        ``"namespace.name"``.
    """

    def __init__(self, catalog: str | Mapping[str, Secret | str], table: str) -> None:
        properties = {} if isinstance(catalog, str) else dict(catalog)
        name = properties.pop("name", "default") if not isinstance(catalog, str) else catalog
        if isinstance(name, Secret):
            raise ConfigurationError("a catalog's name is a secret", hint="give it as text")
        if "." not in table.strip("."):
            raise ConfigurationError(f"{table!r} names no table of a namespace", hint='write "namespace.name"')
        self.catalog, self.table = name, table
        self._properties = properties

    def __repr__(self) -> str:
        return repr(str(self))

    def __str__(self) -> str:
        return f"{self.catalog}:{self.table}"

    @property
    def namespace(self) -> str:
        """What stands before the table's own name."""
        return self.table.rpartition(".")[0]

    def hide(self, text: str) -> str:
        """Return `text` without the secrets in the catalog's properties."""
        for value in self._properties.values():
            if isinstance(value, Secret) and (revealed := value.reveal()):
                text = text.replace(revealed, "***")
        return text

    def errors(self) -> Any:
        """Turn what goes wrong with this table into errors that say what to do: a context manager."""
        return iceberg_errors(str(self), self.hide)

    def open(self) -> Any:
        """Return the catalog, connected. To be closed."""
        library = need("pyiceberg.catalog", "iceberg", what="an Iceberg table")
        properties = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in self._properties.items()
        }
        properties.setdefault("py-io-impl", _DURABLE_IO)
        with self.errors():
            try:
                return library.load_catalog(self.catalog, **properties)
            except (ValueError, TypeError, ImportError) as error:
                raise IcebergMissing(
                    f"catalog {self.catalog!r}: {self.hide(str(error))}",
                    hint='give its properties: {"type": "sql", "uri": ..., "warehouse": ...} or {"type": "rest", ...}, '
                    "or a name that pyiceberg's configuration knows",
                    table=str(self),
                ) from None

    @contextmanager
    def opened(self) -> Generator[Any]:
        """Give the catalog, and close it."""
        with closing(self.open()) as catalog:
            yield catalog

    def load(self, catalog: Any) -> Any:
        """Return the table as it is now.

        Raises
        ------
        IcebergMissing, IcebergRefused, IcebergUnavailable, IcebergFailed
        """
        with self.errors():
            return catalog.load_table(self.table)

    def find(self, catalog: Any) -> Any | None:
        """Return the table, or None if there is none."""
        try:
            return self.load(catalog)
        except IcebergMissing:
            return None

    def files(self, table: Any) -> CheckpointStore:
        """Return the store of data files in `table`."""
        place = self.place(table)
        if (local := local_path(place)) is not None:
            return FilesystemStore(local)
        found = {name: table.io.properties.get(theirs) for theirs, name in _BUCKETS.items()}
        options = {name: str(value) for name, value in found.items() if value}
        if (endpoint := options.get("aws_endpoint")) is not None:
            options["aws_virtual_hosted_style_request"] = "false"
            if endpoint.startswith("http://"):
                options["aws_allow_http"] = "true"
        return ObjectStore.at(place.replace("s3a://", "s3://", 1), options)

    def place(self, table: Any) -> str:
        """Return the location that the keys of data files are relative to."""
        return f"{table.location_provider().data_path}/{FOLDER}"

    def unfit(self, feature: str, why: str, hint: str) -> IcebergUnfit:
        """Return the error for a table with `feature`."""
        return IcebergUnfit(f"{self} {why}", hint=hint, table=str(self), feature=feature)


def local_path(location: str) -> Path | None:
    """Return the path of a location on this machine's disk; None for one in a bucket."""
    if "://" not in location:
        return Path(location.removeprefix("file:")).resolve()
    return Path(location.removeprefix("file://")) if location.startswith("file://") else None


def pinned(table: Any, spec: int) -> Any:
    """Return `table` with settings that hold in this handle only.

    ``commit.retry.num-retries`` is 0, whatever the table says: pyiceberg would try a commit that came too late again,
    on top of the one that was faster, with the same epoch. `spec` is the partitioning that files were written for,
    which pyiceberg takes for the table's current one.
    """
    properties = {**table.metadata.properties, "commit.retry.num-retries": "0"}
    table.metadata = table.metadata.model_copy(update={"properties": properties, "default_spec_id": spec})
    return table
