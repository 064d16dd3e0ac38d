"""Lists from SQLite, and what is refused before a server is asked."""

import builtins
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.database import PASSWORD, query_database
from phonon_bulk.source.formats.tables import TablePart


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the database `crm.db`, which has 12,000 customers."""
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        crm.execute("CREATE TABLE customers (id INTEGER, mobile, name TEXT, due REAL, photo BLOB)")
        rows = ((i, 919800000000.0 + i, f"Asha {i}", i / 4, None) for i in range(12_000))
        crm.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", rows)
        crm.commit()
    return tmp_path


def _asked(folder: Path, query: str, url: str = "sqlite:///crm.db") -> TablePart:
    return query_database(url, query, {}, folder)


def _rows(part: TablePart) -> list[tuple[str, ...]]:
    columns = [f"c{place}" for place in range(len(part.names))]
    tables = [table.select(columns).to_pydict() for table in part.tables(0, 0)]
    return [row for table in tables for row in zip(*table.values(), strict=True)]


def _refusal(url: str, query: str, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ListError) as caught:
        query_database(url, query, environ or {}, folder)
    return str(caught.value)


def test_a_result_is_a_part(folder: Path) -> None:
    """All rows, in their order, as text; the columns are called as the query says."""
    part = _asked(
        folder, "SELECT id, mobile, name, due AS amount, photo FROM customers ORDER BY id"
    )
    assert part.names == ("id", "mobile", "name", "amount", "photo")
    rows = _rows(part)
    assert part.rows == len(rows) == 12_000
    assert rows[0] == ("0", "919800000000", "Asha 0", "0", "")
    assert rows[11_999] == ("11999", "919800011999", "Asha 11999", "2999.75", "")
    assert part.name == "the query in sqlite:///crm.db"


def test_a_query_is_taken_as_it_is_written(folder: Path) -> None:
    """No driver takes `:` and `%` for its own; names that stand twice are kept."""
    part = _asked(folder, "SELECT name, name FROM customers WHERE name LIKE '%:x' OR id = 7;")
    assert part.names == ("name", "name")
    assert _rows(part) == [("Asha 7", "Asha 7")]


def test_no_rows_are_a_part_too(folder: Path) -> None:
    """Whoever asked says what that means."""
    assert _asked(folder, "SELECT id FROM customers WHERE id < 0").rows == 0


@pytest.mark.parametrize("name", ["a b%20?#@:.db", "crm.db"])
def test_a_file_is_found_by_its_name(folder: Path, name: str) -> None:
    """Relative to the folder, or from the root; no character in it has a meaning."""
    (folder / "crm.db").rename(folder / name)
    query = "SELECT count(*) AS n FROM customers"
    assert _rows(_asked(folder, query, f"sqlite:///{name}")) == [("12000",)]
    assert _rows(_asked(folder, query, f"sqlite:///{folder / name}")) == [("12000",)]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///nope.db", "there is no database {folder}/nope.db"),
        ("sqlite://crm.db", "named by sqlite:///FILE"),
        ("sqlite:///", "named by sqlite:///FILE"),
        ("sqlite:///notes.txt", "is no SQLite database"),
    ],
)
def test_what_is_no_database_is_refused(folder: Path, url: str, reason: str) -> None:
    """And never made one."""
    (folder / "notes.txt").write_text("call them back before noon, all of them")
    before = sorted(folder.iterdir())
    said = _refusal(url, "SELECT * FROM customers", folder)
    assert reason.format(folder=folder) in said
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM customers",
        "INSERT INTO customers (id) VALUES (1) RETURNING id",
        "DROP TABLE customers",
        "CREATE TABLE more (id)",
        "CREATE TEMP TABLE more (id)",
        "ATTACH 'more.db' AS more",
        "VACUUM INTO 'more.db'",
        "PRAGMA journal_mode = wal",
        "SELECT 1; DELETE FROM customers",
        "BEGIN",
    ],
)
def test_nothing_but_one_select_is_run(
    folder: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the database nor the folder is changed."""
    monkeypatch.chdir(folder)
    before = (folder / "crm.db").read_bytes()
    assert _refusal("sqlite:///crm.db", query, folder).endswith("it must be one SELECT")
    assert list(folder.iterdir()) == [folder / "crm.db"]
    assert (folder / "crm.db").read_bytes() == before


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT nope FROM customers", "can't be run: no such column: nope"),
        ("SELECT * FROM nope", "can't be run: no such table: nope"),
        ("SELEC 1", 'can\'t be run: near "SELEC": syntax error; it must be one SELECT'),
        ("", "can't be run: incomplete input"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(folder: Path, query: str, reason: str) -> None:
    """In SQLite's words."""
    assert reason in _refusal("sqlite:///crm.db", query, folder)


@pytest.mark.parametrize(
    ("value", "query"),
    [
        (b"98\xff", "SELECT name FROM customers"),
        (b"919812345678 {", "SELECT json_extract(name, '$.a') FROM customers"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_without_it(
    folder: Path, value: bytes, query: str
) -> None:
    """SQLite quotes it."""
    with closing(sqlite3.connect(folder / "crm.db")) as crm:
        crm.execute("UPDATE customers SET name = CAST(? AS TEXT) WHERE id = 11000", [value])
        crm.commit()
        with pytest.raises(sqlite3.Error) as caught:
            crm.execute(query).fetchall()
    said = _refusal("sqlite:///crm.db", query, folder)
    assert "the query in sqlite:///crm.db failed (" in said
    assert str(caught.value) not in said
    assert "9198" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:geheim@db.example/crm",
        "postgresql://reader:geh/eim@db.example/crm",
        "postgresql://db.example/crm?pass%77ord=geheim",
        "postgresql://db.example/crm?sslmode=require&sslpassword=geheim",
        "mysql://reader:geheim@db.example/crm",
        "mysql://db.example/crm?passwd=geheim",
    ],
)
def test_a_password_in_a_url_is_refused(tmp_path: Path, url: str) -> None:
    """And not repeated."""
    said = _refusal(url, "SELECT 1", tmp_path)
    assert PASSWORD in said
    assert "geh" not in said


@pytest.mark.parametrize("url", ["oracle://db.example/crm", "crm.db", "", "postgresql:db"])
def test_a_url_of_another_database_is_refused(tmp_path: Path, url: str) -> None:
    """The sentence has those that are known."""
    assert "postgresql://, postgres://, mysql://" in _refusal(url, "SELECT 1", tmp_path)


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("postgresql://db.example/crm", "psycopg", "postgresql"),
        ("mysql://db.example/crm", "pymysql", "mysql"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(
    tmp_path: Path, url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has the command that installs it."""
    there = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    said = _refusal(url, "SELECT 1", tmp_path)
    assert said == f"the list is in {url}; to read it: pip install 'phonon-bulk[{extra}]'"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("?local_infile=1", "it has local_infile"),
        ("?ssl_ca=/nope.pem", "its ssl_ca, ssl_cert or ssl_key can't be read: No such file"),
    ],
)
def test_parameters_that_mysql_can_not_have_are_refused(
    tmp_path: Path, parameters: str, reason: str
) -> None:
    """Those of PostgreSQL are libpq's to judge."""
    assert reason in _refusal(f"mysql://127.0.0.1:1/crm{parameters}", "SELECT 1", tmp_path)
