"""Rejected rows in the shape of their list: written, mended in a spreadsheet, read again."""

import csv
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
import orjson
import pytest
from builders import make_batch, make_left_out, make_run
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report import export
from phonon_bulk.report.export import export_rejected
from phonon_bulk.spreadsheet import MARKED, as_it_was, harmless, is_ours, own_columns

Fields = dict[str, str | None]

BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
TEXTS = st.text() | st.text(alphabet=f"' {BEGINNINGS}\u00a0\ufeffa1", max_size=6)


# ---- formulas


@given(TEXTS)
def test_a_harmless_text_is_read_as_it_was(text: str) -> None:
    """Law: whatever the text, the reader gets what the writer had."""
    assert as_it_was(harmless(text)) == text


@given(TEXTS)
@example(" \t =1+1")
def test_no_harmless_text_begins_like_a_formula(text: str) -> None:
    """Law: neither at once nor after spaces; and what is harmless as it is stays so."""
    assert not begins_like_a_formula(harmless(text))
    if not begins_like_a_formula(text.lstrip("'")):
        assert harmless(text) == text


def begins_like_a_formula(text: str) -> bool:
    """Say so, in other words than the program's."""
    rest = text.lstrip(" \v\f\u00a0\u3000\ufeff")
    return rest != "" and rest[0] in BEGINNINGS


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+919812345678", "'+919812345678"),
        ("  -5", "'  -5"),
        ("\uff20x", "'\uff20x"),
        ("'=1", "''=1"),
        ("\u00a0=1", "'\u00a0=1"),
        ("\u3000\ufeff+1", "'\u3000\ufeff+1"),
        (" \v\f@x", "' \v\f@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("''  @", "'''  @"),
        ("'Asha", "'Asha"),
        ("919812345678", "919812345678"),
        ("Asha = Rao", "Asha = Rao"),
        ("  ", "  "),
        ("'", "'"),
        ("", ""),
    ],
)
def test_which_texts_get_an_apostrophe(text: str, written: str) -> None:
    """Those that a spreadsheet would compute, and those that look as if they had been marked."""
    assert harmless(text) == written


@given(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1, max_size=20))
def test_the_pattern_means_the_same_to_duckdb(texts: list[str]) -> None:
    """Law: DuckDB finds those marked that `as_it_was` does."""
    query = "SELECT list_transform(?::VARCHAR[], lambda x: regexp_matches(x, ?))"
    row = duckdb.execute(query, [texts, MARKED]).fetchone()
    assert row is not None
    assert row[0] == [as_it_was(text) != text for text in texts]


# ---- names


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ([], ("row", "reason")),
        (["tel1", "name"], ("row", "reason")),
        (["tel1", "Reason "], ("row (phonon-bulk)", "reason (phonon-bulk)")),
        (["row", "reason"], ("row (phonon-bulk)", "reason (phonon-bulk)")),
        (["row", "row (phonon-bulk)"], ("row (phonon-bulk 2)", "reason (phonon-bulk 2)")),
    ],
)
def test_our_columns_have_names_of_their_own(columns: list[str], names: tuple[str, str]) -> None:
    """However often a file goes out and comes back, no name stands in it twice."""
    assert own_columns(columns) == names


@given(st.lists(st.sampled_from(["tel1", "row", " Reason", "row (phonon-bulk)"]), unique=True))
def test_our_files_are_known_by_their_columns(columns: list[str]) -> None:
    """Law: a file of ours is known as one, also with its names in capitals; none without them."""
    ours = [*columns, *own_columns(columns)]
    assert is_ours(ours)
    assert is_ours([name.upper() for name in ours])
    assert not is_ours(ours[:-1])
    assert not is_ours([*ours, "more"])


# ---- files


async def journal_of(path: Path, rows: list[Fields]) -> None:
    """Make a journal with these rejected rows from row 2 on, and others before and after."""
    journal = SqliteJournal(path)
    run = (await journal.open_run(make_run(), 0.0)).run
    bad = [
        LeftOutRow(row, f"{row} is bad", None, (), orjson.dumps(fields).decode())
        for row, fields in enumerate(rows, 2)
    ]
    last_row = len(rows) + 3
    others = [make_left_out(last_row - 1, LeftOut.DUPLICATE)]
    others.append(make_left_out(last_row, LeftOut.SUPPRESSED))
    await journal.append(run, [make_batch([1])], bad + others, after_row=0, last_row=last_row)
    await journal.close()


async def mend_file(folder: Path, rows: list[Fields], ending: str = ".csv") -> Path:
    """Return the file of a run with these rejected rows."""
    await journal_of(folder / "j", rows)
    path = folder / f"mend{ending}"
    with SqliteBooks(folder / "j") as books:
        assert export_rejected(books, 1, path) == len(rows)
    return path


def lines(path: Path) -> list[list[str]]:
    """Return the lines of a CSV as a spreadsheet shows them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


async def test_rejected_rows_in_the_shape_of_their_list(tmp_path: Path) -> None:
    """The list's columns in its order, then the row and what is wrong with it, and no other row."""
    rows: list[Fields] = [{"z": "12", "a": "Asha"}, {"z": "", "a": None}]
    path = await mend_file(tmp_path, rows)
    assert lines(path) == [
        ["z", "a", "row", "reason"],
        ["12", "Asha", "2", "2 is bad"],
        ["", "", "3", "3 is bad"],
    ]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_columns_that_not_all_rows_have(tmp_path: Path) -> None:
    """Each comes after the one that it stands after; those of rows that had too many come last."""
    rows: list[Fields] = [
        {"a": "1", "c": "2", "(column 3)": "3"},
        {"a": "4", "b": "5", "c": "6"},
        {"a": "7", "c": "8", "d": "9"},
        {"a": None, "c": None, "(column 3)": "x", "(column 4)": "y"},
    ]
    head, *others = lines(await mend_file(tmp_path, rows))
    assert head == ["a", "b", "c", "d", "(column 3)", "(column 4)", "row", "reason"]
    assert [line[:-2] for line in others] == [
        ["1", "", "2", "", "3", ""],
        ["4", "5", "6", "", "", ""],
        ["7", "", "8", "9", "", ""],
        ["", "", "", "", "x", "y"],
    ]


async def test_a_list_with_columns_of_these_names(tmp_path: Path) -> None:
    """Its own stay as they are; ours are named apart."""
    head, line = lines(await mend_file(tmp_path, [{"Row": "9", "tel1": "12"}]))
    assert head == ["Row", "tel1", "row (phonon-bulk)", "reason (phonon-bulk)"]
    assert line == ["9", "12", "2", "2 is bad"]


async def test_a_spreadsheet_shows_it_right_and_runs_nothing(tmp_path: Path) -> None:
    """It begins with a byte order mark, and no cell with a formula, be it a column's name."""
    path = await mend_file(tmp_path, [{"=name": "आशा", "sum": "=1+1", "note": "a\r=2\n=3"}])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf'=name,")
    assert lines(path)[1][:3] == ["आशा", "'=1+1", "a\r=2\n=3"]


@pytest.mark.parametrize("rows", [[], [{}]])
async def test_a_file_of_next_to_nothing(tmp_path: Path, rows: list[Fields]) -> None:
    """Our columns are there without rejected rows, and for rows without fields."""
    head, *others = lines(await mend_file(tmp_path, rows))
    assert head == ["row", "reason"]
    assert len(others) == len(rows)


async def test_other_endings(tmp_path: Path) -> None:
    """NDJSON and Parquet hold the texts as they were in the list."""
    rows: list[Fields] = [{"tel1": "+91", "batch": "=1"}, {"tel1": None, "batch": None, "x": "y"}]
    (tmp_path / "n").mkdir()
    text = (await mend_file(tmp_path / "n", rows, ".ndjson")).read_bytes()
    expected = [
        {"tel1": "+91", "batch": "=1", "x": None, "row": 2, "reason": "2 is bad"},
        {"tel1": None, "batch": None, "x": "y", "row": 3, "reason": "3 is bad"},
    ]
    assert [orjson.loads(line) for line in text.splitlines()] == expected
    path = await mend_file(tmp_path, rows, ".parquet")
    assert parquet.read_table(path).to_pylist() == expected


ROWS = st.lists(
    st.tuples(*[st.none() | st.text(st.characters(codec="utf-8"), max_size=5)] * 2),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_whatever_is_in_a_row_comes_back(rows: list[tuple[Any, Any]]) -> None:
    """Law: read and undone, a file has every text of the list as it was; missing is empty."""
    columns = ["a", "b", "row", "reason"]
    records = [{"a": a, "b": b, "row": 1, "reason": "why"} for a, b in rows]
    sheet = export._Sheet(dict.fromkeys(columns, "text"), records)
    with NamedTemporaryFile(suffix=".csv") as file:
        path = Path(file.name)
        export._write(sheet, path)
        head, *others = lines(path)
    assert head == columns
    found = [tuple(as_it_was(cell) for cell in line[:2]) for line in others]
    assert found == [(a or "", b or "") for a, b in rows]
