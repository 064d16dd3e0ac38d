"""Looks a CSV text over, byte for byte, before a row of it is read.

A list is read in pieces of about 2 MiB or 20,000 rows, each of whole rows. The scan finds where
they end and how many rows are in each, so that the reader can prove for every piece that it has
all of its rows, and no more. It refuses what would be read other than it was meant: text that is
not UTF-8, quotes that don't close, line ends that are none.

What a row is, is Python's `csv` with `strict=True`, which is RFC 4180: blank lines are no rows,
a quote opens a field only as its first character, and may stand within others as it is. Carriage
returns that stand alone are refused.
"""

import codecs
import csv
import io
import re
from _csv import Reader  # it has no other name
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.encoding import check_utf8
from phonon_bulk.source.formats.stored import Stored, changed

PIECE_BYTES = 2 << 20
PIECE_ROWS = 20_000
"""Pieces are about as large as one of these allows."""
FIRST_BLOCK = 64 << 10
LONGEST_ROW = PIECE_BYTES
"""In bytes. A call is at most 256,000; a longer row is a file without line ends or other damage."""

DELIMITERS = ",;\t|"

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
_CUT_CHARACTER = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,3}\Z")
_LF, _CR = b"\n\r"
_SEP = re.compile(rb'"?sep=([\t !#-/:-@\[-`{-~])"?\r?\n', re.IGNORECASE)
"""What Excel takes for the delimiter, in a line before the header."""


class LoneReturnError(ListError):
    """A carriage return stands without a line feed, outside quotes."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What stands between fields, and around them; without a quote, quotes mean nothing."""

    delimiter: str
    quote: str = '"'

    def reader(self, lines: Iterable[str], *, strict: bool = True) -> Reader:
        """Return Python's csv reader for it."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            strict=strict,
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The first row: its names as they stand there, and its bytes, any byte order mark included."""

    names: tuple[str, ...]
    size: int
    lines: int
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole rows in `size` bytes."""

    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """A text that was looked over: its rows begin at byte `begin`, one piece after the other."""

    begin: int
    pieces: tuple[Piece, ...]
    size: int

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(piece.rows for piece in self.pieces)


def read_header(stored: Stored, delimiter: str | None = None, quote: str = '"') -> Header:
    """Return the first row; without a delimiter, the one most frequent in it outside quotes.

    Raises ListError for an empty file, and for a header that can't be read.
    """
    _check_signs(delimiter, quote)
    with stored.open() as file:
        head = file.read(LONGEST_ROW)
    if not head:
        raise ListError(f"{stored.name} is empty")
    mark = 0
    while head.startswith(codecs.BOM_UTF8, mark):
        mark += len(codecs.BOM_UTF8)
    said = _SEP.match(head, mark)
    if said is not None:
        mark = said.end()
        delimiter = delimiter or said[1].decode()
    lines = io.BytesIO(head[mark:]).readlines()
    if len(head) == LONGEST_ROW:  # it may end in the middle of a character
        lines[-1] = _CUT_CHARACTER.sub(b"", lines[-1])
    if not lines or not lines[0].strip():
        raise ListError(f"{stored.name}: the first line is blank; it must name the columns")
    dialect = Dialect(delimiter or _most_frequent(lines, quote), quote)
    names, used = _first_row(stored.name, lines, dialect)
    if len(head) == LONGEST_ROW and used == len(lines):  # there is more of it
        raise ListError(f"{stored.name}, line 1: {_TOO_LONG}")
    if any("\0" in name for name in names):
        raise ListError(f"{stored.name}: the header has a NUL character in it: is it no text?")
    return Header(names, mark + sum(map(len, lines[:used])), used + bool(said), dialect)


def scan(stored: Stored, header: Header, update: Callable[[bytes], object]) -> Scanned:
    """Return where the rows are, having passed the text's length and bytes to `update`.

    Raises ListError, naming the line, for the first thing that is wrong.
    """
    with stored.open() as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        update(size.to_bytes(8, "big"))
        update(file.read(header.size))
        pieces = tuple(_Scan(stored.name, header).pieces(file, update, size - header.size))
    stored.check_unchanged()
    return Scanned(header.size, pieces, size)


class _Scan:
    """Goes through one text; knows in which line it is."""

    def __init__(self, name: str, header: Header) -> None:
        self._name = name
        self._dialect = header.dialect
        self._quote = header.dialect.quote.encode()
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
            raise changed(self._name)
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
            check_utf8(self._name, block, self._line + lines_on)

    def _piece(self, block: bytes) -> Piece:
        if self._quote and self._quote in block:
            return well_quoted(block, self._dialect) or self._piece_by_csv(block)
        if b"\r" in block and (alone := _RETURN_ALONE.search(block)):
            raise self._problem(_LONE_RETURN, block.count(b"\n", 0, alone.start()))
        return Piece(len(block), _filled_lines(block))

    def _piece_by_csv(self, block: bytes) -> Piece:
        lines = io.StringIO(block.decode(), newline="\n").readlines()
        reader = self._dialect.reader(lines)
        rows = used = 0
        try:
            for record in reader:
                if lines[reader.line_num - 1].endswith(("\r\r\n", "\r")):  # csv lets these pass
                    raise self._problem(_LONE_RETURN, reader.line_num - 1)
                rows += bool(record)
                used = reader.line_num
        except csv.Error as error:
            if "end of data" not in str(error):  # else the row goes on in the next block
                raise self._problem(_sentence(error), used) from None
        rest = sum(len(line.encode()) for line in lines[used:])
        return Piece(len(block) - rest, rows)

    def _problem(self, sentence: str, lines_on: int = 0) -> ListError:
        kind = LoneReturnError if sentence is _LONE_RETURN else ListError
        return kind(f"{self._name}, line {self._line + lines_on}: {sentence}")


def well_quoted(block: bytes, dialect: Dialect) -> Piece | None:
    """Return the whole rows that the lines in `block` begin with, if it is plain where they end.

    It is if quotes stand at the borders of fields only: then a line feed after an even number of
    them ends a row. None means that csv must tell.
    """
    text = np.frombuffer(b"\n" + block + b"\n", np.uint8)  # each quote has a neighbour
    quotes = np.flatnonzero(text == ord(dialect.quote))
    if not _at_borders(text, quotes, dialect) or _has_lone_return(block, text, quotes):
        return None
    line_ends = np.flatnonzero(text[:-1] == _LF)
    ends = line_ends[np.searchsorted(quotes, line_ends) % 2 == 0]
    open_to_end = len(quotes) % 2
    if not open_to_end and not block.endswith(b"\n"):
        ends = np.append(ends, len(block) + 1)
    lengths = np.diff(ends) - 1
    size = int(ends[-1])
    if max(lengths.max(initial=0), len(block) - size) > csv.field_size_limit():
        return None
    blank = (lengths == 0) | ((lengths == 1) & (text[ends[1:] - 1] == _CR))
    return Piece(min(size, len(block)), len(lengths) - int(np.count_nonzero(blank)))


def _at_borders(text: Any, quotes: Any, dialect: Dialect) -> bool:
    """Return whether quotes, in turn, open a field at its beginning and close it at its end.

    One that closes and one that opens, side by side, are a doubled one within a field.
    """
    border = np.zeros(256, np.bool_)
    border[[_LF, ord(dialect.delimiter), ord(dialect.quote)]] = True
    opening, closing = quotes[::2], quotes[1::2]
    if not border[text[opening - 1]].all():
        return False
    border[_CR] = True  # with a line feed after it: see _has_lone_return
    return bool(border[text[closing + 1]].all())


def _has_lone_return(block: bytes, text: Any, quotes: Any) -> bool:
    if b"\r" not in block:
        return False
    returns = np.flatnonzero(text == _CR)
    alone = returns[text[returns + 1] != _LF]
    return block.endswith(b"\r") or bool((np.searchsorted(quotes, alone) % 2 == 0).any())


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


def _check_signs(delimiter: str | None, quote: str) -> None:
    if delimiter is not None and (not _is_sign(delimiter) or delimiter == (quote or '"')):
        raise ListError(
            f"{delimiter!r} can't be the delimiter: it must be one character, such as ;"
        )
    if quote and (not _is_sign(quote) or quote in DELIMITERS):
        raise ListError(f"{quote!r} can't be the quote: it must be one character, such as '")


def _is_sign(text: str) -> bool:
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in "\r\n\0"


def _most_frequent(lines: list[bytes], quote: str) -> str:
    """Return the delimiter that the header has most of; a comma if it has none."""
    header, quotes = b"", 0
    for line in lines:
        header += line
        quotes += line.count(quote.encode()) if quote else 0
        if quotes % 2 == 0:
            break
    text = header.decode(errors="replace")
    if quote:
        text = re.sub("{0}[^{0}]*{0}".format(re.escape(quote)), "", text)
    return max(DELIMITERS, key=text.count)


def _first_row(name: str, lines: list[bytes], dialect: Dialect) -> tuple[tuple[str, ...], int]:
    """Return the names in the first row, and how many lines it takes."""

    def texts() -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            check_utf8(name, line, number)
            yield line.decode()

    reader = dialect.reader(texts())
    try:
        return tuple(next(reader)), reader.line_num
    except csv.Error as error:
        sentence = _sentence(error)
        kind = LoneReturnError if sentence is _LONE_RETURN else ListError
        raise kind(f"{name}, line 1: {sentence}") from None


def _sentence(error: csv.Error) -> str:
    if "new-line" in str(error):
        return _LONE_RETURN
    return _LONG_FIELD if "larger" in str(error) else _NOT_CLOSED
