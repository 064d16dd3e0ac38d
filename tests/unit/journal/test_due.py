"""Looking for runs with something to do costs the same however much waits to be sent."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from builders import DAY, make_batch, make_run

from phonon_bulk.journal import Control, control
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.changes import next_work, window
from phonon_bulk.journal.connection import connect
from phonon_bulk.journal.sqlite import SqliteJournal

_STEP = 100
"""SQLite's own instructions between two counts."""


class Steps:
    """How much SQLite does."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.taken = 0
        db.set_progress_handler(self._count, _STEP)

    def _count(self) -> int:
        self.taken += 1
        return 0


async def steps_to_look(path: Path, batches: int, over: int = 0) -> int:
    """Return how much SQLite does for one look in a journal with so many batches that are ready.

    They are of the last of its runs; `over` runs before it are over.
    """
    journal = SqliteJournal(path)
    try:
        for _ in range(over + 1):
            run = (await journal.open_run(make_run(), 0.0)).run
        ready = [make_batch([row]) for row in range(1, batches + 1)]
        await journal.append(run, ready, [], after_row=0, last_row=batches)
        now = journal.now()
    finally:
        await journal.close()
    db = connect(path)
    steps = Steps(db)
    due, _ = control.due(db, window(0, now, 600.0, DAY.isoformat(), []))
    db.close()
    assert [one.run for one in due] == [run]
    return steps.taken


async def test_a_look_does_not_read_through_what_is_ready(tmp_path: Path) -> None:
    """It is done twice a second, on the thread that everything is written on."""
    few = await steps_to_look(tmp_path / "few.db", 10)
    many = await steps_to_look(tmp_path / "many.db", 2_000)
    assert many <= few + 5


async def test_a_look_does_not_go_through_runs_that_are_over(tmp_path: Path) -> None:
    """A journal of some years has thousands."""
    few = await steps_to_look(tmp_path / "few.db", 1)
    many = await steps_to_look(tmp_path / "many.db", 1, over=300)
    assert many <= few + 2


async def test_a_run_that_is_held_does_not_hold_the_worker_up(tmp_path: Path) -> None:
    """Whatever waits in it: it is looked at as often as the others are."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    try:
        run = (await journal.open_run(make_run(), 0.0)).run
        ready = [make_batch([row]) for row in range(1, 2_001)]
        await journal.append(run, ready, [], after_row=0, last_row=2_000)
        await journal.control(run, Control.STOPPED, [Control.GO], "Invalid Flow ID")
        now = journal.now()
    finally:
        await journal.close()
    with SqliteBooks(path) as books:
        steps = Steps(books._connection)
        assert books.stopped(str(DAY + timedelta(days=1))) == []
        work = next_work(books._connection, run, window(run, now, 600.0, DAY.isoformat(), []))
        assert (work.control, work.not_before) == (Control.STOPPED, 0.0)
        assert steps.taken < 40  # to read all that waits would take some two hundred


@pytest.mark.parametrize("seconds", [5.0, 3600.0])
async def test_what_is_put_off_is_found(tmp_path: Path, seconds: float) -> None:
    """The next moment at which something is due is that of the batch put off the least."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    try:
        run = (await journal.open_run(make_run(), 0.0)).run
        await journal.append(run, [make_batch([1]), make_batch([2])], [], after_row=0, last_row=2)
        now = journal.now()
        db = sqlite3.connect(path)
        for row, more in ((1, seconds), (2, seconds + 1)):
            moment = now.steady + more
            db.execute("UPDATE batch SET not_before = ? WHERE first_row = ?", (moment, row))
        db.commit()
        db.close()
        due, at = await journal.due(now=now, within=600.0, today=DAY.isoformat())
        work = await journal.next_work(run, now=now, within=600.0, today=DAY.isoformat())
    finally:
        await journal.close()
    assert due == []
    assert at == pytest.approx(now.steady + seconds)
    assert work.not_before == at
