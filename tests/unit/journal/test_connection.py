"""Opening journals: new, old, foreign, newer, unwritable."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import JournalUnusable
from phonon_bulk.journal.connection import APPLICATION_ID, connect, connect_to_read, explain
from phonon_bulk.journal.evidence import SqliteEvidence
from phonon_bulk.journal.statements import migrations
from phonon_bulk.report.audit import conservation


def test_a_new_journal(tmp_path: Path) -> None:
    """It is made with its folder, for its owner only, in WAL, synchronous, at the newest schema."""
    path = tmp_path / "new" / "journal.db"
    with connect(path) as connection:
        connection.execute("CREATE TABLE side_files_exist (x)")
        assert [p.stat().st_mode & 0o777 for p in sorted(path.parent.iterdir())] == [0o600] * 3
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(migrations())
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.close()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_opened_twice(tmp_path: Path) -> None:
    """A journal that is there is opened as it is."""
    connect(tmp_path / "j").close()
    connection = connect(tmp_path / "j")
    assert connection.execute("SELECT count(*) FROM run").fetchone()[0] == 0
    connection.close()


def test_an_old_schema_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of an earlier version gets the steps it lacks, and keeps what it has."""
    path = tmp_path / "j"
    connection = connect(path)
    connection.execute(
        "INSERT INTO run (campaign, account, endpoint, flow_id, definition, list, list_sha256,"
        " identity, created_at) VALUES ('c', 'a', 'bulk', 'f', '{}', '{}', 's', 'i', 1)"
    )
    connection.close()
    script = "-- a comment; with a semicolon\nCREATE TABLE added (x) STRICT;\n".replace(
        "(x)", "(x ANY)"
    )
    monkeypatch.setattr(
        "phonon_bulk.journal.connection.migrations", lambda: [*migrations(), script]
    )
    connection = connect(path)
    assert connection.execute("SELECT count(*) FROM added").fetchone()[0] == 0
    assert connection.execute("SELECT count(*) FROM run").fetchone()[0] == 1
    connection.close()


def test_rejected_rows_of_an_old_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to schema 3 all rows left out were rejected ones; they are kept as such."""
    path, old = tmp_path / "j", migrations()[:3]
    with monkeypatch.context() as patch:
        patch.setattr("phonon_bulk.journal.connection.migrations", lambda: old)
        connection = connect(path)
    connection.execute(
        "INSERT INTO run (campaign, account, endpoint, flow_id, definition, list, list_sha256,"
        " identity, created_at, rows, rejected)"
        " VALUES ('c', 'a', 'bulk', 'f', '{}', '{}', 's', 'i', 1, 2, 2)"
    )
    rows = [(1, None, "[]", "{}"), (2, "ACC2", '["12"]', '{"tel1":"12"}')]
    connection.executemany(
        "INSERT INTO rejected (run, row, reason, client_identifier, contact_numbers, fields)"
        " VALUES (1, ?, 'why', ?, ?, ?)",
        rows,
    )
    connection.close()
    with SqliteEvidence(path) as books:
        assert list(books.left_out(1)) == [
            LeftOutRow(1, "why", None, (), "{}", LeftOut.REJECTED),
            LeftOutRow(2, "why", "ACC2", ("12",), '{"tel1":"12"}', LeftOut.REJECTED),
        ]
        assert books.notes(1, 9) == []
        assert conservation(books, books.runs(9)).holds
        assert books.integrity() == []


def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is all or nothing."""
    path = tmp_path / "j"
    connect(path).close()
    bad = "CREATE TABLE added (x);\nCREATE TABLE added (x);\n"
    with monkeypatch.context() as patch:
        patch.setattr("phonon_bulk.journal.connection.migrations", lambda: [*migrations(), bad])
        with pytest.raises(JournalUnusable):
            connect(path)
    connection = connect(path)
    names = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'added'").fetchall()
    assert names == []
    connection.close()


def test_a_newer_journal(tmp_path: Path) -> None:
    """A journal of a newer version is left alone: upgrade."""
    path = tmp_path / "j"
    connection = connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalUnusable, match="newer phonon-bulk"):
        connect(path)


def test_somebody_elses_database(tmp_path: Path) -> None:
    """A database of another program is left alone."""
    path = tmp_path / "j"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalUnusable, match="no journal of phonon-bulk"):
        connect(path)


def test_a_folder(tmp_path: Path) -> None:
    """A folder is no journal."""
    with pytest.raises(JournalUnusable, match="is a folder"):
        connect(tmp_path)


def test_below_a_file(tmp_path: Path) -> None:
    """A path through a file can't be made: says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnusable, match="--journal"):
        connect(tmp_path / "file" / "j")


def test_reading_needs_a_journal(tmp_path: Path) -> None:
    """To read is not to create."""
    with pytest.raises(JournalUnusable, match="no journal at"):
        connect_to_read(tmp_path / "j")
    assert list(tmp_path.iterdir()) == []


def test_reading_where_nobody_may_look(tmp_path: Path) -> None:
    """A journal that can't be seen (another user's folder, for one) is no fault of the program."""
    with pytest.raises(JournalUnusable, match="--journal"):
        connect_to_read(tmp_path / ("j" * 300))  # longer than a name may be


def test_reading_can_not_write(tmp_path: Path) -> None:
    """A connection for reading refuses to write."""
    connect(tmp_path / "j").close()
    connection = connect_to_read(tmp_path / "j")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM run")
    connection.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("database or disk is full", "disk is full"),
        ("attempt to write a readonly database", "not writable"),
        ("unable to open database file", "not writable"),
        ("database is locked", "another program"),
        ("database disk image is malformed", "damaged"),
        ("file is not a database", "no journal"),
        ("disk I/O error", "failing"),
        ("interrupted", "interrupted"),
    ],
)
def test_errors_in_words(text: str, words: str) -> None:
    """SQLite's errors become sentences that name the journal."""
    sentence = str(explain(sqlite3.OperationalError(text), Path("/j.db")))
    assert words in sentence
    assert "/j.db" in sentence


def test_made_by_many_at_once(tmp_path: Path) -> None:
    """Processes that begin at the same moment all get the journal that one of them makes."""
    for round_ in range(15):
        path = tmp_path / f"j{round_}"
        together = threading.Barrier(8)

        def begin(path: Path = path, together: threading.Barrier = together) -> int:
            together.wait()
            connection = connect(path)
            found = int(connection.execute("SELECT count(*) FROM run").fetchone()[0])
            connection.close()
            return found

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: begin(), range(8))) == [0] * 8
