"""Writes the rows of a list as calls, in DuckDB.

Most rows are usual: `calls.sql` writes them without a Python object for any. The others, and only
those, `row.read_row` decides. One query runs from the first row to the last, because to plan it
takes as long as to write 10,000 calls.
"""

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.batch import EMPTY_BLOCK, CallBlock, Chunk
from phonon_bulk.call import RejectedRow
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.feed import Feed
from phonon_bulk.source.query import call_query, sql_text
from phonon_bulk.source.row import Encoded, Given, read_row

_ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # keeps the rows in order, and leaves the other cores to the sending
    "memory_limit": "1GB",
    "temp_directory": "",  # contact data never goes to disk
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_CHUNK_ROWS = 20_000


def write_calls(columns: Columns, given: Given, tables: Iterator[pa.Table]) -> Iterator[Chunk]:
    """Yield what becomes of the rows in the tables (see `rows.schema`), in their order.

    Passes on what `tables` raises, and raises ListError if DuckDB fails.
    """
    feed = Feed(columns, given, tables)
    last_row = 0
    try:
        for batch in _written(call_query(columns, given), feed):
            chunk = _chunk(columns, given, batch)
            yield chunk
            last_row = chunk.last_row
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # Their messages may quote what was being read, so only the kind is passed on.
        raise feed.error or ListError(
            f"the rows after row {last_row} could not be written as calls:"
            f" {type(error).__name__} in DuckDB"
        ) from None


def _written(query: str, feed: Feed) -> Iterator[pa.RecordBatch]:
    database = duckdb.connect(config=_ENGINE)
    try:
        database.execute(sql_text("macros.sql"))
        database.register("list", feed.reader())
        yield from database.sql(query).to_arrow_reader(_CHUNK_ROWS)
    finally:
        database.close()
        del database  # where a traceback is kept to the end, DuckDB would complain of a leak


def _chunk(columns: Columns, given: Given, batch: pa.RecordBatch) -> Chunk:
    numbers, calls, days = (batch.column(name) for name in ("row", "call", "day"))
    last_row = numbers[-1].as_py()
    if not calls.null_count:
        return Chunk(_block(numbers, calls, days), [], last_row)
    unusual = calls.is_null()
    rows = batch.select(["row", "fields"]).filter(unusual).to_pylist()
    outcomes = [read_row(columns, given, row["row"], row["fields"]) for row in rows]
    calls = pc.replace_with_mask(calls, unusual, _calls(outcomes))
    days = pc.replace_with_mask(days, unusual, _days(outcomes))
    there = calls.is_valid()
    block = _block(numbers.filter(there), calls.filter(there), days.filter(there))
    return Chunk(block, [row for row in outcomes if isinstance(row, RejectedRow)], last_row)


def _calls(outcomes: list[Encoded | RejectedRow]) -> pa.Array:
    calls = [row.json + b"," if isinstance(row, Encoded) else None for row in outcomes]
    return pa.array(calls, pa.string())


def _days(outcomes: list[Encoded | RejectedRow]) -> pa.Array:
    return pa.array([row.day if isinstance(row, Encoded) else None for row in outcomes], pa.int32())


def _block(numbers: pa.Array, calls: pa.Array, days: pa.Array) -> CallBlock:
    """Return the columns, none of which has a null, as a block; only the text is copied."""
    if not len(calls):
        return EMPTY_BLOCK
    _, offsets, text = calls.buffers()
    ends = memoryview(offsets).cast("b").cast("i")[calls.offset : calls.offset + len(calls) + 1]
    data = text.slice(0, ends[-1]).to_pybytes()
    return CallBlock(data, ends, _values(numbers), _values(days))


def _values(array: pa.Array) -> memoryview:
    """Return the array, of 32- or 64-bit whole numbers, without copying it."""
    bytes_of = memoryview(array.buffers()[1]).cast("b")
    values = bytes_of.cast("q" if array.type == pa.int64() else "i")
    return values[array.offset : array.offset + len(array)]
