"""Contact lists as files: what is written in them is what becomes calls or rejected rows."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from builders import FLOW_ID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phonon_bulk.batch import room_for_calls
from phonon_bulk.call import LeftOutRow
from phonon_bulk.config import Campaign
from phonon_bulk.errors import ListError
from phonon_bulk.packing import Chunk
from phonon_bulk.source.contacts import ContactList
from phonon_bulk.source.contacts import open_list as open_campaigns_list
from phonon_bulk.source.formats import csv_scan
from phonon_bulk.source.formats.csv_rows import CsvPart
from phonon_bulk.source.formats.stored import LocalFile

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()  # 10:00 in India
ROOM = room_for_calls(FLOW_ID, 64)


def open_list(
    given: Sequence[str], mapping: dict[str, Any] | None, delimiter: str | None = None
) -> ContactList:
    """Open the list of a campaign without checks."""
    fields = {"name": "test", "flow_id": FLOW_ID, "mapping": mapping, "delimiter": delimiter}
    return open_campaigns_list(Campaign.model_validate(fields), given)


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
    found: dict[int, dict[str, object]] = {}
    for chunk in chunks:
        calls = orjson.loads(b"[" + chunk.calls.data[chunk.calls.ends[0] : -1] + b"]")
        found.update(zip(chunk.calls.rows, calls, strict=True))
    return found


def rejected_of(chunks: Sequence[Chunk]) -> list[LeftOutRow]:
    """Return the rejected rows."""
    return [row for chunk in chunks for row in chunk.left_out]


@contextmanager
def small_pieces(size: int) -> Iterator[None]:
    """Cut files into pieces of a few bytes, so that every kind of row meets a border."""
    with patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size):
        yield


# --- what a row is --------------------------------------------------------------------------------

PARTS = st.one_of(
    st.sampled_from([",", '"', '""', "\n", "\r\n"]),
    st.sampled_from(["a", "b", "é", "अ", "\U0001f600", " ", "\t", "\0"]),
    st.sampled_from(["\x0b", "\x1a", "\x85", "\u2028", "\ufeff"]),
)
FIELDS = st.text(st.sampled_from('aé",;\n\r \t\0\u2028'), max_size=6)


@st.composite
def written_lists(draw: st.DrawFn) -> str:
    """Return a list as `csv` writes it, with rows too short and too long among the others."""
    text = io.StringIO(newline="")
    for row in draw(st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=8)):
        end = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n"]))
        dialect = draw(st.sampled_from(["excel", "unix"]))  # quotes where needed, or everywhere
        csv.writer(text, dialect, lineterminator=end).writerow(row)
    body = text.getvalue()
    return body.rstrip("\r\n") if draw(st.booleans()) else body


def rows_by_csv(text: str) -> list[list[str]] | None:
    """Return the rows as Python's csv reads them, or None if it refuses to."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except csv.Error:
        return None
    return [row for row in rows if row]


@settings(max_examples=30)  # each opens a database
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
    """Cut anywhere, a file gives the rows that Python's strict csv finds, or is refused whole."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((header + end + body).encode())
    names, *expected = rows_by_csv((header.removeprefix("\ufeff")) + end + body) or [[]]
    try:
        with small_pieces(size):
            contacts = open_list([str(path)], None, ",")
    except ListError:
        assert not expected or "\r" in body.replace("\r\n", ""), "only what csv refuses"
        return
    rows = rejected_of(read(contacts))
    assert [list(read_fields(row)) for row in rows] == [fit(row, len(names)) for row in expected]
    assert [row.row for row in rows] == list(range(1, len(expected) + 1)), "none is lost or doubled"
    assert contacts.rows == len(expected)


def read_fields(row: LeftOutRow) -> Iterator[str | None]:
    """Return what was read of a row."""
    yield from orjson.loads(row.fields).values()


def fit(row: list[str], width: int) -> list[str | None]:
    """Return the fields of a row, None for each that lacks."""
    return [*row, *[None] * (width - len(row))]


# --- lists that people have -----------------------------------------------------------------------

TEMPLATE = """tel1,tel2,$flow.key.Name,$flow.key.Amount
919812345678,,Asha,1200.50
+91 98123-45679,919812345670,"Ravi ""R"" K, Pune",
,919812345671,Uma,7
981234567,,Anil,8

919812345673,919812345673,अमित,9
"""


def test_phonons_own_template_works_without_a_mapping(tmp_path: Path) -> None:
    """A file made for the upload page is a list as it is."""
    contacts = open_list([write(tmp_path, TEMPLATE)], None)
    chunks = read(contacts)
    calls = calls_of(chunks)
    assert (contacts.rows, chunks[-1].last_row, contacts.unused_columns) == (5, 5, ())
    assert calls[2] == {
        "client-identifier": "1-2",
        "start-time": "2026-11-24T10:00:00+05:30",
        "contact-numbers": ["919812345679", "919812345670"],
        "keys": [
            {"name": "$flow.key.Name", "value": 'Ravi "R" K, Pune'},
            {"name": "$flow.key.Amount", "value": ""},
        ],
    }
    assert calls[3]["contact-numbers"] == ["919812345671"], "the first usable number comes first"
    assert calls[5]["contact-numbers"] == ["919812345673"], "each number is there once"
    [row] = rejected_of(chunks)
    assert (row.row, row.contact_numbers) == (4, ("981234567",))
    assert row.reason == "no usable number: tel1 is no number that exists, read as one of IN"


def test_a_mapping_says_which_column_is_what(tmp_path: Path) -> None:
    """Columns by name; the others are unused."""
    mapping = {
        "client_identifier": "account no",
        "contact_numbers": ["mobile", "alternate"],
        "start_time": "call at",
        "keys": {"Name": "first", "Again": "first"},
    }
    text = (
        "account no;first ;mobile;alternate;call at;notes\n"
        " A1 ;Asha;919812345678;919812345679;2026-11-25 09:30;x\n"
        ";Uma;919812345670;;;x\n"
        "A3;Ravi;919812345671;;2026-11-23T23:59:59+05:30;x\n"
        "A4;Anil;919812345672;;soon;x\n"
    )
    contacts = open_list([write(tmp_path, text)], mapping)
    chunks = read(contacts)
    calls = calls_of(chunks)
    assert contacts.unused_columns == ("notes",)
    assert [(c["client-identifier"], c["start-time"]) for c in calls.values()] == [
        ("A1", "2026-11-25T09:30:00+05:30"),
        ("1-2", "2026-11-24T10:00:00+05:30"),
    ]
    assert calls[1]["keys"] == [
        {"name": "$flow.key.Name", "value": "Asha"},
        {"name": "$flow.key.Again", "value": "Asha"},
    ]
    assert [(row.client_identifier, row.reason) for row in rejected_of(chunks)] == [
        ("A3", "call at's date is past"),
        ("A4", "call at can't be read: write it like 2026-11-24T10:00:00+05:30"),
    ]


def test_several_files_are_one_list_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Rows are numbered over all files; a byte order mark or a missing last line end is no row."""
    write(tmp_path, "tel1,b\n919812345671,1\n919812345672,2", "a.csv")
    write(tmp_path, "\ufefftel1,b\r\n919812345673,3\r\n\r\n", "b.csv")
    write(tmp_path, "tel1,b\n", "c.csv")
    write(tmp_path, "tel1,b\n919812345674,4\n1\n", "d.csv")
    contacts = open_list([str(tmp_path / "*.csv")], None)
    chunks = read(contacts)
    assert [path.name for path in contacts.files] == ["a.csv", "b.csv", "c.csv", "d.csv"]
    assert {row: call["contact-numbers"] for row, call in calls_of(chunks).items()} == {
        row: [f"91981234567{row}"] for row in (1, 2, 3, 4)
    }
    assert [(row.row, row.reason) for row in rejected_of(chunks)] == [(5, "too few fields: 1 of 2")]
    assert chunks[-1].last_row == 5
    assert contacts.rows == 5


def test_the_same_bytes_have_the_same_fingerprint(tmp_path: Path) -> None:
    """A changed byte, or a border between files that moved, shows."""
    write(tmp_path, "tel1\n1\n", "a1.csv")
    write(tmp_path, "tel1\n2\n", "a2.csv")
    same = open_list([str(tmp_path / "a*.csv")], None)
    assert same.sha256 == open_list([str(tmp_path / "a?.csv")], None).sha256
    assert same.bytes == 14
    write(tmp_path, "tel1\n3\n", "a2.csv")
    assert same.sha256 != open_list([str(tmp_path / "a*.csv")], None).sha256


def test_odd_rows_cost_only_themselves(tmp_path: Path) -> None:
    """Too short, too long, too large, without a number: each has its reason and all its text."""
    text = (
        "tel1,client-identifier,$flow.key.A\n"
        '919812345671,"A\n1",x\n'
        "919812345672,A2\n"
        "919812345673,A3,x,y,z\n"
        f"919812345674,A4,{'x' * 400}\n"
        '" ",A5,"say ""hi"""\n'
        "919812345676,A6,x\n"
    )
    chunks = read(open_list([write(tmp_path, text)], None), room=300)
    assert list(calls_of(chunks)) == [1, 6]
    short, long, large, empty = rejected_of(chunks)
    assert (short.reason, short.client_identifier) == ("too few fields: 2 of 3", "A2")
    assert orjson.loads(short.fields)["$flow.key.A"] is None
    assert (long.reason, long.contact_numbers) == ("too many fields: 5 of 3", ("919812345673",))
    assert list(orjson.loads(long.fields).items())[2:] == [
        ("$flow.key.A", "x"),
        ("(column 4)", "y"),
        ("(column 5)", "z"),
    ]
    assert large.reason == "the call is too large: 545 bytes, and 300 fit into a request"
    assert (empty.reason, empty.row) == ("no usable number: tel1 is empty", 5)
    assert orjson.loads(empty.fields)["$flow.key.A"] == 'say "hi"'


@pytest.mark.parametrize("after_row", range(13))
def test_reading_goes_on_after_any_row(tmp_path: Path, after_row: int) -> None:
    """The rest of the list is the same, in whatever piece or file it begins."""
    rows = ["919812345678,a", "x,b", "919812345678", '919812345679,"c\nd"', "1,2,3"]
    for name in "ab":
        write(tmp_path, "tel1,$flow.key.A\n" + "\n".join([*rows, f"9,{name}"]), f"{name}.csv")
    with small_pieces(10):
        contacts = open_list([str(tmp_path / "*.csv")], None)
    whole, rest = read(contacts), read(contacts, after_row=after_row)
    assert calls_of(rest) == {n: call for n, call in calls_of(whole).items() if n > after_row}
    assert rejected_of(rest) == [row for row in rejected_of(whole) if row.row > after_row]
    parts = [part for part in contacts._parts if isinstance(part, CsvPart)]
    assert [len(part.scanned.pieces) for part in parts] == [3, 3]
    assert [chunk.last_row for chunk in rest] == [12] * (after_row < 12)


def test_blocks_of_calls_are_what_the_packer_takes(tmp_path: Path) -> None:
    """Ends, rows and days fit together over pieces with and without rejected rows."""
    rows = [f"9198{i:08d},{'é' * (i % 5)}" if i % 7 else "x,y" for i in range(200)]
    with small_pieces(500):
        contacts = open_list([write(tmp_path, "tel1,$flow.key.A\n" + "\n".join(rows))], None)
    for chunk in read(contacts):
        block = chunk.calls
        assert len(block.ends) == len(block.rows) + 1 == len(block.days) + 1
        assert set(block.days) == {20_781}, "2026-11-24"
        whole = b"".join(block.data[a:b] for a, b in zip(block.ends, block.ends[1:], strict=False))
        assert whole == block.data
        assert all(block.data[end - 1] == ord(",") for end in block.ends[1:])
        halves = block.between(0, len(block)), block.between(len(block) // 2, len(block))
        assert halves[0].data == block.data
        assert halves[1].followed_by(block).data[-len(block.data) :] == block.data


# --- what goes wrong before, and on the way -------------------------------------------------------


def test_a_list_without_rows_is_refused(tmp_path: Path) -> None:
    """One file of several may have none, but not all of them."""
    empty = write(tmp_path, "tel1,a\n\n")
    with pytest.raises(ListError, match=r"there are no rows after the header in .*list\.csv"):
        open_list([empty], None)


@pytest.mark.parametrize(
    ("header", "difference"),
    [
        ("tel1,b", 'without "a", with "b"'),
        ("a,tel1", "the same columns in another order or number"),
        ("tel1 a", 'without "tel1", "a", with "tel1 a"'),
    ],
)
def test_files_of_one_list_have_the_same_columns(
    tmp_path: Path, header: str, difference: str
) -> None:
    """Neither spaces around the names nor other delimiters are a difference; anything else is."""
    first = write(tmp_path, "tel1,a\n1,2\n", "a.csv")
    same = write(tmp_path, "tel1 , a\n1,2\n", "b.csv")
    other_delimiter = write(tmp_path, "tel1;a\n1;2\n", "d.csv")
    assert open_list([first, same, other_delimiter], None).rows == 3
    other = write(tmp_path, f"{header}\n1,2\n", "c.csv")
    with pytest.raises(ListError, match=f"c.csv has other columns than .*a.csv: {difference}"):
        open_list([first, same, other], None)


def test_a_constant_whose_date_is_past_is_refused_at_once(tmp_path: Path) -> None:
    """Every row would be rejected; one message says it better."""
    mapping = {"contact_numbers": ["tel1"], "start_time": "2026-11-23T10:00:00+05:30"}
    contacts = open_list([write(tmp_path, TEMPLATE)], mapping)
    with pytest.raises(ListError, match="its date is past"):
        contacts.chunks(run=1, now=NOW, room=ROOM)


@pytest.mark.parametrize("when", ["before", "under way", "gone"])
def test_a_file_that_changes_is_not_read_on(tmp_path: Path, when: str) -> None:
    """What was looked over is what is read, or reading stops with a sentence."""
    path = Path(write(tmp_path, "tel1\n" + "919812345678\n" * 100_000))
    contacts = open_list([str(path)], None)
    chunks = contacts.chunks(run=1, now=NOW, room=ROOM)
    if when == "under way":
        next(chunks)
    if when == "gone":
        path.unlink()
    else:
        os.utime(path, (NOW, NOW))
    with pytest.raises(ListError, match=r"was changed|is gone"):
        list(chunks)


def test_rows_that_were_not_counted_are_never_handed_over(tmp_path: Path) -> None:
    """A piece that Arrow reads other than the scan did stops the reading before its calls."""
    path = Path(write(tmp_path, TEMPLATE))
    contacts = open_list([str(path)], None)
    same = TEMPLATE.replace("1200.50\n", "1200.50,")
    with patch.object(LocalFile, "check_unchanged"):
        path.write_text(same, encoding="utf-8")
        with pytest.raises(ListError, match="rows 1 to 5 of the list could not be"):
            read(contacts)


def test_no_message_or_repr_shows_a_customer(tmp_path: Path) -> None:
    """Reasons name columns, and chunks don't print their calls."""
    chunks = read(open_list([write(tmp_path, TEMPLATE)], None))
    shown = repr(chunks) + "".join(row.reason for row in rejected_of(chunks))
    for secret in ("981234567", "Asha", "Anil"):
        assert secret not in shown
