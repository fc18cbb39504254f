"""Where a stream begins: `read`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_connectors import Sink, Source
from krishiv_stream._errors import InvalidArgument
from krishiv_stream._expressions.planning import require_column, require_distinct
from krishiv_stream._location import user_location
from krishiv_stream._plan.arguments import require_instance, require_name
from krishiv_stream._plan.keyed import require_event_time_type
from krishiv_stream._plan.nodes import SourceNode
from krishiv_stream._plan.stream import Stream
from krishiv_stream._plan.watermarks import WatermarkStrategy

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read"]


def read(
    source: Source[Any],
    *,
    event_time: str | None = None,
    watermark: WatermarkStrategy | None = None,
    name: str | None = None,
    max_rate: float | None = None,
    on_bad_row: str | Sink = "fail",
) -> Stream:
    """Begin a stream.

    Parameters
    ----------
    source : Source
        What is read; it is asked for its schema now.
    event_time : str, optional
        The timestamp column that says when a row happened: UTC, or without a zone, which is taken as UTC.
    watermark : WatermarkStrategy, optional
        How far event time has come, judged from the rows. None: only the end of the source advances it, and no row
        is late.
    name : str, optional
        Stable name of the source: its position is found again under it when the pipeline has changed.
    max_rate : float, optional
        Rows per second of the whole source, at most.
    on_bad_row : "fail", "drop" or Sink
        What becomes of a record that cannot be read: it stops the job, it is dropped and counted, or it goes to a sink.

    Raises
    ------
    InvalidArgument, InvalidName, UnknownColumn, InvalidEventTime, DuplicateColumn
    """
    require_instance(source, Source, "source", 'for example ks.ParquetSource("data/*.parquet")')
    require_name(name)
    _require_options(event_time, watermark, max_rate, on_bad_row)
    schema = source.schema()
    require_distinct(schema.names)
    if event_time is not None:
        _require_event_time(event_time, schema)
    node = SourceNode(
        schema=schema,
        event_time=event_time,
        name=name,
        location=user_location(),
        source=source,
        watermark=watermark,
        max_rate=max_rate,
        on_bad_row=on_bad_row,
    )
    return Stream(node)


def _require_event_time(column: str, schema: pa.Schema) -> None:
    require_column(column, schema)
    require_event_time_type(column, schema.field(column).type)


def _require_options(event_time: object, watermark: object, max_rate: object, on_bad_row: object) -> None:
    if watermark is not None and not isinstance(watermark, WatermarkStrategy):
        raise InvalidArgument(
            f"watermark={watermark!r} is no watermark strategy", hint='for example ks.bounded_delay("5s")'
        )
    if watermark is not None and event_time is None:
        raise InvalidArgument("a watermark needs event time", hint='name its column: ks.read(..., event_time="...")')
    if max_rate is not None and not (isinstance(max_rate, int | float) and max_rate > 0):
        raise InvalidArgument(f"max_rate={max_rate!r}", hint="rows per second, above zero; None: no limit")
    if on_bad_row not in ("fail", "drop") and not isinstance(on_bad_row, Sink):
        raise InvalidArgument(f"on_bad_row={on_bad_row!r}", hint='"fail", "drop" or a sink for dead letters')
