"""Hands the rows of a list to DuckDB as it asks for them, and keeps what is not done with."""

from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa

from phonon_bulk.call import start_time_text
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, column_name, schema
from phonon_bulk.source.row import Fields, Rules, days_since_epoch
from phonon_bulk.source.times import Start

START, START_DAY, MOVED = "start", "start_day", "moved"
"""The columns with each row's start-time as the API writes it, its day since 1970-01-01, and
whether it was moved into the calling window; null where there is none that can be used. They are
there if not all calls have the same."""


class Feed:
    """The rows as one stream, with their start-times read."""

    def __init__(self, columns: Columns, rules: Rules, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._width = len(columns.names)
        self._schema = schema(self._width)
        self._add_starts: Callable[[pa.Table], pa.Table] = lambda table: table
        if rules.start is None:
            for name, kind in ((START, pa.string()), (START_DAY, pa.int32()), (MOVED, pa.bool_())):
                self._schema = self._schema.append(pa.field(name, kind))
            self._add_starts = _start_adder(columns, rules)
        self._kept: deque[pa.RecordBatch] = deque()
        self.error: Exception | None = None
        """What the tables raised. It would not come through DuckDB as it was."""

    def reader(self) -> pa.RecordBatchReader:
        """Return the stream, which can be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def rows(self, numbers: list[int]) -> Iterator[tuple[int, Fields, str | None]]:
        """Yield number, fields and fault of rows, given their numbers, ascending.

        None of them may have been let go of.
        """
        names = [column_name(i) for i in range(self._width)]
        wanted = deque(numbers)
        for batch in self._kept:
            first, last = _ends(batch)
            here = []
            while wanted and wanted[0] <= last:
                here.append(wanted.popleft() - first)
            if not here:
                continue
            chosen = batch.take(pa.array(here))
            fields = zip(*(chosen.column(name).to_pylist() for name in names), strict=True)
            broken, faults = (chosen.column(name).to_pylist() for name in (BROKEN, FAULT))
            for at, read, raw, fault in zip(here, fields, broken, faults, strict=True):
                yield first + at, read if fault is None else raw, fault

    def let_go(self, last_row: int) -> None:
        """Forget the rows up to and with this one."""
        while self._kept and _ends(self._kept[0])[1] <= last_row:
            self._kept.popleft()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in self._tables:
                for batch in self._add_starts(table).select(self._schema.names).to_batches():
                    self._kept.append(batch)
                    yield batch
        except Exception as error:
            self.error = error
            raise


def _ends(batch: pa.RecordBatch) -> tuple[int, int]:
    """Return the first and the last row in a batch, which has all between them."""
    numbers = batch.column(ROW)
    return numbers[0].as_py(), numbers[-1].as_py()


def _start_adder(columns: Columns, rules: Rules) -> Callable[[pa.Table], pa.Table]:
    """Return what gives each row its start-time, by the plain definition.

    A list has few different ones, so each text is read once.
    """
    starts = rules.starts
    column = columns.start_time

    def add(table: pa.Table) -> pa.Table:
        if isinstance(column, int):
            encoded = table.column(column_name(column)).combine_chunks().dictionary_encode()
            texts, places = encoded.dictionary.to_pylist(), encoded.indices
            return _with_starts(table, [starts.read(text) for text in texts], places)
        found = [starts.of_row(row) for row in table.column(ROW).to_pylist()]
        return _with_starts(table, found, pa.arange(0, len(found)))

    return add


def _with_starts(table: pa.Table, starts: list[Start | str], places: pa.Array) -> pa.Table:
    read = [None if isinstance(start, str) else start for start in starts]
    columns = {
        START: pa.array([start and start_time_text(start.moment) for start in read], pa.string()),
        START_DAY: pa.array(
            [start and days_since_epoch(start.moment.date()) for start in read], pa.int32()
        ),
        MOVED: pa.array([start and start.moved for start in read], pa.bool_()),
    }
    for name, values in columns.items():
        table = table.append_column(name, values.take(places))
    return table
