"""The journal's own time: the same for all, never back, moved by no setting of the clock."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.journal import clock as module
from phonon_bulk.journal.clock import Clock, boot_id, open_clock, zero_of
from phonon_bulk.journal.connection import connect

WALL = 1_795_400_000.0


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return an open journal."""
    connection = connect(tmp_path / "j.db")
    yield connection
    connection.close()


def test_it_begins_with_the_wall_clock(db: sqlite3.Connection) -> None:
    """Seen first, the journal's time is what the wall clock says."""
    assert zero_of(db, "boot-1", WALL, 500.0) + 500.0 == WALL


@pytest.mark.parametrize("wall", [WALL - 7200, WALL + 7200])
def test_the_wall_clock_does_not_move_it(db: sqlite3.Connection, wall: float) -> None:
    """A process that begins after the clock was set counts as those before it."""
    zero = zero_of(db, "boot-1", WALL, 500.0)
    assert zero_of(db, "boot-1", wall, 600.0) == zero


def sent_at(db: sqlite3.Connection, steady: float) -> None:
    """Note down a request at a moment of the journal's own time."""
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("INSERT INTO attempt (batch, n, sent_at, steady_at) VALUES (1, 1, 0, ?)", [steady])


def test_it_does_not_go_back_over_a_restart(db: sqlite3.Connection) -> None:
    """Started anew with a clock that is behind: nobody knows how long it was off, so for long."""
    zero_of(db, "boot-1", WALL, 500.0)
    sent_at(db, WALL + 3600)
    assert zero_of(db, "boot-2", WALL - 86_400, 10.0) + 10.0 > WALL + 3600 + 600


def test_after_a_restart_the_wall_clock_counts(db: sqlite3.Connection) -> None:
    """A machine that was off for a day knows it."""
    zero_of(db, "boot-1", WALL, 500.0)
    sent_at(db, WALL + 60)
    assert zero_of(db, "boot-2", WALL + 86_400, 10.0) + 10.0 == WALL + 86_400


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 1e6), st.floats(0, 1e4))))
def test_time_never_goes_back(steps: list[tuple[str, float, float]]) -> None:
    """Over any starts of the machine and any settings of its clock, what is sent later is later."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.isolation_level = None
    db.executescript(
        "CREATE TABLE clock (id INTEGER PRIMARY KEY, boot TEXT, zero REAL);"
        "CREATE TABLE attempt (steady_at REAL);"
    )
    newest, boot, since = 0.0, "", 0.0
    for number, (name, off, passed) in enumerate(steps):
        restarted = name == "a"
        boot, since = (f"boot-{number}", 0.0) if restarted or not boot else (boot, since + passed)
        steady = zero_of(db, boot, WALL + off, since) + since
        assert steady >= newest - 1e-6
        newest = steady
        db.execute("INSERT INTO attempt VALUES (?)", [steady])
    db.close()


def test_now_is_both_clocks(db: sqlite3.Connection) -> None:
    """A moment of a new journal says the same on both, to the second."""
    now = open_clock(db).now()
    assert abs(now.wall - now.steady) < 5.0


def test_without_a_boot_id_it_is_the_wall_clock(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one start of the machine can't be told from another, there is the wall clock alone."""
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "none")
    assert boot_id() is None
    now = open_clock(db).now()
    assert now.wall == now.steady
    assert Clock(None).now().steady > 0
