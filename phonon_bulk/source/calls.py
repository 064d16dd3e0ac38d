"""Writes whole tables of rows as calls, in DuckDB.

Most rows of a list are usual: `calls.sql` writes them without a Python object for any. The others,
and only those, `row.read_row` decides.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.batch import EMPTY_BLOCK, CallBlock
from phonon_bulk.call import RejectedRow
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.query import call_query, sql_text
from phonon_bulk.source.row import Encoded, Given, read_row
from phonon_bulk.source.rows import ROW, Rows

_ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # keeps the rows in order, and leaves the other cores to the sending
    "memory_limit": "1GB",
    "temp_directory": "",  # contact data never goes to disk
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class CallWriter:
    """Turns rows into calls. It is a context: it holds a database in memory."""

    def __init__(self, columns: Columns, given: Given) -> None:
        self._columns = columns
        self._given = given
        self._query = call_query(columns, given)
        self._database = duckdb.connect(config=_ENGINE)
        self._database.execute(sql_text("macros.sql"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def write(self, rows: Rows) -> tuple[CallBlock, list[RejectedRow]]:
        """Return the calls, and the rows that are none, each in the list's order.

        Raises duckdb.Error, whose message may hold contact data.
        """
        outcomes = [self._decide(row.number, row.fields) for row in rows.ragged]
        block = EMPTY_BLOCK
        if rows.table.num_rows:
            block, unusual = self._write_table(rows.table)
            outcomes += unusual
        rejected = [outcome for outcome in outcomes if isinstance(outcome, RejectedRow)]
        return block, sorted(rejected, key=lambda row: row.row)

    def _write_table(self, table: pa.Table) -> tuple[CallBlock, list[Encoded | RejectedRow]]:
        """Return all calls in the table, and what became of its unusual rows."""
        calls, days = self._usual(table)
        if not calls.null_count:
            return _block(calls, days, table.column(ROW)), []
        unusual = calls.is_null()
        outcomes = [
            self._decide(number, fields) for *fields, number in _as_lists(table.filter(unusual))
        ]
        decided = [outcome if isinstance(outcome, Encoded) else None for outcome in outcomes]
        calls = pc.replace_with_mask(calls, unusual, _calls(decided))
        days = pc.replace_with_mask(days, unusual, _days(decided))
        there = calls.is_valid()
        numbers = table.column(ROW).filter(there)
        return _block(calls.filter(there), days.filter(there), numbers), outcomes

    def _usual(self, table: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the call, with its comma, and the day of each row; null where it is unusual."""
        self._database.register("piece", table)
        written = self._database.sql(self._query).to_arrow_reader(table.num_rows).read_all()
        return written.column("call").combine_chunks(), written.column("day").combine_chunks()

    def _decide(self, number: int, fields: list[str]) -> Encoded | RejectedRow:
        return read_row(self._columns, self._given, number, fields)


def _as_lists(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _calls(decided: list[Encoded | None]) -> pa.Array:
    return pa.array([call and call.json + b"," for call in decided], pa.string())


def _days(decided: list[Encoded | None]) -> pa.Array:
    return pa.array([call and call.day for call in decided], pa.int32())


def _block(calls: pa.Array, days: pa.Array, numbers: pa.ChunkedArray) -> CallBlock:
    """Return the columns, none of which has a null, as a block; only the text is copied."""
    if not len(calls):
        return EMPTY_BLOCK
    _, offsets, text = calls.buffers()
    ends = memoryview(offsets).cast("b").cast("i")[calls.offset : calls.offset + len(calls) + 1]
    return CallBlock(
        data=text.slice(0, ends[-1]).to_pybytes(),
        ends=ends,
        rows=_values(numbers.combine_chunks()),
        days=_values(days),
    )


def _values(array: pa.Array) -> memoryview:
    """Return the array, of 32- or 64-bit whole numbers, without copying it."""
    bytes_of = memoryview(array.buffers()[1]).cast("b")
    values = bytes_of.cast("q" if array.type == pa.int64() else "i")
    return values[array.offset : array.offset + len(array)]
