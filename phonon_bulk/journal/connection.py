"""Opening the journal's file: its mode, its pragmas, its version; and SQLite's errors in words."""

import errno
import os
import sqlite3
import time
from pathlib import Path

from phonon_bulk.errors import JournalError, JournalUnusable
from phonon_bulk.journal.statements import migrations

APPLICATION_ID = 0x50484F4E
"""Marks an SQLite file as a journal of this program ("PHON")."""

BUSY_SECONDS = 30.0
"""How long a write waits for another process that writes, if nobody says otherwise."""

_SHORT_SECONDS = 2.0
"""How long is waited where somebody only wants to know."""

_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables


def connect(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the journal at `path` for reading and writing, creating or migrating it as needed.

    A new file is readable by its owner only (0600), as it holds contact data; SQLite gives its
    side files the same mode.

    Raises JournalUnusable if it can't be opened, is no journal, or is of a newer version.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise JournalUnusable(
            f"Python's SQLite is {sqlite3.sqlite_version}; the journal needs 3.37 or newer"
        )
    try:
        _create(path)
        connection = _open(path, busy_seconds)
        try:
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise unusable(error, path) from None
    return connection


def try_to_write(path: Path) -> None:
    """Begin to write in a journal, and take it back.

    Raises JournalUnusable as `connect` does, JournalError if it can be opened but not written.
    """
    connection = connect(path, _SHORT_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        connection.close()


def unusable(error: OSError | sqlite3.Error, path: Path) -> JournalUnusable:
    """Return the error to raise where the journal could not be opened."""
    if isinstance(error, sqlite3.Error):
        return JournalUnusable(str(explain(error, path)))
    if error.errno == errno.ENOSPC:
        return JournalUnusable(f"the journal {path} can't be opened: {_FULL}")
    if error.errno in {errno.EACCES, errno.EPERM}:  # another journal would know nothing of it
        return JournalUnusable(f"the journal {path} can't be opened: {error.strerror}. {_OWNER}")
    return JournalUnusable(
        f"the journal {path} can't be opened: {error.strerror}. Give another place with "
        "--journal, or make this one writable for the user who runs phonon-bulk"
    )


def is_there(path: Path) -> bool:
    """Say whether there is a journal. Raises JournalUnusable if that can't be seen."""
    try:
        return path.exists()
    except OSError as error:  # in another user's folder, for one
        raise unusable(error, path) from None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing journal for reading only.

    Raises JournalUnusable as `connect` does, and if there is no such file.
    """
    if not is_there(path):
        raise JournalUnusable(
            f"there is no journal at {path}: nothing was submitted with these settings yet "
            "(is --journal, or `journal` in phonon-bulk.toml, the one you mean?)"
        )
    connection = connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def is_current(path: Path) -> bool:
    """Say whether there is a journal that can be read as it is, without being brought up to date.

    Raises JournalUnusable if it can't be opened, is no journal, or is of a newer version.
    """
    if not is_there(path):
        return False
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return _version(connection, path) == len(migrations())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unusable(error, path) from None


def explain(error: sqlite3.Error, path: Path) -> JournalError:
    """Say in the operator's words what SQLite says in its own."""
    text = str(error)
    if "is full" in text:
        what = _FULL
    elif "disk I/O error" in text:
        what = "its disk can't be written or read. See whether it is full or failing (dmesg)"
    elif "readonly" in text or "unable to open" in text:
        what = f"it is not writable for this user, nor is its folder perhaps. {_OWNER}"
    elif "locked" in text or "busy" in text:
        what = "another program holds it locked"
    elif "malformed" in text or "not a database" in text:
        what = (
            "it is damaged, or no journal at all. Copy it away with its -wal; then take it back "
            "from a backup, or save what can be read with `sqlite3 FILE .recover`"
        )
    else:
        what = text
    return JournalError(f"the journal {path} can't be used: {what}")


_OWNER = (
    "Run phonon-bulk as the user to whom it belongs; if the disk is read-only or that user has "
    "lost it, mend that"
)
_FULL = "the disk is full. Free some space; what was committed is safe"


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise JournalUnusable(f"the journal {path} is a folder; name a file in it") from None


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    if path.stat().st_size == 0:  # so that space can be given back; later it takes a VACUUM
        _patiently(connection, "PRAGMA auto_vacuum = INCREMENTAL")
    _patiently(connection, "PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _patiently(connection: sqlite3.Connection, pragma: str) -> None:
    """Change what the file is like. SQLite does not wait for this as it does for writes; we do."""
    for _ in range(100):
        try:
            connection.execute(pragma)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
        else:
            return
    connection.execute(pragma)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    scripts = migrations()
    connection.execute("BEGIN")  # so that what is asked is of one moment, while others migrate
    version = _version(connection, path)
    connection.execute("COMMIT")
    if version == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again inside the transaction: another process may have been quicker.
        for number in range(_version(connection, path), len(scripts)):
            for statement in _statements(scripts[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if mark != APPLICATION_ID and (tables or version):
        raise JournalUnusable(f"{path} is an SQLite file, but no journal of phonon-bulk")
    if version > len(migrations()):
        raise JournalUnusable(
            f"the journal {path} was written by a newer phonon-bulk (schema {version}, this one "
            f"knows {len(migrations())}): upgrade this installation"
        )
    return version


def _statements(script: str) -> list[str]:
    """Cut a script into statements; a semicolon in a comment ends none."""
    statements, current = [], ""
    for piece in script.split(";"):
        current += piece + ";"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return [statement for statement in statements if statement.strip(" \n;")]
