"""CSV texts as tables: exactly the rows that Python's csv reads, with their numbers."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import csv_scan
from phonon_bulk.source.formats.csv_rows import CsvPart, open_csv
from phonon_bulk.source.formats.stored import Spool
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, Part, column_name, schema


def stored(text: str | bytes) -> Spool:
    """Return a text as a file."""
    file = Spool("list.csv")
    file.write(text if isinstance(text, bytes) else text.encode())
    return file


@contextmanager
def small_pieces(size: int) -> Iterator[None]:
    """Cut texts into pieces of a few bytes, so that every kind of row meets a border."""
    with patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size):
        yield


def rows_of(part: Part, before: int = 0, after_row: int = 0) -> dict[int, tuple[str, ...]]:
    """Return the fields of each row by its number, having looked at the faults."""
    found: dict[int, tuple[str, ...]] = {}
    width = len(part.names)
    for table in part.tables(before, after_row):
        assert table.schema.names == schema(width).names
        for row in table.to_pylist():
            found[row[ROW]] = fields_of(row, width)
    return found


def fields_of(row: dict[str, Any], width: int) -> tuple[str, ...]:
    """Return the fields of a row of a table, whole or broken."""
    values = [row[column_name(i)] for i in range(width)]
    if row[BROKEN] is None:
        assert row[FAULT] is None
        return tuple(values)
    fields = tuple(row[BROKEN])
    few_or_many = "few" if len(fields) < width else "many"
    assert row[FAULT] == f"too {few_or_many} fields: {len(fields)} of {width}"
    assert values == [None] * width
    return fields


def rows_by_csv(text: str, quote: str) -> list[tuple[str, ...]] | None:
    """Return the rows as Python's csv reads them, or None if it refuses to."""
    lines = io.StringIO(text, newline="\n")
    reader = (
        csv.reader(lines, strict=True, quotechar=quote)
        if quote
        else csv.reader(lines, strict=True, quoting=csv.QUOTE_NONE)
    )
    try:
        rows = list(reader)
    except csv.Error:
        return None
    return [tuple(row) for row in rows if row]


PARTS = st.sampled_from([*",\"'\naé \t\0\x0b\x1a\u2028\ufeff", '""', "''", "\r\n", "\n\n"])
FIELDS = st.text(st.sampled_from("aé\",;'\n\r \t\0\u2028"), max_size=6)


@st.composite
def written(draw: st.DrawFn) -> str:
    """Return rows as `csv` writes them, with rows too short and too long among the others."""
    text = io.StringIO(newline="")
    for row in draw(st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=8)):
        end = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n"]))
        dialect = draw(st.sampled_from(["excel", "unix"]))  # quotes where needed, or everywhere
        csv.writer(text, dialect, lineterminator=end).writerow(row)
    body = text.getvalue()
    return body.rstrip("\r\n") if draw(st.booleans()) else body


@given(
    header=st.sampled_from(["tel1", "tel1,b", "tel1,b,c", '"tel1","b\n2"', "\ufefftel1,b"]),
    body=st.one_of(st.lists(PARTS, max_size=40).map("".join), written()),
    quote=st.sampled_from(['"', "'", ""]),
    size=st.integers(1, 40),
    before=st.integers(0, 3),
)
@example("tel1,b", "1,2\n3,4", '"', 4, 0)
@example("tel1,b", "1,2\r\n\r\n3,4\r\n\r\n5,6", '"', 4, 1)
@example("tel1,b", "1\n2\n", '"', 40, 2)
def test_rows_are_those_that_csv_reads(
    header: str, body: str, quote: str, size: int, before: int
) -> None:
    """Cut anywhere, a text gives the rows that Python's strict csv finds, or is refused whole."""
    text = f"{header}\n{body}"
    expected = rows_by_csv(text.removeprefix("\ufeff"), quote)
    try:
        with small_pieces(size):
            part = open_csv(stored(text), ",", quote)
    except ListError:
        assert expected is None or "\r" in text.replace("\r\n", "")
        return
    assert expected is not None
    names, *rows = expected
    assert part.names == names
    assert part.rows == len(rows)
    assert rows_of(part, before) == dict(enumerate(rows, start=before + 1))


ROWS = ["919812345678,a", "x,b", "919812345678", '919812345679,"c\nd"', "1,2,3", "9,e"]


@pytest.mark.parametrize("after_row", range(10))
def test_reading_goes_on_after_any_row(after_row: int) -> None:
    """The rest of the rows is the same, in whatever piece it begins."""
    with small_pieces(10):
        part = open_csv(stored("tel1,a\n" + "\n".join(ROWS)))
    whole, rest = rows_of(part, 2), rows_of(part, 2, after_row)
    assert len(part.scanned.pieces) == 3
    assert list(whole) == [3, 4, 5, 6, 7, 8]
    assert rest == {number: row for number, row in whole.items() if number > after_row}


def test_what_a_part_says_of_itself() -> None:
    """Its digest is of the length and every byte, and its repr has no contact in it."""
    text = "\ufefftel1 ;a\r\n1;2\r\n\r\n".encode()
    part = open_csv(stored(text))
    assert (part.name, part.names, part.rows, part.size) == ("list.csv", ("tel1 ", "a"), 1, 19)
    assert part.digest == sha256(len(text).to_bytes(8, "big") + text).digest()
    assert part.remarks == ()


def test_rows_that_were_not_counted_are_never_handed_over() -> None:
    """A piece that Arrow reads other than the scan did stops the reading before its rows."""
    part = open_csv(stored("tel1,a\n1,2\n3,4\n"))
    other = CsvPart(stored("tel1,a\n1,2\n3,4,"), part.header, part.scanned, part.digest)
    assert len(rows_of(other)) == 2
    other = CsvPart(stored("tel1,a\n1,2,3,4\n"), part.header, part.scanned, part.digest)
    with pytest.raises(ListError, match="rows 6 to 7 of the list could not be read as they were"):
        rows_of(other, 5)


def test_a_disk_that_fails_under_way_is_a_sentence() -> None:
    """Whatever was handed over before stands."""
    part = open_csv(stored("tel1\n1\n"))
    with (
        patch("phonon_bulk.source.formats.stored.os.preadv", side_effect=OSError(5, "I/O error")),
        pytest.raises(ListError, match=r"list\.csv can't be read on: I/O error"),
    ):
        rows_of(part)


def test_a_part_is_one() -> None:
    """It is what the rest of the program takes for the rows of a file."""
    part: Part = open_csv(stored("tel1\n"))
    assert (part.rows, list(part.tables(0, 0))) == (0, [])
