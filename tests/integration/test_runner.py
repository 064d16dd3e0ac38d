"""A list that two processes read into one run."""

import asyncio
from array import array
from collections.abc import Iterator
from itertools import accumulate

import pytest
from builders import DAY, make_batch, make_call, make_run
from scripted import NOON

from phonon_bulk import runner
from phonon_bulk.call import encode
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.packing import CallBlock, Chunk
from phonon_bulk.runner import Reading
from phonon_bulk.submit import Portion

ROOM = 200_000


class Contacts:
    """A list of some contacts."""

    def __init__(self, rows: int) -> None:
        """Hold so many rows."""
        self.rows = rows

    def chunks(self, *, run: int, now: float, room: int, after_row: int = 0) -> Iterator[Chunk]:
        """Yield the rows after `after_row`, all at once."""
        del run, now, room
        rows = range(after_row + 1, self.rows + 1)
        calls = [encode(make_call(row, DAY)) + b"," for row in rows]
        ends = array("q", accumulate((len(call) for call in calls), initial=0))
        days = array("q", [DAY.toordinal() - 719_163] * len(rows))
        yield Chunk(CallBlock(b"".join(calls), ends, array("q", rows), days), [], self.rows)


class Watcher:
    """Notes that all rows are in the journal."""

    done = False

    def read(self, portion: Portion) -> None:
        """See `runner.Watcher`."""

    def list_done(self) -> None:
        """See `runner.Watcher`."""
        self.done = True


async def begun_elsewhere(journal: SqliteJournal) -> int:
    """Open a run whose list another process has read up to row 2."""
    run = (await journal.open_run(make_run(), NOON)).run
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    return run


async def test_who_reads_a_list_falls_silent(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then another reads on from where that one stood, and the list is whole."""
    monkeypatch.setattr(runner, "SILENCE", 0.01)
    run, watcher = await begun_elsewhere(journal), Watcher()
    reading = Reading(Contacts(9), ROOM)
    await asyncio.wait_for(runner._read_beside(journal, run, reading, asyncio.Event(), watcher), 10)
    with SqliteBooks(journal.path) as books:
        record = books.run(run)
        rows = [row for batch in books.batches(run) for row in batch.rows]
    assert (record.rows, record.read_at is not None, watcher.done) == (9, True, True)
    assert rows == list(range(1, 10))


async def test_who_reads_a_list_is_at_work(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that one goes on, and when it is through, nobody else reads."""
    monkeypatch.setattr(runner, "SILENCE", 0.2)
    run, watcher = await begun_elsewhere(journal), Watcher()
    reading = Reading(Contacts(9), ROOM)
    ours = asyncio.create_task(runner._read_beside(journal, run, reading, asyncio.Event(), watcher))
    for row in range(3, 9):
        await asyncio.sleep(0.05)
        await journal.append(run, [make_batch([row])], [], after_row=row - 1, last_row=row)
    await journal.finish_reading(run, NOON)
    await asyncio.wait_for(ours, 10)
    with SqliteBooks(journal.path) as books:
        assert books.run(run).rows == 8
    assert watcher.done


async def test_told_to_stop_while_another_reads(journal: SqliteJournal) -> None:
    """Waiting for another reader ends at once when this process is told to stop."""
    run, stop = await begun_elsewhere(journal), asyncio.Event()
    reading = Reading(Contacts(9), ROOM)
    ours = asyncio.create_task(runner._read_beside(journal, run, reading, stop, Watcher()))
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(ours, 2)


async def test_two_at_the_end_of_a_list(journal: SqliteJournal) -> None:
    """Who finds the list read to its end, with all rows in its hands, has nothing more to do."""
    run, watcher = await begun_elsewhere(journal), Watcher()
    await journal.finish_reading(run, NOON)
    reading = Reading(Contacts(2), ROOM, after_row=2)
    await runner._read_beside(journal, run, reading, asyncio.Event(), watcher)
    assert watcher.done
