"""The shape of the tables that every format becomes, and a copy on disk of such tables.

All values are text, as `values` writes them; a value that is not there is the empty text. Nothing
is null in the columns of a row that could be read. A row that could not is `broken`: it has what
could be read of it there, and the reason in `fault`; its columns are null.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Spool, Stored

ROW = "row"
"""The column with the row numbers; those of the list are `c0`, `c1` and so on."""
BROKEN = "broken"
"""The column with the fields of a row that could not be read as one; null for the others."""
FAULT = "fault"
"""The column with the reason why; null for the others. It quotes nothing of the row."""

TABLE_ROWS = 20_000
"""Rows of a table in a copy; the last one has fewer."""


def column_name(place: int) -> str:
    """Return what a list's column is called in a table, given its place from 0."""
    return f"c{place}"


def schema(width: int) -> pa.Schema:
    """Return the columns of the tables for a list with `width` columns."""
    columns = [(column_name(i), pa.string()) for i in range(width)]
    more = [(ROW, pa.int64()), (BROKEN, pa.list_(pa.string())), (FAULT, pa.string())]
    return pa.schema([*columns, *more])


class Part(Protocol):
    """The rows of one file, or of one query's result."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called, as it stands there."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    @property
    def size(self) -> int:
        """In bytes, as it is read."""

    @property
    def digest(self) -> bytes:
        """A SHA-256: equal for equal content."""

    @property
    def stored(self) -> Stored:
        """The bytes that the rows are read from."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was taken for granted and should be seen: sentences without contact data."""

    def tables(self, before: int, after_row: int) -> Iterator[pa.Table]:
        """Yield the rows in tables of `schema(len(names))`.

        The first row has the number `before` + 1; rows up to and with `after_row` are left out.
        Raises ListError if they can't be read as they were looked over.
        """


@dataclass(frozen=True, slots=True)
class TablePart:
    """Rows that were copied to disk as tables; `TableWriter` and `open_tables` make it."""

    name: str
    names: tuple[str, ...]
    rows: int
    size: int
    digest: bytes
    stored: Stored = field(repr=False)
    remarks: tuple[str, ...] = ()

    def tables(self, before: int, after_row: int) -> Iterator[pa.Table]:
        """See `Part`."""
        with self.stored.open() as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                first, before = before + 1, before + batch.num_rows
                if before <= after_row:
                    continue
                numbers = pa.arange(first, before + 1)
                table = pa.Table.from_batches([batch]).append_column(ROW, numbers)
                table = table.select(schema(len(self.names)).names)
                yield (
                    table
                    if first > after_row
                    else table.filter(pc.greater(table.column(ROW), after_row))
                )


class TableWriter:
    """Copies rows to disk; what it was given in pieces of any size comes back in equal ones.

    `add` rows, or `add_broken` ones that could not be read, in their order; then `finish`.
    """

    def __init__(self, name: str, names: Sequence[str]) -> None:
        """Begin a copy of what messages call `name`, with columns of these names.

        Raises ListError if there is no room for it, or if there are no columns.
        """
        if not names:
            raise ListError(f"{name} has no columns")
        self._names = tuple(names)
        shape = schema(len(names))
        self._schema = shape.remove(shape.get_field_index(ROW))
        self._schema = self._schema.with_metadata({b"names": _joined(self._names)})
        self._spool = Spool(name)
        self._stream = pa.ipc.new_stream(_Sink(self._spool.write), self._schema)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._waiting_rows = 0
        self._sha = hashlib.sha256(_joined(self._names))

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Append rows, given as columns of text without nulls, in the order of the names."""
        count = len(columns[0])
        nothing = [pa.nulls(count, self._schema.field(name).type) for name in (BROKEN, FAULT)]
        self._append(pa.record_batch([*columns, *nothing], schema=self._schema))

    def add_broken(self, fields: Sequence[str], fault: str) -> None:
        """Append a row that could not be read as one, with what was read of it and the reason."""
        columns = [pa.nulls(1, pa.string())] * len(self._names)
        broken = pa.array([list(fields)], pa.list_(pa.string()))
        row = [*columns, broken, pa.array([fault], pa.string())]
        self._append(pa.record_batch(row, schema=self._schema))

    def finish(self) -> TablePart:
        """Return what was copied. Nothing can be added after it."""
        self._write_whole(1)
        self._stream.close()
        return TablePart(
            name=self._spool.name,
            names=self._names,
            rows=self._rows,
            size=self._spool.size,
            digest=self._sha.digest(),
            stored=self._spool,
        )

    def _append(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= TABLE_ROWS:
            self._write_whole(TABLE_ROWS)

    def _write_whole(self, least: int) -> None:
        """Write the rows that wait, TABLE_ROWS at a time, while there are `least` of them."""
        table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        at = 0
        while self._waiting_rows >= least and self._waiting_rows:
            (batch,) = table.slice(at, TABLE_ROWS).combine_chunks().to_batches()
            self._stream.write_batch(batch)
            _hash_rows(self._sha.update, batch)
            at += batch.num_rows
            self._rows += batch.num_rows
            self._waiting_rows -= batch.num_rows
        self._waiting = table.slice(at).to_batches()


def open_tables(stored: Stored) -> TablePart:
    """Return rows that were copied to disk by a `TableWriter` in another process.

    Raises ListError if it is none.
    """
    rows = 0
    try:
        with stored.open() as file, pa.ipc.open_stream(file) as stream:
            joined = (stream.schema.metadata or {}).get(b"names", b"")
            sha = hashlib.sha256(joined)
            for batch in stream:
                _hash_rows(sha.update, batch)
                rows += batch.num_rows
            size = file.tell()
    except (pa.ArrowException, OSError):
        raise ListError(f"the copy of the list at {stored.name} can't be read") from None
    return TablePart(stored.name, _split(joined), rows, size, sha.digest(), stored)


class _Sink:
    """What Arrow wants a file to write to to be."""

    closed = False

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write = write

    def flush(self) -> None:
        """Written at once."""


def _joined(names: Sequence[str]) -> bytes:
    return "\0".join(name.replace("\0", " ") for name in names).encode(errors="replace")


def _split(names: bytes) -> tuple[str, ...]:
    return tuple(names.decode().split("\0"))


def _hash_rows(update: Callable[[bytes | memoryview], object], batch: pa.RecordBatch) -> None:
    """Hash where each value ends and the values, column by column, and then the broken rows."""
    for column in batch.columns[:-2]:
        texts = pa.concat_arrays([column.fill_null("")])
        _, offsets, data = texts.buffers()
        ends = memoryview(offsets).cast("b").cast("i")[texts.offset : texts.offset + len(texts) + 1]
        update(array("i", [end - ends[0] for end in ends]).tobytes())
        update(memoryview(data or b"")[ends[0] : ends[-1]])
    if batch.column(BROKEN).null_count < batch.num_rows:
        update(orjson.dumps([batch.column(name).to_pylist() for name in (BROKEN, FAULT)]))
