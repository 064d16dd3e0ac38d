"""Reads JSON: an object a line (NDJSON), one array of objects, or one object after the other.

The columns are the keys of all objects, in the order in which they first appear. The file is read
once if its first objects have all of them, else once more.
"""

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import NamedTuple, cast

import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.encoding import NotUtf8Error, text_blocks
from phonon_bulk.source.formats.stored import Stored
from phonon_bulk.source.formats.tables import TablePart, TableWriter
from phonon_bulk.source.formats.values import text_of

_DIGITS_OF_A_NUMBER = 8
LONGEST_ROW = 2 << 20
"""In bytes or characters. A call is at most 256,000; a longer object is no contact."""
ROWS_AT_ONCE = 2_000
FIRST_ROWS = 1_000
"""Rows whose keys are taken for all that there are, until another one is met."""

_BLANK = re.compile(r"[ \t\r\n]*")
_NO_OBJECT = "not a JSON object"
_TOO_DEEP = "a value is nested too deeply"
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_TOO_LONG = (
    f"an object of more than {LONGEST_ROW:,} bytes: if the list stands within an object, hand in"
    " the list itself"
)


class _Found(NamedTuple):
    """A value as it was parsed, and what it was parsed from."""

    value: object
    text: str


class _Broken(NamedTuple):
    """What stands in the place of a row, and what is wrong with it."""

    text: str
    fault: str


class _Doubled(dict[str, object]):
    """An object with a key that is there more than once."""


_Row = dict[str, str] | _Broken


def open_json(stored: Stored) -> TablePart:
    """Copy the rows of a UTF-8 text; takes about 12 s of one core for a million of seven keys.

    Raises NotUtf8Error, and ListError if it is no list of objects: with the line where something
    stands that is no JSON. A line of NDJSON that is none costs only itself.
    """
    _refuse_wrapped(stored)
    names = _first_names(stored)
    while True:
        copy = _Copy(stored.name, names)
        for row in _rows(stored):
            copy.add(row)
        stored.check_unchanged()
        if not copy.more_names:
            return copy.finish()
        names += copy.more_names


class _Copy:
    """Writes rows under the names that are known, until a row has another one."""

    def __init__(self, name: str, names: list[str]) -> None:
        self._writer = TableWriter(name, names)
        self._names = names
        self._known = set(names)
        self._waiting: list[dict[str, str]] = []
        self.more_names: list[str] = []

    def add(self, row: _Row) -> None:
        """Take a row, in the order of the file."""
        if isinstance(row, _Broken):
            self._write()
            self._writer.add_broken([row.text], row.fault)
            return
        if not row.keys() <= self._known:
            self.more_names += (more := [name for name in row if name not in self._known])
            self._known.update(more)
        self._waiting.append(row)
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._write()

    def finish(self) -> TablePart:
        """Return all rows."""
        self._write()
        return self._writer.finish()

    def _write(self) -> None:
        if self._waiting and not self.more_names:
            self._writer.add([_column(self._waiting, name) for name in self._names])
        self._waiting.clear()


def _column(rows: list[dict[str, str]], name: str) -> pa.Array:
    return pa.array([row.get(name, "") for row in rows], pa.string())


def _first_names(stored: Stored) -> list[str]:
    rows = (row for row in _rows(stored) if isinstance(row, dict))
    first = list(islice(rows, FIRST_ROWS))
    if not first:
        raise ListError(f"{stored.name} has no JSON object in it, and so no columns and no rows")
    return list(dict.fromkeys(name for row in first for name in row))


def _refuse_wrapped(stored: Stored) -> None:
    """Raise ListError for one object that holds the list."""
    first = list(islice(_values(stored), 2))
    if len(first) == 1 and isinstance(first[0].value, dict):
        for key, value in first[0].value.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                raise ListError(
                    f'{stored.name} is one object, which holds a list as "{key}": hand in the list'
                    " itself"
                )


def _rows(stored: Stored) -> Iterator[_Row]:
    return map(_row, _values(stored))


def _row(found: _Found) -> _Row:
    value, text = found
    if isinstance(value, _Broken):
        return value
    if not isinstance(value, dict):
        return _Broken(text, _NO_OBJECT)
    if isinstance(value, _Doubled):
        return _Broken(text, "a key is there twice")
    try:
        row = {name: one if type(one) is str else text_of(one) for name, one in value.items()}
    except RecursionError:
        return _Broken(text, _TOO_DEEP)
    if ("\\ud" in text or "\\uD" in text) and not _is_text(row):
        return _Broken(text, "a value is no valid text")
    return row


def _is_text(row: dict[str, str]) -> bool:
    """Return whether nothing in it has half of a surrogate pair."""
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(stored: Stored) -> Iterator[_Found]:
    with stored.open() as file:
        head = file.read(LONGEST_ROW).removeprefix(codecs.BOM_UTF8).lstrip()
    first_line = head.partition(b"\n")[0].rstrip().decode(errors="replace")
    if isinstance(_parsed(first_line).value, dict):
        return _lines(stored)
    return _elements(stored) if head.startswith(b"[") else _objects(stored)


def _texts(stored: Stored) -> Iterator[tuple[int, str]]:
    """Yield blocks of lines, each with the number of its first one.

    They are whole lines, but for those that are longer than a row may be.
    """
    line, decoder = 1, codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for block in text_blocks(stored, LONGEST_ROW):
            text = decoder.decode(block)
            yield line, text
            line += text.count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise NotUtf8Error(stored.name, line) from None


# --- an object a line -----------------------------------------------------------------------------


def _lines(stored: Stored) -> Iterator[_Found]:
    for number, block in _texts(stored):
        for i, line in enumerate(block.split("\n")):
            if len(line) > LONGEST_ROW:
                raise ListError(f"{stored.name}, line {number + i}: {_TOO_LONG}")
            if text := line.strip(" \t\r"):
                yield _parsed(text)


def _parsed(text: str) -> _Found:
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        return _Found(_Broken(text, _TOO_DEEP), text)
    except ValueError:
        return _Found(_Broken(text, _NO_OBJECT), text)
    return _Found(value if end == len(text) else _Broken(text, _NO_OBJECT), text)


def _number(text: str) -> Decimal | str:
    """Return a number with the digits it was written with.

    But for the ".0" that programs write after a float which is a whole number, such as a phone
    number that stood in a column with empty cells. A long one whose last digits are not said, like
    9.2E+11, stays as it is: it may be a phone number that Excel has cut.
    """
    try:
        number = Decimal(text.removesuffix(".0"))
        cut = cast(int, number.as_tuple().exponent)
        return text if cut > 0 and number.adjusted() >= _DIGITS_OF_A_NUMBER else number
    except ArithmeticError:  # its exponent has 19 digits or more
        return text


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubled(found)


_DECODER = json.JSONDecoder(
    parse_float=_number, parse_int=_number, parse_constant=float, object_pairs_hook=_object
)


# --- values over several lines --------------------------------------------------------------------


def _elements(stored: Stored) -> Iterator[_Found]:
    """Yield the elements of an array."""
    text = _Window(stored)
    text.skip("[")
    if text.next_sign() != "]":
        yield text.value()
        while text.next_sign() == ",":
            text.skip(",")
            yield text.value()
    text.skip("]")
    if text.next_sign():
        raise text.problem("more follows after the end of the list: is it two files in one?")


def _objects(stored: Stored) -> Iterator[_Found]:
    """Yield what stands one after the other."""
    text = _Window(stored)
    while text.next_sign():
        yield text.value()


class _Window:
    """A text of which as much is in memory as the longest row has."""

    def __init__(self, stored: Stored) -> None:
        self._name = stored.name
        self._blocks = _texts(stored)
        self._text = ""
        self._at = 0
        self._line = 1
        """The line that `_text` begins in."""
        self._ended = False

    def next_sign(self) -> str:
        """Go to the next character that is not blank, and return it; "" is the end."""
        while True:
            self._fill()
            self._at = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]

    def skip(self, sign: str) -> None:
        """Go past a character, which must be this one."""
        if self.next_sign() != sign:
            raise self._no_json(self._at)
        self._at += 1

    def value(self) -> _Found:
        """Return the next value, and go past it."""
        self.next_sign()
        begin = self._at
        try:
            value, self._at = _DECODER.raw_decode(self._text, begin)
        except RecursionError:
            raise self.problem(_TOO_DEEP) from None
        except json.JSONDecodeError as error:
            raise self._no_json(error.pos) from None
        if self._at - begin > LONGEST_ROW:
            raise self.problem(_TOO_LONG, begin)
        return _Found(value, self._text[begin : self._at])

    def problem(self, sentence: str, at: int | None = None) -> ListError:
        """Return the error for what stands at a place, or at the next one."""
        line = self._line + self._text.count("\n", 0, self._at if at is None else at)
        return ListError(f"{self._name}, line {line}: {sentence}")

    def _no_json(self, at: int) -> ListError:
        """Return the error for a value that can't be read on at a place."""
        if not self._reaches_end(at):
            return self.problem("this is no JSON: mend it, or write the list anew", at)
        if self._ended:
            return self.problem("the list ends in the middle: it was cut off; copy it again", at)
        return self.problem(_TOO_LONG)

    def _reaches_end(self, at: int) -> bool:
        """Return whether what began there goes on where the text in memory ends."""
        rest = self._text[at:].rstrip()
        in_word = any(word.startswith(rest) for word in _WORDS)
        return in_word or (rest.startswith('"') and '"' not in rest[1:])

    def _fill(self) -> None:
        """Have in memory what a row may need."""
        if self._ended or len(self._text) - self._at > LONGEST_ROW:
            return
        self._line += self._text.count("\n", 0, self._at)
        parts = [self._text[self._at :]]
        self._at, size = 0, len(parts[0])
        while size <= 2 * LONGEST_ROW and not self._ended:
            _, part = next(self._blocks, (0, ""))
            self._ended = not part
            parts.append(part)
            size += len(part)
        self._text = "".join(parts)
