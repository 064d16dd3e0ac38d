"""Asks PostgreSQL and MariaDB for lists."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers import PASSWORD, USER, Server, mariadb, postgresql

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import database
from phonon_bulk.source.formats.database import query_database
from phonon_bulk.source.formats.tables import TablePart

__all__ = ["mariadb", "postgresql"]

LOGIN = {"PHONON_BULK_DATABASE_USER": USER, "PHONON_BULK_DATABASE_PASSWORD": PASSWORD}
NOWHERE = Path("/nonexistent")
CUSTOMERS = 12_000
"""More than are fetched at once."""


@pytest.fixture(scope="session")
def crm(postgresql: Server) -> Server:
    """Fill PostgreSQL."""
    postgresql.run(
        "CREATE TABLE customers (id int PRIMARY KEY, mobile text, due numeric(10, 2))",
        "INSERT INTO customers SELECT i, (919800000000 + i)::text, i / 4.0"
        " FROM generate_series(1, 12000) AS i",
        "CREATE FUNCTION forget() RETURNS int LANGUAGE plpgsql"
        " AS 'BEGIN DELETE FROM customers; RETURN 1; END'",
    )
    return postgresql


@pytest.fixture(scope="session")
def shop(mariadb: Server) -> Server:
    """Fill MariaDB."""
    mariadb.run(
        "USE crm",
        "CREATE TABLE customers (id int PRIMARY KEY, mobile varchar(20), due decimal(10, 2))",
        "INSERT INTO customers SELECT seq, 919800000000 + seq, seq / 4.0 FROM seq_1_to_12000",
        "CREATE FUNCTION forget() RETURNS int BEGIN DELETE FROM customers; RETURN 1; END",
    )
    return mariadb


def _pg(
    server: Server, query: str, environ: Mapping[str, str] = LOGIN, more: str = ""
) -> TablePart:
    return query_database(f"postgresql://{server.host}/crm{more}", query, environ, NOWHERE)


def _my(
    server: Server, query: str, environ: Mapping[str, str] = LOGIN, more: str = ""
) -> TablePart:
    return query_database(f"mysql://{server.host}/crm{more}", query, environ, NOWHERE)


def _rows(part: TablePart) -> list[tuple[str, ...]]:
    columns = [f"c{place}" for place in range(len(part.names))]
    tables = [table.select(columns).to_pydict() for table in part.tables(0, 0)]
    return [row for table in tables for row in zip(*table.values(), strict=True)]


def _refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(ListError) as caught:
        ask()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def _row(part: TablePart) -> dict[str, str]:
    (row,) = _rows(part)
    return dict(zip(part.names, row, strict=True))


def test_postgresql_gives_all_rows_in_their_order(crm: Server) -> None:
    """In pieces, under the names of the query."""
    part = _pg(crm, "SELECT mobile, due AS amount, id, id FROM customers ORDER BY id")
    rows = _rows(part)
    assert part.names == ("mobile", "amount", "id", "id")
    assert part.rows == len(rows) == CUSTOMERS
    assert rows[-1] == ("919800012000", "3000.00", "12000", "12000")
    assert [row[2] for row in rows] == [str(i) for i in range(1, CUSTOMERS + 1)]
    assert part.name == f"the query in postgresql://{crm.host}/crm"


def test_mariadb_gives_all_rows_in_their_order(shop: Server) -> None:
    """In pieces, under the names of the query."""
    part = _my(shop, "SELECT mobile, due AS amount, id, id FROM customers ORDER BY id")
    rows = _rows(part)
    assert part.names == ("mobile", "amount", "id", "id")
    assert part.rows == len(rows) == CUSTOMERS
    assert rows[-1] == ("919800012000", "3000.00", "12000", "12000")
    assert [row[2] for row in rows] == [str(i) for i in range(1, CUSTOMERS + 1)]
    assert part.name == f"the query in mysql://{shop.host}/crm"


def test_postgresql_types_are_what_a_person_expects(crm: Server) -> None:
    """Also values that Python has none for."""
    row = _row(
        _pg(
            crm,
            """SELECT 1.50::numeric AS due, 919812345678.0::float8 AS number, 1e20::float8 AS much,
            true AS yes, NULL AS nothing, 'नमस्ते 😀' AS text, '{"a": 1.0}'::jsonb AS json,
            timestamptz '2026-11-24 10:00+00' AS moment, timestamp '2026-11-24 10:00' AS local,
            date '2026-11-24' AS day, date 'infinity' AS never, timestamptz '-infinity' AS ever,
            date '0044-03-15 BC' AS ides, time '24:00' AS night, interval '1 month' AS month,
            array[919812345678, 919812345679] AS numbers, array['a', NULL] AS texts,
            '\\xff00'::bytea AS bytes, '10.0.0.1'::inet AS host""",
        )
    )
    assert row == {
        "due": "1.50",
        "number": "919812345678",
        "much": "100000000000000000000",
        "yes": "true",
        "nothing": "",
        "text": "नमस्ते 😀",
        "json": '{"a": 1.0}',
        "moment": "2026-11-24T15:30:00+05:30",
        "local": "2026-11-24T10:00:00",
        "day": "2026-11-24",
        "never": "infinity",
        "ever": "-infinity",
        "ides": "0044-03-15 BC",
        "night": "24:00:00",
        "month": "1 mon",
        "numbers": "919812345678;919812345679",
        "texts": "a;",
        "bytes": "ff00",
        "host": "10.0.0.1",
    }


def test_mariadb_types_are_what_a_person_expects(shop: Server) -> None:
    """Also dates that are none."""
    shop.run(
        "USE crm",
        "SET sql_mode = '', time_zone = '+00:00'",
        "CREATE TABLE odd (due decimal(10, 2), number double, much double, yes tinyint(1), no text,"
        " text text, json json, moment timestamp NULL, local datetime(6), day date, never date,"
        " ever datetime, night time, bytes blob, big bigint unsigned, kind enum('a', 'b'))",
        "INSERT INTO odd VALUES (1.50, 919812345678, 1e20, true, NULL, 'नमस्ते 😀', '{\"a\": 1.0}',"
        " '2026-11-24 10:00', '2026-11-24 10:00:00.5', '2026-11-24', '0000-00-00', '0000-00-00',"
        " '100:00:00', x'ff00', 18446744073709551615, 'b')",
    )
    assert _row(_my(shop, "SELECT * FROM odd")) == {
        "due": "1.50",
        "number": "919812345678",
        "much": "100000000000000000000",
        "yes": "1",
        "no": "",
        "text": "नमस्ते 😀",
        "json": '{"a": 1.0}',
        "moment": "2026-11-24T15:30:00",
        "local": "2026-11-24T10:00:00.500000",
        "day": "2026-11-24",
        "never": "0000-00-00",
        "ever": "0000-00-00 00:00:00",
        "night": "100:00:00",
        "bytes": "ff00",
        "big": "18446744073709551615",
        "kind": "b",
    }


def test_a_query_is_taken_as_it_is_written(crm: Server, shop: Server) -> None:
    """No driver takes `:` and `%` for its own."""
    query = "SELECT '%s :x %% \\\\' AS a, id FROM customers WHERE mobile LIKE '9198%12000';"
    assert _rows(_my(shop, query)) == [("%s :x %% \\", "12000")]
    assert _rows(_pg(crm, query)) == [("%s :x %% \\\\", "12000")]


_CHANGES = [
    "DELETE FROM customers",
    "INSERT INTO customers (id) VALUES (0) RETURNING id",
    "DROP TABLE customers",
    "CREATE TABLE more (id int)",
    "TRUNCATE customers",
    "SELECT forget()",
    "SELECT * FROM customers FOR UPDATE",
    "SELECT 1; DELETE FROM customers",
    "COMMIT; DELETE FROM customers",
    "COMMIT",
]


@pytest.mark.parametrize(
    "query", [*_CHANGES, "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone"]
)
def test_postgresql_is_only_read(crm: Server, query: str) -> None:
    """Not even a function in a SELECT can write."""
    assert _refusal(lambda: _pg(crm, query)).endswith("it must be one SELECT")
    assert _rows(_pg(crm, "SELECT count(*) FROM customers")) == [(str(CUSTOMERS),)]


@pytest.mark.parametrize("query", _CHANGES)
def test_mariadb_is_only_read(shop: Server, query: str) -> None:
    """Not even a function in a SELECT can write."""
    assert _refusal(lambda: _my(shop, query)).endswith("it must be one SELECT")
    assert _rows(_my(shop, "SELECT count(*) FROM customers")) == [(str(CUSTOMERS),)]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_query_sees_one_moment(
    crm: Server, shop: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is changed while the rows come does not show."""
    server, ask, texts = *((crm, _pg) if kind == "postgresql" else (shop, _my)), database._texts
    use = [] if kind == "postgresql" else ["USE crm"]
    server.run(*use, "CREATE TABLE moving AS SELECT id, 'before' AS seen FROM customers")
    changes = [*use, "UPDATE moving SET seen = 'later'"]

    def changing(rows: Any) -> Any:
        if changes:
            server.run(*changes)
            changes.clear()
        return texts(rows)

    monkeypatch.setattr(database, "_texts", changing)
    assert {*_rows(ask(server, "SELECT seen FROM moving"))} == {("before",)}
    assert {*_rows(ask(server, "SELECT seen FROM moving"))} == {("later",)}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELEC 1", 'can\'t be run: syntax error at or near "SELEC"; it must be one SELECT'),
        ("SELECT * FROM nope", 'can\'t be run: relation "nope" does not exist'),
        ("SELECT nope FROM customers", 'can\'t be run: column "nope" does not exist'),
        ("SELECT mobile::int FROM customers", "failed (NumericValueOutOfRange 22003)"),
        ("SELECT mobile::boolean FROM customers", "failed (InvalidTextRepresentation 22P02)"),
        ("SELECT 1 / (9000 - id) FROM customers", "failed (DivisionByZero 22012)"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "failed (AdminShutdown 57P01)"),
    ],
)
def test_postgresql_says_what_is_wrong_but_no_value(crm: Server, query: str, reason: str) -> None:
    """Its messages about the query are passed on, and those that may quote a value are not."""
    said = _refusal(lambda: _pg(crm, query))
    assert reason in said
    assert "9198" not in said


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELEC 1", "near 'SELEC 1' at line 1; it must be one SELECT"),
        ("SELECT * FROM nope", "can't be run: Table 'crm.nope' doesn't exist"),
        ("SELECT nope FROM customers", "can't be run: Unknown column 'nope' in"),
        ("SELECT (SELECT mobile FROM customers)", "failed (error 1242)"),
        ("KILL CONNECTION_ID()", "failed (error 1927)"),
    ],
)
def test_mariadb_says_what_is_wrong_but_no_value(shop: Server, query: str, reason: str) -> None:
    """Its messages about the query are passed on, and those that may quote a value are not."""
    said = _refusal(lambda: _my(shop, query))
    assert reason in said
    assert "9198" not in said


def test_a_server_that_can_not_be_used_is_named(crm: Server, shop: Server) -> None:
    """With what it says, and where the password comes from if it is about that."""
    wrong = {**LOGIN, "PHONON_BULK_DATABASE_PASSWORD": "geheim₹"}
    for ask in (lambda: _pg(crm, "SELECT 1", wrong), lambda: _my(shop, "SELECT 1", wrong)):
        said = _refusal(ask)
        assert "PHONON_BULK_DATABASE_PASSWORD" in said
        assert "geheim" not in said
    for url in (f"postgresql://{crm.host}/nope", f"mysql://{shop.host}/nope"):
        said = _unreachable(url)
        assert said.startswith(f"{url} can't be reached: ")
        assert "nope" in said.removeprefix(url)
        assert "PHONON_BULK_DATABASE_PASSWORD" not in said
    for url in ("postgresql://127.0.0.1:1/crm", "mysql://127.0.0.1:1/crm"):
        assert "Connection refused" in _unreachable(url)


def _unreachable(url: str) -> str:
    return _refusal(lambda: query_database(url, "SELECT 1", LOGIN, NOWHERE))


def test_a_server_without_tls_is_refused_if_the_url_wants_it(crm: Server, shop: Server) -> None:
    """The parameters of the URL are passed on."""
    assert "SSL" in _refusal(lambda: _pg(crm, "SELECT 1", more="?sslmode=verify-full"))
    assert "SSL" in _refusal(lambda: _my(shop, "SELECT 1", more="?ssl_verify_identity=true"))


def test_user_and_password_come_from_where_they_are(
    crm: Server, shop: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user may stand in the URL, and libpq looks for a password by itself."""
    ask = f"postgresql://{USER}@{crm.host}/crm"
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert _rows(query_database(ask, "SELECT current_user", {}, NOWHERE)) == [(USER,)]
    login = {"PHONON_BULK_DATABASE_PASSWORD": PASSWORD}
    ask = f"mysql://{USER}@{shop.host}/crm"
    query = "SELECT substring_index(current_user(), '@', 1)"
    assert _rows(query_database(ask, query, login, NOWHERE)) == [(USER,)]


def test_a_socket_is_a_way_too(crm: Server, shop: Server) -> None:
    """Named by a parameter of the URL."""
    port = crm.host.partition(":")[2]
    url = f"postgresql:///crm?host={crm.folder}&port={port}"
    assert _rows(query_database(url, "SELECT 1", LOGIN, NOWHERE)) == [("1",)]
    url = f"mysql:///crm?unix_socket={shop.folder}/socket"
    assert _rows(query_database(url, "SELECT 1", LOGIN, NOWHERE)) == [("1",)]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_result_that_is_given_up_is_not_read_to_its_end(
    crm: Server, shop: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 144 million rows would take longer than the test may."""

    def full(_: object) -> Any:
        raise ListError("the disk is full")

    monkeypatch.setattr(database, "_texts", full)
    server, ask = (crm, _pg) if kind == "postgresql" else (shop, _my)
    query = "SELECT a.id FROM customers a, customers b"
    assert _refusal(lambda: ask(server, query)) == "the disk is full"
