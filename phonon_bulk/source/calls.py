"""Writes the rows of a list as calls, in DuckDB.

Most rows are usual: `calls.sql` writes them without a Python object for any. The others, and only
those, `row.read_row` decides. One query runs from the first row to the last, because to plan it
takes as long as to write 10,000 calls. What is decided over many rows (the numbers that are not to
be called, the duplicates) is decided here, a chunk at a time and in the order of the list.
"""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.batch import EMPTY_BLOCK, CallBlock, Chunk
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.config import DuplicatesBy
from phonon_bulk.errors import ListError
from phonon_bulk.source.calls_query import KEY, call_query, macros, number_name
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.feed import MOVED, Feed
from phonon_bulk.source.formats.tables import ROW
from phonon_bulk.source.row import (
    Encoded,
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
    """Some rows, following one another, as the query has written them."""

    def __init__(self, columns: Columns, rules: Rules, feed: Feed, batch: pa.RecordBatch) -> None:
        self._columns, self._rules, self._feed, self._batch = columns, rules, feed, batch
        self._numbers = batch.column(ROW)
        self._first: int = self._numbers[0].as_py()
        self._calls, self._days = batch.column("call"), batch.column("day")
        self._moved = (
            batch.column(MOVED)
            if rules.start is None
            else pa.array([rules.start.moved] * len(self._numbers))
        )
        self._keys = self._written_keys()
        self._left_out: list[LeftOutRow] = []
        self._notes: dict[str, list[int]] = {}
        self._changed: dict[int, bytes | None] = {}
        """Calls that are others than the query has written, by their place; None is none."""
        self._changed_days: dict[int, int | None] = {}

    def chunk(self, seen: Seen, state: LeftOut) -> Chunk:
        """Return what becomes of the rows."""
        unusual = self._calls.is_null()
        if self._rules.suppressed is not None:
            self._suppress(self._rules.suppressed)
        if pc.any(unusual).as_py():
            self._read(unusual)
        if self._keys is not None:
            self._leave_out_duplicates(self._keys, seen, state)
        calls = _replaced(self._calls, self._changed)
        there = calls.is_valid()
        notes = [(note, sorted(rows)) for note, rows in self._notes.items() if rows]
        notes += self._moved_notes(there)
        columns = [self._numbers, calls, _replaced(self._days, self._changed_days)]
        if self._left_out:
            columns = [column.filter(there) for column in columns]
        self._left_out.sort(key=lambda row: row.row)
        return Chunk(_block(*columns), self._left_out, self._numbers[-1].as_py(), notes)

    def _suppress(self, suppressed: Suppressed) -> None:
        """Take the numbers that are not to be called out of the calls that the query has written.

        It does what `row.read_row` would, which takes ten times as long.
        """
        found = [self._among(suppressed, i) for i in range(len(self._columns.numbers))]
        written = self._calls.is_valid().to_numpy(zero_copy_only=False)
        places = np.flatnonzero(np.logical_or.reduce(found) & written)
        if not len(places):
            return
        texts = self._calls.take(pa.array(places)).to_pylist()
        for place, text in zip(places.tolist(), texts, strict=True):
            columns = [i for i, listed in enumerate(found) if listed[place]]
            self._changed[place] = self._without(orjson.loads(text[:-1]), place, columns)
        gone = [self._first + p for p in places.tolist() if self._changed[p] is None]
        for number, fields, _fault in self._feed.rows(gone):
            self._left_out.append(suppressed_row(self._columns, number, fields))

    def _among(self, suppressed: Suppressed, column: int) -> npt.NDArray[np.bool_]:
        """Say of each row whether its number in a column is one of them."""
        numbers = self._batch.column(number_name(column))
        there = numbers.is_valid().to_numpy(zero_copy_only=False)
        there[there] = suppressed.among(numbers.drop_null().to_numpy())
        return np.asarray(there)

    def _without(self, call: dict[str, Any], place: int, columns: list[int]) -> bytes | None:
        """Return a call without its numbers in some columns; None if it has no other."""
        listed = {str(self._batch.column(number_name(i))[place]) for i in columns}
        kept = [number for number in call["contact-numbers"] if number not in listed]
        if self._keys is not None and self._rules.key is DuplicatesBy.NUMBER:
            self._keys[place] = int(kept[0]) if kept else _NO_KEY
        elif self._keys is not None and not kept:
            self._keys[place] = b""
        if not kept:
            return None
        for i in columns:
            note = suppressed_note(self._columns.said[self._columns.numbers[i]])
            rows = self._notes.setdefault(note, [])
            if rows[-1:] != [self._first + place]:
                rows.append(self._first + place)
        return orjson.dumps({**call, "contact-numbers": kept}) + b","

    def _read(self, unusual: pa.Array) -> None:
        """Let `row.read_row` decide the rows that are not usual."""
        numbers = self._numbers.filter(unusual).to_pylist()
        outcomes = [
            read_row(self._columns, self._rules, number, fields, fault)
            for number, fields, fault in self._feed.rows(numbers)
        ]
        for number, row in zip(numbers, outcomes, strict=True):
            call, day = (row.json + b",", row.day) if isinstance(row, Encoded) else (None, None)
            self._changed[number - self._first] = call
            self._changed_days[number - self._first] = day
        # What was moved among these is in their notes.
        self._moved = pc.if_else(unusual, pa.scalar(False), self._moved)
        self._set_keys(numbers, outcomes)
        for number, row in zip(numbers, outcomes, strict=True):
            if isinstance(row, LeftOutRow):
                self._left_out.append(row)
                continue
            for note in row.notes:
                self._notes.setdefault(note, []).append(number)

    def _written_keys(self) -> npt.NDArray[np.generic] | None:
        """Return the keys that the query has found; `_NO_KEY` or no bytes where there is none."""
        if self._rules.key is DuplicatesBy.NUMBER:
            return np.array(self._batch.column(number_name(0)).fill_null(_NO_KEY), np.int64)
        if KEY not in self._batch.schema.names:
            return None
        return np.array(self._batch.column(KEY).fill_null(b"").to_pylist(), "S16")

    def _set_keys(self, numbers: list[int], outcomes: list[Encoded | LeftOutRow]) -> None:
        if self._keys is None:
            return
        none = _NO_KEY if self._rules.key is DuplicatesBy.NUMBER else b""
        keys = [row.key if isinstance(row, Encoded) else None for row in outcomes]
        places = np.array(numbers) - self._first
        self._keys[places] = [none if key is None else key for key in keys]

    def _leave_out_duplicates(
        self, keys: npt.NDArray[np.generic], seen: Seen, state: LeftOut
    ) -> None:
        by = self._rules.key
        assert by is not None  # noqa: S101 - there are keys
        has_key = keys != (_NO_KEY if by is DuplicatesBy.NUMBER else b"")
        repeated = np.zeros(len(keys), np.bool_)
        repeated[has_key] = seen.again(keys[has_key])
        if not repeated.any():
            return
        numbers = (np.flatnonzero(repeated) + self._first).tolist()
        for number, fields, _fault in self._feed.rows(numbers):
            self._left_out.append(duplicate_row(self._columns, number, fields, by, state))
        self._changed |= dict.fromkeys(np.flatnonzero(repeated).tolist())
        gone = set(numbers)
        for note, rows in self._notes.items():
            self._notes[note] = [row for row in rows if row not in gone]

    def _moved_notes(self, there: pa.Array) -> list[tuple[str, list[int]]]:
        moved = self._numbers.filter(pc.and_(there, pc.fill_null(self._moved, False)))
        return [(self._rules.starts.moved_note, moved.to_pylist())] if len(moved) else []


def _replaced(array: pa.Array, changed: dict[int, Any]) -> pa.Array:
    """Return an array with other values at some places."""
    if not changed:
        return array
    places = sorted(changed)
    mask = np.zeros(len(array), np.bool_)
    mask[places] = True
    values = pa.array([changed[place] for place in places], array.type)
    return pc.replace_with_mask(array, pa.array(mask), values)


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
