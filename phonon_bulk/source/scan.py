"""Looks a file over, byte for byte, before a row of it is read.

A list is read in pieces of about 2 MiB or 20,000 rows, each of whole rows. The scan finds where
they end and how many rows are in each, so that the reader can prove for every piece that it has
all of its rows, and no more. It refuses what would be read other than it was meant: text that is
not UTF-8, quotes that don't close, line ends that are none.

What a row is, is Python's `csv` with `strict=True`, which is RFC 4180: blank lines are no rows,
a quote opens a field only as its first character, and may stand within others as it is.
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from phonon_bulk.errors import ListError
from phonon_bulk.source.files import Mark, mark_of

PIECE_BYTES = 2 << 20
PIECE_ROWS = 20_000
"""Pieces are about as large as one of these allows."""
FIRST_BLOCK = 64 << 10
LONGEST_ROW = PIECE_BYTES
"""In bytes. A call is at most 256,000; a longer row is a file without line ends or other damage."""

DELIMITERS = ",;\t|"

_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: save the sheet as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as 'CSV UTF-8'",
    b"\x1f\x8b": "compressed: unpack it first, for example with gunzip",
    b"\x28\xb5\x2f\xfd": "compressed: unpack it first, for example with unzstd",
    b"PAR1": "a Parquet file: this version reads CSV",
}
_NOT_CLOSED = (
    "the quotes of a field don't close properly; in a field in quotes a quote is written twice"
    ' (""), and after its last quote the next field or row begins at once'
)
_LONE_RETURN = (
    "a carriage return stands without a line feed, as at the line ends of old Mac programs;"
    " save the file with Windows or Unix line ends"
)
_LONG_FIELD = (
    f"a field of more than {csv.field_size_limit():,} characters: is a closing quote missing?"
)
_TOO_LONG = f"a row of more than {LONGEST_ROW:,} bytes: are line ends or a closing quote missing?"

_RETURN_ALONE = re.compile(rb"\r(?!\n)")
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Header:
    """The first row: its names as they stand there, and its bytes, any byte order mark included."""

    names: tuple[str, ...]
    size: int
    lines: int
    delimiter: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole rows in `size` bytes."""

    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that was looked over: its rows begin at byte `begin`, one piece after the other."""

    path: Path
    begin: int
    pieces: tuple[Piece, ...]
    size: int
    mark: Mark

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(piece.rows for piece in self.pieces)

    def check_unchanged(self) -> None:
        """Raise ListError if the file is not what was looked over."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise ListError(f"{self.path} is gone: {error.strerror}") from None
        if (status.st_size, status.st_mtime_ns) != self.mark[:2]:
            raise _changed(self.path)


def read_header(path: Path, delimiter: str | None = None) -> Header:
    """Return the first row; without a delimiter, the one most frequent in it outside quotes.

    Raises ListError for an empty file, a format that is not CSV, and a header that can't be read.
    """
    if delimiter is not None and not _is_delimiter(delimiter):
        raise ListError(
            f"{delimiter!r} can't be the delimiter: it must be one character, such as ;"
        )
    with opened(path) as file:
        head = file.read(LONGEST_ROW)
    _refuse_format(path, head)
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    lines = io.BytesIO(head[mark:]).readlines()
    if not lines or not lines[0].strip():
        raise ListError(f"{path}: the first line is blank; it must name the columns")
    delimiter = delimiter or _most_frequent(lines)
    names, used = _first_row(path, lines, delimiter)
    return Header(names, mark + sum(map(len, lines[:used])), used, delimiter)


def scan_file(path: Path, header: Header, update: Callable[[bytes], object]) -> ScannedFile:
    """Return where the rows are, having passed the file's length and bytes to `update`.

    Raises ListError, naming the line, for the first thing that is wrong.
    """
    with opened(path) as file:
        status = os.fstat(file.fileno())
        update(status.st_size.to_bytes(8, "big"))
        update(file.read(header.size))
        pieces = tuple(_Scan(path, header).pieces(file, update, status.st_size - header.size))
    return ScannedFile(path, header.size, pieces, status.st_size, mark_of(status))


class _Scan:
    """Goes through one file; knows in which line it is."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._delimiter = header.delimiter
        self._line = header.lines + 1
        """The line that the next bytes begin with, counting line feeds, from 1."""

    def pieces(
        self, file: BinaryIO, update: Callable[[bytes], object], ahead: int
    ) -> Iterator[Piece]:
        """Yield the pieces of `ahead` bytes; what follows the last whole row goes to the next."""
        rest, size = b"", FIRST_BLOCK
        while block := _whole_lines(file, size):
            update(block)
            ahead -= len(block)
            if ahead < 0:
                break
            self._check_block(block, rest.count(b"\n"))
            block = rest + block
            piece = self._piece(block)
            self._line += block.count(b"\n", 0, piece.size)
            rest = block[piece.size :]
            if len(rest) > LONGEST_ROW:
                raise self._problem(_TOO_LONG)
            if piece.size:
                yield piece
                size = min(PIECE_BYTES, PIECE_ROWS * piece.size // max(piece.rows, 1))
        if ahead:
            raise _changed(self._path)
        if rest:
            raise self._problem(_NOT_CLOSED)

    def _check_block(self, block: bytes, lines_on: int) -> None:
        """Check that whole lines are not too long, and UTF-8."""
        # The lines before the last one were read in one go, and none is longer than that.
        last = block.rfind(b"\n", 0, -1) + 1
        if len(block) - last > LONGEST_ROW:
            sentence = _LONE_RETURN if b"\r" in block[last:-2] else _TOO_LONG
            raise self._problem(sentence, lines_on + block.count(b"\n", 0, last))
        if not block.isascii():
            _check_utf8(self._path, block, self._line + lines_on)

    def _piece(self, block: bytes) -> Piece:
        if b'"' in block:
            return self._quoted_piece(block)
        if b"\r" in block and (alone := _RETURN_ALONE.search(block)):
            raise self._problem(_LONE_RETURN, block.count(b"\n", 0, alone.start()))
        return Piece(len(block), _filled_lines(block))

    def _quoted_piece(self, block: bytes) -> Piece:
        lines = io.StringIO(block.decode(), newline="\n").readlines()
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        rows = used = 0
        try:
            for record in reader:
                rows += bool(record)
                used = reader.line_num
        except csv.Error as error:
            # Trouble with the last line may be no more than that the row goes on after it.
            if reader.line_num < len(lines):
                raise self._problem(_sentence(error), used) from None
        rest = sum(len(line.encode()) for line in lines[used:])
        return Piece(len(block) - rest, rows)

    def _problem(self, sentence: str, lines_on: int = 0) -> ListError:
        return ListError(f"{self._path}, line {self._line + lines_on}: {sentence}")


def opened(path: Path) -> BinaryIO:
    """Open the file. Raises ListError if that can't be done."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ListError(f"{path} can't be read: {error.strerror}") from None


def _whole_lines(file: BinaryIO, size: int) -> bytes:
    block = file.read(size)
    if block and not block.endswith(b"\n"):
        block += file.readline(LONGEST_ROW)
    return block


def _filled_lines(block: bytes) -> int:
    """Return how many lines are not blank; every carriage return stands before a line feed."""
    blank = block.startswith((b"\n", b"\r\n")) or b"\n\n" in block
    if blank or (b"\r" in block and b"\n\r\n" in block):
        return sum(map(bool, block.splitlines()))
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _check_utf8(path: Path, block: bytes, line: int) -> None:
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line += block.count(b"\n", 0, error.start)
        raise ListError(
            f"{path} is not UTF-8 text (line {line}): save it as 'CSV UTF-8', or convert it, for"
            f" example: iconv -f WINDOWS-1252 -t UTF-8 '{path.name}' > utf8.csv"
        ) from None


def _refuse_format(path: Path, head: bytes) -> None:
    if not head:
        raise ListError(f"{path} is empty")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0\0" in (
        head[0:4:2],
        head[1:4:2],
    ):
        raise ListError(
            f"{path} is UTF-16 text ('Unicode text'): save it as 'CSV UTF-8', or convert it:"
            f" iconv -f UTF-16 -t UTF-8 '{path.name}' > utf8.csv"
        )
    for beginning, what in _FORMATS.items():
        if head.startswith(beginning):
            raise ListError(f"{path} is {what}")


def _is_delimiter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n\0'


def _most_frequent(lines: list[bytes]) -> str:
    """Return the delimiter that the header has most of; a comma if it has none."""
    header, quotes = b"", 0
    for line in lines:
        header += line
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            break
    text = _QUOTED.sub("", header.decode(errors="replace"))
    return max(DELIMITERS, key=text.count)


def _first_row(path: Path, lines: list[bytes], delimiter: str) -> tuple[tuple[str, ...], int]:
    """Return the names in the first row, and how many lines it takes."""

    def texts() -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            _check_utf8(path, line, number)
            yield line.decode()

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    try:
        return tuple(next(reader)), reader.line_num
    except csv.Error as error:
        raise ListError(f"{path}, line 1: {_sentence(error)}") from None


def _sentence(error: csv.Error) -> str:
    if "new-line" in str(error):
        return _LONE_RETURN
    return _LONG_FIELD if "larger" in str(error) else _NOT_CLOSED


def _changed(path: Path) -> ListError:
    return ListError(f"{path} was changed while it was being read: start again when it is complete")
