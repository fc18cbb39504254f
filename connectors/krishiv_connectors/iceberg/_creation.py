"""Making a table from the columns of rows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from krishiv_connectors.iceberg._partitioning import add_fields, check_partitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors.iceberg._catalog import TableAddress

__all__ = ["make_table"]

# Every checkpoint is a commit: without these, each would leave a metadata file for good, and one more manifest to go
# through for every reader.
_DEFAULTS = {
    "format-version": "2",
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
}


def make_table(
    address: TableAddress, catalog: Any, rows: pa.Schema, partition_by: Sequence[str], properties: Mapping[str, str]
) -> None:
    """Make the table, and its namespace, if nobody else does at the same time."""
    from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError

    check_partitions(rows, partition_by)
    with address.errors():
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace(address.namespace)
        try:
            creation = catalog.create_table_transaction(
                address.table, schema=rows, properties={**_DEFAULTS, **properties}
            )
            with creation, creation.update_spec() as update:
                add_fields(update, partition_by)
        except (TableAlreadyExistsError, CommitFailedException):
            return
