"""Writes the rows of a list as calls, in DuckDB.

Most rows are usual: `calls.sql` writes them without a Python object for any. The others, and only
those, `row.read_row` decides. One query runs from the first row to the last, because to plan it
takes as long as to write 10,000 calls. What is decided over many rows (the numbers that are not to
be called, the duplicates) is decided here, a chunk at a time and in the order of the list.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import duckdb
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.config import DuplicatesBy
from phonon_bulk.errors import ListError
from phonon_bulk.packing import EMPTY_BLOCK, CallBlock, Chunk
from phonon_bulk.source.calls_query import KEY, call_query, macros, number_name
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.feed import MOVED, Feed
from phonon_bulk.source.formats.tables import ROW
from phonon_bulk.source.row import (
    Key,
    Rules,
    duplicate_row,
    read_row,
    suppressed_note,
    suppressed_row,
)
from phonon_bulk.source.seen import Seen
from phonon_bulk.source.suppression import Suppressed

_ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # keeps the rows in order, and leaves the other cores to the sending
    "memory_limit": "1GB",
    "temp_directory": "",  # contact data never goes to disk
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_CHUNK_ROWS = 20_000
_NO_KEY = -1


def write_calls(
    columns: Columns, rules: Rules, tables: Iterator[pa.Table], seen: Seen, state: LeftOut
) -> Iterator[Chunk]:
    """Yield what becomes of the rows in the tables (see `formats.tables`), in their order.

    Where `rules` have a key, rows whose key was `seen` are left out in this `state`.

    Passes on what `tables` raises, and raises ListError if DuckDB fails.
    """
    feed = Feed(columns, rules, tables)
    last_row: int | None = None
    try:
        for batch in _written(call_query(columns, rules), feed, rules):
            _check_whole(batch, last_row)
            chunk = _Rows(columns, rules, feed, batch).chunk(seen, state)
            last_row = chunk.last_row
            yield chunk
            feed.let_go(last_row)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # Their messages may quote what was being read, so only the kind is passed on.
        raise feed.error or ListError(
            f"the rows after row {last_row or 0} could not be written as calls:"
            f" {type(error).__name__} in DuckDB"
        ) from None


def _written(query: str, feed: Feed, rules: Rules) -> Iterator[pa.RecordBatch]:
    database = duckdb.connect(config=_ENGINE)
    try:
        database.execute(macros(rules.numbers))
        database.register("list", feed.reader())
        yield from database.sql(query).to_arrow_reader(_CHUNK_ROWS)
    finally:
        database.close()
        del database  # where a traceback is kept to the end, DuckDB would complain of a leak


def _check_whole(batch: pa.RecordBatch, last_row: int | None) -> None:
    """Raise ListError unless the rows follow one another, so that none can be lost or shifted."""
    numbers = batch.column(ROW)
    first, last = numbers[0].as_py(), numbers[-1].as_py()
    if last - first + 1 != len(numbers) or (last_row is not None and first != last_row + 1):
        raise ListError(f"rows were lost after row {last_row or 0}; please report this")


class _Rows:
    """Some rows, following one another, as the query has written them.

    What becomes of a row otherwise is kept by its place, from 0; the calls are put together once.
    """

    def __init__(self, columns: Columns, rules: Rules, feed: Feed, batch: pa.RecordBatch) -> None:
        self._columns, self._rules, self._feed, self._batch = columns, rules, feed, batch
        self._count: int = batch.num_rows
        self._first: int = batch.column(ROW)[0].as_py()
        self._calls = batch.column("call")
        self._days = np.array(batch.column("day").fill_null(0))
        self._moved = np.full(self._count, rules.start is not None and rules.start.moved)
        if rules.start is None:
            self._moved = np.array(batch.column(MOVED).fill_null(fill_value=False))
        self._keys = self._written_keys()
        self._left_out: list[LeftOutRow] = []
        self._notes: dict[str, list[int]] = {}
        self._changed: dict[int, bytes | None] = {}
        """Calls that are others than the query has written; None is none."""

    def chunk(self, seen: Seen, state: LeftOut) -> Chunk:
        """Return what becomes of the rows."""
        written = _mask(self._calls.is_valid())
        if self._rules.suppressed is not None:
            self._suppress(self._rules.suppressed, written)
        if not written.all():
            self._read(np.flatnonzero(~written))
        if self._keys is not None:
            self._leave_out_duplicates(self._keys, seen, state)
        there = np.ones(self._count, np.bool_)
        there[[place for place, call in self._changed.items() if call is None]] = False
        notes = [(note, sorted(rows)) for note, rows in self._notes.items() if rows]
        if moved := self._rows_at(np.flatnonzero(self._moved & there)):
            notes.append((self._rules.starts.moved_note, moved))
        self._left_out.sort(key=lambda row: row.row)
        return Chunk(self._block(there), self._left_out, self._first + self._count - 1, notes)

    def _rows_at(self, places: npt.NDArray[np.int64]) -> list[int]:
        rows: list[int] = (places + self._first).tolist()
        return rows

    def _suppress(self, suppressed: Suppressed, written: npt.NDArray[np.bool_]) -> None:
        """Take the numbers that are not to be called out of the calls that the query has written.

        It does what `row.read_row` would, which takes ten times as long.
        """
        numbers = [self._batch.column(number_name(i)) for i in range(len(self._columns.numbers))]
        there = [_mask(column.is_valid()) for column in numbers]
        listed = [mask.copy() for mask in there]
        for column, mask in zip(numbers, listed, strict=True):
            mask[mask] = suppressed.among(column.drop_null().to_numpy())
        left = np.logical_or.reduce([a & ~b for a, b in zip(there, listed, strict=True)])
        some = np.logical_or.reduce(listed) & written
        gone = np.flatnonzero(some & ~left)
        self._changed |= dict.fromkeys(gone.tolist())
        self._set_keys(gone, [None] * len(gone))
        for number, fields, _fault in self._feed.rows(self._rows_at(gone)):
            self._left_out.append(suppressed_row(self._columns, number, fields))
        self._shorten(np.flatnonzero(some & left), numbers, listed)

    def _shorten(
        self,
        places: npt.NDArray[np.int64],
        numbers: list[pa.Array],
        listed: list[npt.NDArray[np.bool_]],
    ) -> None:
        """Write calls anew without their numbers in the columns in which they are listed."""
        texts = self._calls.take(pa.array(places)).to_pylist()
        calls = [orjson.loads(text[:-1]) for text in texts]
        for i, (column, mask) in enumerate(zip(numbers, listed, strict=True)):
            note = suppressed_note(self._columns.said[self._columns.numbers[i]])
            values = column.take(pa.array(places)).to_pylist()
            for place, call, value in zip(places.tolist(), calls, values, strict=True):
                if mask[place]:
                    kept = [number for number in call["contact-numbers"] if number != str(value)]
                    call["contact-numbers"] = kept
                    rows = self._notes.setdefault(note, [])
                    rows.append(self._first + place)
        for place, call in zip(places.tolist(), calls, strict=True):
            self._changed[place] = orjson.dumps(call) + b","
        if self._rules.key is DuplicatesBy.NUMBER:
            self._set_keys(places, [int(call["contact-numbers"][0]) for call in calls])

    def _read(self, places: npt.NDArray[np.int64]) -> None:
        """Let `row.read_row` decide the rows that are not usual."""
        self._moved[places] = False  # what was moved among these is in their notes
        outcomes = [
            read_row(self._columns, self._rules, number, fields, fault)
            for number, fields, fault in self._feed.rows(self._rows_at(places))
        ]
        keys: list[Key] = []
        for place, row in zip(places.tolist(), outcomes, strict=True):
            if isinstance(row, LeftOutRow):
                self._changed[place] = None
                self._left_out.append(row)
                keys.append(None)
                continue
            self._changed[place] = row.json + b","
            self._days[place] = row.day
            keys.append(row.key)
            for note in row.notes:
                self._notes.setdefault(note, []).append(self._first + place)
        self._set_keys(places, keys)

    def _written_keys(self) -> npt.NDArray[np.generic] | None:
        """Return the keys that the query has found; `_NO_KEY` or no bytes where there is none."""
        if self._rules.key is DuplicatesBy.NUMBER:
            return np.array(self._batch.column(number_name(0)).fill_null(_NO_KEY), np.int64)
        if KEY not in self._batch.schema.names:
            return None
        return np.array(self._batch.column(KEY).fill_null(b"").to_pylist(), "S16")

    def _set_keys(self, places: npt.NDArray[np.int64], keys: Sequence[Key]) -> None:
        if self._keys is not None and len(places):
            none = _NO_KEY if self._rules.key is DuplicatesBy.NUMBER else b""
            self._keys[places] = [none if key is None else key for key in keys]

    def _leave_out_duplicates(
        self, keys: npt.NDArray[np.generic], seen: Seen, state: LeftOut
    ) -> None:
        by = self._rules.key
        assert by is not None  # noqa: S101 - there are keys
        has_key = keys != (_NO_KEY if by is DuplicatesBy.NUMBER else b"")
        repeated = np.zeros(len(keys), np.bool_)
        repeated[has_key] = seen.again(keys[has_key])
        places = np.flatnonzero(repeated)
        if not len(places):
            return
        self._changed |= dict.fromkeys(places.tolist())
        numbers = self._rows_at(places)
        for number, fields, _fault in self._feed.rows(numbers):
            self._left_out.append(duplicate_row(self._columns, number, fields, by, state))
        gone = set(numbers)
        for note, rows in self._notes.items():
            self._notes[note] = [row for row in rows if row not in gone]

    def _block(self, there: npt.NDArray[np.bool_]) -> CallBlock:
        """Return the calls of the rows that are `there`; copied only if some were changed."""
        if not there.any():
            return EMPTY_BLOCK
        _, offsets, text = self._calls.buffers()
        begin = self._calls.offset
        ends = np.frombuffer(offsets, np.int32)[begin : begin + self._count + 1].astype(np.int64)
        lengths, at = np.diff(ends), 0
        pieces: list[bytes | memoryview] = []
        data = memoryview(text or b"")
        for place in sorted(self._changed):
            call = self._changed[place] or b""
            pieces += [data[ends[at] : ends[place]], call]
            lengths[place], at = len(call), place + 1
        pieces.append(data[ends[at] : ends[-1]])
        starts = np.concatenate([[0], np.cumsum(lengths[there])])
        rows = np.flatnonzero(there) + self._first
        columns = [cast(Sequence[int], part.data) for part in (starts, rows, self._days[there])]
        return CallBlock(pieces[0] if len(pieces) == 1 else b"".join(pieces), *columns)


def _mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.array(array.to_numpy(zero_copy_only=False))
