"""What becomes of the types of a query over files, and which queries are refused."""

from pathlib import Path

import duckdb
import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.select import select_rows
from phonon_bulk.source.formats.tables import TablePart


def _rows(part: TablePart) -> list[tuple[str, ...]]:
    columns = [f"c{place}" for place in range(len(part.names))]
    tables = [table.select(columns).to_pydict() for table in part.tables(0, 0)]
    return [row for table in tables for row in zip(*table.values(), strict=True)]


def _refusal(query: str, folder: Path) -> str:
    with pytest.raises(ListError) as caught:
        select_rows(query, folder)
    return str(caught.value)


def test_values_are_what_a_person_expects(tmp_path: Path) -> None:
    """Whatever DuckDB has types for."""
    part = select_rows(
        """SELECT 1.50::DECIMAL(10, 2) AS due, 919812345678.0 AS number, 1e20::DOUBLE AS much,
        sum(1) AS huge, 18446744073709551616::UHUGEINT AS more, true AS yes, NULL AS nothing,
        'नमस्ते 😀' AS text, '{"a": 1.0}'::JSON AS json, DATE '2026-11-24' AS day,
        TIMESTAMP '2026-11-24 10:00' AS local, TIMESTAMPTZ '2026-11-24 10:00+00' AS moment,
        TIME '10:00' AS hour, '10:00:00+05:30'::TIMETZ AS hour_there, INTERVAL 1 MONTH AS month,
        [919812345678, 919812345679] AS numbers, {'a': 1} AS struct, MAP {'a': 1} AS map,
        'ab'::BLOB AS bytes, '4d710d6c-1b95-4f42-9eef-6413b63096b7'::UUID AS uuid,
        'x'::ENUM ('x', 'y') AS kind, '101'::BIT AS bits FROM range(3)""",
        tmp_path,
    )
    assert dict(zip(part.names, _rows(part)[0], strict=True)) == {
        "due": "1.50",
        "number": "919812345678.0",  # a decimal with one place, to DuckDB
        "much": "100000000000000000000",
        "huge": "3",
        "more": "18446744073709551616",
        "yes": "true",
        "nothing": "",
        "text": "नमस्ते 😀",
        "json": '{"a": 1.0}',
        "day": "2026-11-24",
        "local": "2026-11-24T10:00:00",
        "moment": "2026-11-24T15:30:00+05:30",
        "hour": "10:00:00",
        "hour_there": "10:00:00+05:30",
        "month": "1 month",
        "numbers": "919812345678;919812345679",
        "struct": '{"a":1}',
        "map": "{a=1}",
        "bytes": "ab",
        "uuid": "4d710d6c-1b95-4f42-9eef-6413b63096b7",
        "kind": "x",
        "bits": "101",
    }


@pytest.mark.parametrize(
    "query",
    [
        "FROM range(3)",
        "WITH a AS (FROM range(3)) SELECT * FROM a;",
        "VALUES (0), (1), (2) -- three",
    ],
)
def test_a_select_has_many_forms(tmp_path: Path, query: str) -> None:
    """DuckDB's own are among them."""
    assert _rows(select_rows(query, tmp_path)) == [("0",), ("1",), ("2",)]


def test_names_that_stand_twice_are_kept(tmp_path: Path) -> None:
    """Each column has its own values."""
    part = select_rows("SELECT 1 AS a, 2 AS a, 3 AS A", tmp_path, name="the query of x")
    assert part.names == ("a", "a", "A")
    assert _rows(part) == [("1", "2", "3")]
    assert part.name == "the query of x"


def test_no_rows_are_a_part_too(tmp_path: Path) -> None:
    """Whoever asked says what that means."""
    assert select_rows("FROM range(0)", tmp_path).rows == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE a",
        "COPY (SELECT 1) TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "ATTACH 'out.db'",
        "CREATE TABLE a AS SELECT 1",
        "INSERT INTO a VALUES (1)",
        "WITH a AS (SELECT 1) INSERT INTO b FROM a",
        "SET threads = 8",
        "PRAGMA version",
        "INSTALL httpfs",
        "CALL duckdb_settings()",
        "EXPLAIN SELECT 1",
    ],
)
def test_nothing_but_one_select_is_run(
    tmp_path: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written anywhere."""
    monkeypatch.chdir(tmp_path)
    assert _refusal(query, tmp_path) == "the query must be one SELECT, and nothing besides"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELEC 1", 'can\'t be run: syntax error at or near "SELEC"'),
        ("FROM nope", "can't be run: Table with name nope does not exist!"),
        ("SELECT nope FROM range(1) AS a", "can't be run: Referenced column"),
        # A variable of the program's that is there.
        ("FROM database", "can't be run: Table with name database does not exist!"),
        ("FROM 'nope.parquet'", 'No files found that match the pattern "nope.parquet"'),
        ("FROM 'nope*.csv'", 'No files found that match the pattern "nope*.csv"'),
        ("FROM 's3://bucket/a.parquet'", "needs DuckDB's extension httpfs, and none is loaded"),
        ("FROM read_xlsx('a.xlsx')", "needs DuckDB's extension excel, and none is loaded"),
        ("SELECT DATE 'infinity'::TIMESTAMPTZ AS never", 'in the column "never"'),
    ],
)
def test_what_is_wrong_with_a_query_is_said(tmp_path: Path, query: str, reason: str) -> None:
    """In one line, mostly of DuckDB's words."""
    said = _refusal(query, tmp_path)
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ('91981234567' || range || 'x')::INT FROM range(8)",
        "SELECT if(range = 200000, '919812345678x', '1')::INT FROM range(300000)",
        "SELECT error('919812345678')",
    ],
)
def test_what_is_wrong_with_a_value_is_said_without_it(tmp_path: Path, query: str) -> None:
    """DuckDB quotes it."""
    with pytest.raises((duckdb.Error, OSError), match="91981234567"):
        duckdb.execute(query).fetchall()
    said = _refusal(query, tmp_path)
    assert "the query failed: " in said
    assert "9198" not in said
