"""Contact lists as files: what is written in them is what becomes calls or rejected rows."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phonon_bulk.batch import room_for_calls
from phonon_bulk.call import RejectedRow
from phonon_bulk.errors import ListError
from phonon_bulk.source import Chunk, ContactList, open_list, scan

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()  # 10:00 in India
ROOM = room_for_calls("QG8k000A", 64)


def write(folder: Path, content: str | bytes, name: str = "list.csv") -> str:
    """Return the path of a new file."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(contacts: ContactList, after_row: int = 0, room: int = ROOM) -> list[Chunk]:
    """Return all chunks."""
    return list(contacts.chunks(run=1, now=NOW, room=room, after_row=after_row))


def calls_of(chunks: Sequence[Chunk]) -> dict[int, dict[str, object]]:
    """Return the calls by row."""
    found = {}
    for chunk in chunks:
        calls = orjson.loads(b"[" + chunk.calls.data[chunk.calls.ends[0] : -1] + b"]")
        found.update(zip(chunk.calls.rows, calls, strict=True))
    return found


def rejected_of(chunks: Sequence[Chunk]) -> list[RejectedRow]:
    """Return the rejected rows."""
    return [row for chunk in chunks for row in chunk.rejected]


@contextmanager
def small_pieces(size: int) -> Iterator[None]:
    """Cut files into pieces of a few bytes, so that every kind of row meets a border."""
    with patch.multiple(scan, FIRST_BLOCK=size, PIECE_BYTES=size):
        yield


# --- what a row is --------------------------------------------------------------------------------

PARTS = st.sampled_from(
    [
        "a",
        "b",
        "é",
        "अ",
        "\U0001f600",
        ",",
        ",",
        '"',
        '"',
        '""',
        "\n",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
    ]
    + ["\x0b", "\x1a", "\x85", "\u2028", "\ufeff"]
)
FIELDS = st.text(
    st.sampled_from('aé",;\n\r \t\0\u2028'), max_size=6
)  # as csv.writer puts them into quotes


@st.composite
def written_lists(draw: st.DrawFn) -> str:
    """Return a list as `csv` writes it, with rows too short and too long among the others."""
    text = io.StringIO(newline="")
    for row in draw(st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=8)):
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        end = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n"]))
        csv.writer(text, quoting=quoting, lineterminator=end).writerow(row)
    body = text.getvalue()
    return body.rstrip("\r\n") if draw(st.booleans()) else body


def rows_by_csv(text: str) -> list[list[str]] | None:
    """Return the rows as Python's csv reads them, or None if it refuses to."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except csv.Error:
        return None
    return [row for row in rows if row]


@given(
    header=st.sampled_from(["tel1", "tel1,b", "tel1,b,c", '"tel1","b\n2"', "\ufefftel1,b"]),
    end=st.sampled_from(["\n", "\r\n"]),
    body=st.one_of(st.lists(PARTS, max_size=40).map("".join), written_lists()),
    size=st.integers(1, 40),
)
@example("tel1,b", "\n", "1,2\n3,4", 4)
@example("tel1,b", "\r\n", "1,2\r\n\r\n3,4\r\n\r\n5,6", 4)
def test_rows_are_those_that_csv_reads(
    tmp_path_factory: pytest.TempPathFactory, header: str, end: str, body: str, size: int
) -> None:
    """Cut anywhere, a file gives the rows that Python's strict csv finds, or is refused as a whole."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((header + end + body).encode())
    names, *expected = rows_by_csv((header.removeprefix("\ufeff")) + end + body) or [[]]
    try:
        with small_pieces(size):
            contacts = open_list([str(path)], None, ",")
            rows = rejected_of(read(contacts))
    except ListError as error:
        lone = "\r" in body.replace("\r\n", "")
        assert not expected or lone, error
        return
    assert [list(read_fields(row)) for row in rows] == [fit(row, len(names)) for row in expected]
    assert [row.row for row in rows] == list(range(1, len(expected) + 1)), "none is lost or doubled"
    assert contacts.rows == len(expected)


def read_fields(row: RejectedRow) -> Iterator[str | None]:
    """Return what was read of a row."""
    yield from orjson.loads(row.fields).values()


def fit(row: list[str], width: int) -> list[str | None]:
    """Return the fields of a row, None for each that lacks."""
    return [*row, *[None] * (width - len(row))]
