"""Queries over files that are there."""

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import select
from phonon_bulk.source.formats.select import select_rows
from phonon_bulk.source.formats.tables import TablePart
from phonon_bulk.source.formats.values import text_column


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with lists; temporary files go to `tmp` beside it."""
    for name in ("tmp", "lists", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    lists = tmp_path / "lists"
    _write(
        "SELECT range AS id, 919800000000 + range AS mobile FROM range(50000)", lists / "a.parquet"
    )
    _write("SELECT 50000 + range AS id, 9 AS mobile FROM range(5)", lists / "b.parquet")
    (lists / "stop.csv").write_text("mobile\n919800000001\n919800000003\n")
    (lists / "more.ndjson").write_text('{"mobile": 919800000007, "name": "Asha"}\n')
    return lists


def _write(query: str, path: Path) -> None:
    duckdb.execute(f"COPY ({query}) TO '{path}'")


def _rows(part: TablePart) -> list[tuple[str, ...]]:
    columns = [f"c{place}" for place in range(len(part.names))]
    tables = [table.select(columns).to_pydict() for table in part.tables(0, 0)]
    return [row for table in tables for row in zip(*table.values(), strict=True)]


def test_rows_come_in_the_order_of_the_file(folder: Path) -> None:
    """The number of a row means the same each time."""
    part = select_rows("SELECT mobile FROM 'a.parquet' WHERE id % 2 = 1", folder)
    assert _rows(part) == [(str(919800000000 + i),) for i in range(1, 50_000, 2)]
    assert part.digest == select_rows("SELECT mobile FROM 'a.parquet' WHERE id % 2", folder).digest
    assert part.remarks == ()


def test_several_files_of_several_kinds_make_a_list(folder: Path) -> None:
    """Patterns too are relative to the folder."""
    query = """SELECT mobile, name FROM '*.parquet' JOIN 'more.ndjson' USING (mobile)
               WHERE mobile NOT IN (SELECT mobile FROM read_csv('stop.csv'))"""
    assert _rows(select_rows(query, folder)) == [("919800000007", "Asha")]
    assert select_rows("FROM '*.parquet'", folder).rows == 50_005
    assert _rows(select_rows(f"FROM '{folder}/stop.csv'", Path("/")))[0] == ("919800000001",)


def test_csv_in_a_query_is_remarked_on(folder: Path) -> None:
    """DuckDB's reader can leave out rows without a word; our own can't."""
    (remark,) = select_rows("FROM 'stop.csv'", folder).remarks
    assert remark.startswith("the query reads CSV with DuckDB, which can leave out rows")


def test_a_file_of_that_name_in_the_working_folder_is_not_read(folder: Path) -> None:
    """DuckDB would take it before the one that is meant."""
    Path("stop.csv").write_text("mobile\n1\n")
    for query in ("FROM 'stop.csv'", 'FROM "stop.csv"', "FROM stop.csv"):
        with pytest.raises(ListError, match="would be read in its place"):
            select_rows(query, folder)
    assert select_rows(f"FROM '{folder}/stop.csv'", folder).rows == 2
    assert _rows(select_rows("FROM 'stop.csv'", Path())) == [("1",)]


def test_a_folder_whose_name_has_a_comma_is_refused(folder: Path) -> None:
    """DuckDB would look into two others."""
    odd = folder / "a, b"
    odd.mkdir()
    with pytest.raises(ListError, match="DuckDB allows no comma there"):
        select_rows("FROM 'stop.csv'", odd)


def test_values_that_can_not_be_read_are_not_quoted(folder: Path) -> None:
    """A CSV column may turn out to be no number only after many rows."""
    (folder / "late.csv").write_text("mobile\n" + "1\n" * 50_000 + "x919812345678\n")
    with pytest.raises(ListError) as caught:
        select_rows("FROM 'late.csv'", folder)
    assert "the query failed: Conversion Error" in str(caught.value)
    assert "9198" not in str(caught.value)


@pytest.fixture
def spilled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give DuckDB little memory, and return what is on disk when the first rows come."""
    found: list[bytes] = []

    def looking(column: Any) -> Any:
        if not found:
            files = (folder.parent / "tmp").rglob("*.tmp")
            found.extend(path.read_bytes() for path in files)
        return text_column(column)

    monkeypatch.setattr(select, "_MEMORY", "60MB")
    monkeypatch.setattr(select, "text_column", looking)
    return found


def test_a_sort_may_be_larger_than_the_memory(folder: Path, spilled: list[bytes]) -> None:
    """What does not fit goes to disk, where nobody can read it, and is gone at the end."""
    query = """SELECT md5(range::VARCHAR) AS a, 'Asha Rao ' || range AS name
               FROM range(700000) ORDER BY a"""
    part = select_rows(query, folder)
    assert sum(map(len, spilled)) > 1_000_000
    assert not any(b"Asha Rao" in data for data in spilled)
    assert not list((folder.parent / "tmp").iterdir())
    assert part.rows == 700_000
    column = [table["c0"].to_pylist() for table in part.tables(0, 0)]
    texts = [text for piece in column for text in piece]
    assert texts == sorted(texts)
