"""Hands the rows of a list to DuckDB as it asks for them."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import pyarrow as pa

from phonon_bulk.call import start_time_text
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.row import Given, days_since_epoch, read_moment
from phonon_bulk.source.rows import column_name, schema

START, START_DAY = "start", "start_day"
"""The columns with each row's start-time as the API writes it, and its day since 1970-01-01; null
where it can't be used. They are there if the list has a column for it."""

_STARTS_KEPT = 100_000  # a day has 86,400 seconds

_Start = tuple[str, int]


class Feed:
    """The rows as one stream, with their start-times read."""

    def __init__(self, columns: Columns, given: Given, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._schema = schema(len(columns.names))
        self._add_starts: Callable[[pa.Table], pa.Table] = lambda table: table
        if isinstance(columns.start_time, int):
            self._schema = self._schema.append(pa.field(START, pa.string()))
            self._schema = self._schema.append(pa.field(START_DAY, pa.int32()))
            self._add_starts = _start_adder(column_name(columns.start_time), given)
        self.error: Exception | None = None
        """What the tables raised. It would not come through DuckDB as it was."""

    def reader(self) -> pa.RecordBatchReader:
        """Return the stream, which can be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in self._tables:
                yield from self._add_starts(table).to_batches()
        except Exception as error:
            self.error = error
            raise


def _start_adder(column: str, given: Given) -> Callable[[pa.Table], pa.Table]:
    """Return what reads the start-times in `column`, by the plain definition.

    A list has few different ones, so each is read once.
    """

    @lru_cache(_STARTS_KEPT)
    def read(text: str) -> _Start | None:
        moment = read_moment(given, column, text)
        if isinstance(moment, str):
            return None
        return start_time_text(moment), days_since_epoch(moment.date())

    def add(table: pa.Table) -> pa.Table:
        encoded = table.column(column).combine_chunks().dictionary_encode()
        starts = [read(text) for text in encoded.dictionary.to_pylist()]
        texts = pa.array([start and start[0] for start in starts], pa.string())
        days = pa.array([start and start[1] for start in starts], pa.int32())
        table = table.append_column(START, texts.take(encoded.indices))
        return table.append_column(START_DAY, days.take(encoded.indices))

    return add
