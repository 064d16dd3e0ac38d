"""Reads a CSV text piece by piece as tables of text with row numbers.

Arrow's CSV reader gets one piece of whole rows at a time, never a stream that it would have to cut
itself: DuckDB 2.0's own reader can lose a row where its buffers end
(docs/decisions/0003-arrow-splits-duckdb-writes.md has the case).
"""

import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.csv_scan import Dialect, Header, Piece, Scanned, read_header, scan
from phonon_bulk.source.formats.stored import Stored
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, schema


@dataclass(frozen=True, slots=True)
class CsvPart:
    """A CSV text that was looked over; `open_csv` makes it."""

    stored: Stored = field(repr=False)
    header: Header
    scanned: Scanned = field(repr=False)
    digest: bytes
    """SHA-256 over the length (8 bytes, the highest first) and the bytes of the text."""
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.stored.name

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called, as it stands there."""
        return self.header.names

    @property
    def rows(self) -> int:
        """How many rows there are; blank lines are none."""
        return self.scanned.rows

    @property
    def size(self) -> int:
        """In bytes of UTF-8."""
        return self.scanned.size

    def tables(self, before: int, after_row: int) -> Iterator[pa.Table]:
        """See `Part`. Pieces that end with `after_row` or earlier are not read.

        Raises ListError if the file is no longer what was scanned, or if a piece does not have
        the rows that the scan counted.
        """
        self.stored.check_unchanged()
        reader = _PieceReader(len(self.names), self.header.dialect)
        with self.stored.open() as stream:
            stream.seek(self.scanned.begin)
            for piece in self.scanned.pieces:
                if not piece.rows or before + piece.rows <= after_row:
                    stream.seek(piece.size, io.SEEK_CUR)
                else:
                    table = self._read_piece(stream, piece, reader, before)
                    yield _rows_after(table, before, after_row)
                before += piece.rows
        self.stored.check_unchanged()

    def _read_piece(
        self, stream: BinaryIO, piece: Piece, reader: "_PieceReader", before: int
    ) -> pa.Table:
        try:
            table = reader.read(stream.read(piece.size), before + 1)
        except OSError as error:
            raise ListError(f"{self.name} can't be read on: {error.strerror}") from None
        except pa.ArrowInvalid:  # its message may quote the row
            raise self._miscounted(piece, before) from None
        if table.num_rows != piece.rows:
            raise self._miscounted(piece, before)
        return table

    def _miscounted(self, piece: Piece, before: int) -> ListError:
        self.stored.check_unchanged()
        return ListError(
            f"{self.name}: the rows {before + 1} to {before + piece.rows} of the list could not be"
            " read as they were counted. None of them was used; please report this"
        )


def open_csv(stored: Stored, delimiter: str | None = None, quote: str = '"') -> CsvPart:
    """Look over every byte of a UTF-8 text and return its rows.

    Without a delimiter the header shows it; with "" for a quote, quotes mean nothing. Takes about
    5 s a gigabyte. Raises ListError, naming the line, for the first thing that is wrong.
    """
    header = read_header(stored, delimiter, quote)
    digest = sha256()
    scanned = scan(stored, header, digest.update)
    return CsvPart(stored, header, scanned, digest.digest())


class _PieceReader:
    """Reads pieces of one shape."""

    def __init__(self, width: int, dialect: Dialect) -> None:
        self._schema = schema(width)
        self._names = self._schema.names[:width]
        self._dialect = dialect
        self._convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.string()),
            strings_can_be_null=False,
            check_utf8=False,  # the scan did
        )

    def read(self, data: bytes, first: int) -> pa.Table:
        """Return the rows in `data`, of which the first one has the number `first`."""
        ragged: dict[int, list[str]] = {}

        def keep(row: arrow_csv.InvalidRow) -> str:
            # `row.number` counts from 1 the rows that are not blank, ragged ones included.
            ragged[first + row.number - 1] = self._fields(row.text)
            return "skip"

        if data.startswith(BOM_UTF8):
            data = b"\n" + data  # here it is text, which Arrow would skip
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=self._names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote or False,
                newlines_in_values=True,
                invalid_row_handler=keep,
            ),
            convert_options=self._convert,
        )
        return self._numbered(table, ragged, first)

    def _numbered(self, table: pa.Table, ragged: Mapping[int, list[str]], first: int) -> pa.Table:
        """Return all rows with their numbers, the ragged ones among the others."""
        last = first + table.num_rows + len(ragged) - 1
        numbers = pa.arange(first, last + 1)
        if ragged:
            numbers = pa.array((n for n in range(first, last + 1) if n not in ragged), pa.int64())
        table = table.append_column(ROW, numbers)
        for name in (BROKEN, FAULT):
            kind = self._schema.field(name).type
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
        if not ragged:
            return table
        faults = [self._fault(len(fields)) for fields in ragged.values()]
        others = pa.table({ROW: list(ragged), BROKEN: list(ragged.values()), FAULT: faults})
        return pa.concat_tables([table, others], promote_options="default").sort_by(ROW)

    def _fields(self, text: str) -> list[str]:
        quote = self._dialect.quote
        if not quote or quote not in text:  # csv has a limit for fields; the scan has, for quotes
            return text.split(self._dialect.delimiter)
        return next(self._dialect.reader(io.StringIO(text, newline="\n"), strict=False))

    def _fault(self, fields: int) -> str:
        expected = len(self._names)
        few_or_many = "few" if fields < expected else "many"
        return f"too {few_or_many} fields: {fields} of {expected}"


def _rows_after(table: pa.Table, before: int, after_row: int) -> pa.Table:
    """Return the rows after `after_row` of a table that begins after row `before`."""
    return table if before >= after_row else table.filter(pc.greater(table.column(ROW), after_row))
