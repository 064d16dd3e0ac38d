"""Reads a file piece by piece as tables of text with row numbers.

Arrow's CSV reader gets one piece of whole rows at a time, never a stream that it would have to cut
itself: DuckDB 2.0's own reader can lose a row where its buffers end
(docs/decisions/0003-arrow-splits-duckdb-writes.md has the case).
"""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from phonon_bulk.errors import ListError
from phonon_bulk.source.scan import Piece, ScannedFile, opened

ROW = "row"
"""The column with the row numbers; those of the list are `c0`, `c1` and so on."""
RAGGED = "ragged"
"""The column with all fields of a row that has too many or too few; the others are null there."""


def column_name(place: int) -> str:
    """Return what a list's column is called in a table, given its place from 0."""
    return f"c{place}"


def schema(width: int) -> pa.Schema:
    """Return the columns of the tables for a list with `width` columns."""
    columns = [(column_name(i), pa.string()) for i in range(width)]
    return pa.schema([*columns, (ROW, pa.int64()), (RAGGED, pa.list_(pa.string()))])


def read_rows(
    file: ScannedFile, width: int, delimiter: str, before: int, after_row: int
) -> Iterator[pa.Table]:
    """Yield the rows of a file with `width` columns, before which the list has `before` rows.

    Pieces that end with `after_row` or earlier are not read. Raises ListError if the file is no
    longer what was scanned, or if a piece does not have the rows that the scan counted.
    """
    file.check_unchanged()
    reader = _PieceReader(width, delimiter)
    with opened(file.path) as stream:
        stream.seek(file.begin)
        for piece in file.pieces:
            if not piece.rows or before + piece.rows <= after_row:
                stream.seek(piece.size, io.SEEK_CUR)
            else:
                table = _read_piece(file, stream, piece, reader, before)
                yield table.filter(pc.greater(table.column(ROW), after_row))
            before += piece.rows
    file.check_unchanged()


class _PieceReader:
    """Reads pieces of one shape."""

    def __init__(self, width: int, delimiter: str) -> None:
        self._schema = schema(width)
        self._names = self._schema.names[:width]
        self._delimiter = delimiter
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
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=self._convert,
        )
        return self._numbered(table, ragged, first)

    def _numbered(self, table: pa.Table, ragged: dict[int, list[str]], first: int) -> pa.Table:
        """Return all rows with their numbers, the ragged ones among the others."""
        last = first + table.num_rows + len(ragged) - 1
        nulls = pa.nulls(table.num_rows, self._schema.field(RAGGED).type)
        if not ragged:
            return table.append_column(ROW, pa.arange(first, last + 1)).append_column(RAGGED, nulls)
        numbers = [n for n in range(first, last + 1) if n not in ragged]
        table = table.append_column(ROW, pa.array(numbers, pa.int64())).append_column(RAGGED, nulls)
        others = pa.table({ROW: list(ragged), RAGGED: list(ragged.values())})
        return pa.concat_tables([table, others], promote_options="default").sort_by(ROW)

    def _fields(self, text: str) -> list[str]:
        if '"' not in text:  # csv has a limit for fields, which the scan has for quotes only
            return text.split(self._delimiter)
        return next(csv.reader(io.StringIO(text, newline="\n"), delimiter=self._delimiter))


def _read_piece(
    file: ScannedFile, stream: BinaryIO, piece: Piece, reader: _PieceReader, before: int
) -> pa.Table:
    try:
        table = reader.read(stream.read(piece.size), before + 1)
    except OSError as error:
        raise ListError(f"{file.path} can't be read on: {error.strerror}") from None
    except pa.ArrowInvalid:  # its message may quote the row
        raise _miscounted(file, piece, before) from None
    if table.num_rows != piece.rows:
        raise _miscounted(file, piece, before)
    return table


def _miscounted(file: ScannedFile, piece: Piece, before: int) -> ListError:
    file.check_unchanged()
    return ListError(
        f"{file.path}: the rows {before + 1} to {before + piece.rows} of the list could not be read"
        " as they were counted. None of them was used; please report this"
    )
