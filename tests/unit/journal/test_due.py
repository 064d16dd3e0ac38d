"""Looking for runs with something to do costs the same however much waits to be sent."""

import sqlite3
from pathlib import Path

import pytest
from builders import DAY, make_batch, make_run

from phonon_bulk.journal import control
from phonon_bulk.journal.changes import window
from phonon_bulk.journal.connection import connect
from phonon_bulk.journal.sqlite import SqliteJournal

_STEP = 100
"""SQLite's own instructions between two counts."""


async def steps_to_look(path: Path, batches: int) -> int:
    """Return how much SQLite does for one look in a journal with so many batches that are ready."""
    journal = SqliteJournal(path)
    try:
        run = (await journal.open_run(make_run(), 0.0)).run
        ready = [make_batch([row]) for row in range(1, batches + 1)]
        await journal.append(run, ready, [], after_row=0, last_row=batches)
        now = journal.now()
    finally:
        await journal.close()
    db, steps = connect(path), 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(count, _STEP)
    due, _ = control.due(db, window(0, now, 600.0, DAY.isoformat(), []))
    db.close()
    assert [one.run for one in due] == [run]
    return steps


async def test_a_look_does_not_read_through_what_is_ready(tmp_path: Path) -> None:
    """It is done twice a second, on the thread that everything is written on."""
    few = await steps_to_look(tmp_path / "few.db", 10)
    many = await steps_to_look(tmp_path / "many.db", 2_000)
    assert many <= few + 5


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
    finally:
        await journal.close()
    assert due == []
    assert at == pytest.approx(now.steady + seconds)
