"""One run in one process: its list is read and its batches are sent, both at once.

`run` and `resume` are this. `submit` is the first half alone, the worker is the second half without
an end. Reading and sending meet only in the journal; here they are started, told to stop, and
waited for.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from phonon_bulk.dispatch import Dispatcher, Ending, Outcome
from phonon_bulk.errors import ListError, PhononBulkError, ReadElsewhereError
from phonon_bulk.journal import Journal
from phonon_bulk.submit import Portion, Readable, submit

log = structlog.get_logger("phonon_bulk.runner")

SILENCE = 5.0
"""Seconds without a row from the process that reads a list, before another one reads on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A list that is (still) to be read into a run."""

    contacts: Readable
    room: int
    """Bytes of calls that fit a body."""
    after_row: int = 0


class Watcher(Protocol):
    """Whoever shows how a run is going."""

    def read(self, portion: Portion) -> None:
        """Take note of rows that are in the journal now."""

    def list_done(self) -> None:
        """Take note that all rows are in the journal."""


async def read_list(
    journal: Journal, run: int, reading: Reading, stop: asyncio.Event, watcher: Watcher
) -> bool:
    """Read a list into the journal; say whether it was read to its end."""
    whole = await submit(
        journal,
        reading.contacts,
        run=run,
        room=reading.room,
        now=time.time,
        after_row=reading.after_row,
        stop=stop,
        progress=watcher.read,
    )
    if whole:
        watcher.list_done()
    return whole


async def carry_out(
    journal: Journal,
    dispatcher: Dispatcher,
    run: int,
    *,
    reading: Reading | None,
    stop: asyncio.Event,
    watcher: Watcher,
) -> Outcome:
    """Send a run, reading what is left of its list at the same time; return how that ended.

    A run that the provider blocks is read to its end all the same: what is in the journal needs no
    list any more. While another process reads the list into this run, this one only sends. If the
    list turns out to be unreadable half-way, sending stops (a list that is damaged may be the wrong
    list), and what is under way is settled.

    Raises JournalError if the journal fails.
    """
    returned, doubted = await journal.recover(journal.now(), dispatcher.pace.replay_after)
    if returned or doubted:
        log.info("journal.recovered", returned=returned, in_doubt=doubted)
    end_reading, end_sending = asyncio.Event(), asyncio.Event()
    relay = asyncio.create_task(_relay(stop, end_reading, end_sending), name="stop relay")
    sending = asyncio.create_task(dispatcher.run(end_sending), name="sending")
    sending.add_done_callback(lambda task: _on_fault(task, end_reading))
    try:
        if reading is not None:
            await _read_beside(journal, run, reading, end_reading, watcher)
        return await sending
    except ListError as error:
        end_sending.set()
        await sending
        return Outcome(Ending.LIST_BROKEN, str(error))
    except PhononBulkError:
        end_sending.set()
        await asyncio.wait([sending])
        raise
    finally:
        relay.cancel()
        sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled():
            sending.exception()  # seen; the error of whichever half failed first is on its way


async def _read_beside(
    journal: Journal, run: int, reading: Reading, stop: asyncio.Event, watcher: Watcher
) -> None:
    """Read a list, or wait while another process does, and read on if that falls silent."""
    while not stop.is_set():
        try:
            await read_list(journal, run, reading, stop, watcher)
        except ReadElsewhereError as error:
            log.warning("list.read_elsewhere", run=run, what=str(error))
        else:
            return
        row = await _left_off_at(journal, run, stop)
        if row is None:
            watcher.list_done()
            return
        log.info("list.read_on", run=run, after_row=row)
        reading = replace(reading, after_row=row)


async def _left_off_at(journal: Journal, run: int, stop: asyncio.Event) -> int | None:
    """Wait while another process reads a list; return the row at which it has fallen silent.

    None if the list was read to its end, or if this process is told to stop.
    """
    row = await journal.read_so_far(run)
    while row is not None and not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SILENCE)
        now_at = await journal.read_so_far(run)
        if now_at == row:
            break
        row = now_at
    return None if stop.is_set() else row


async def _relay(stop: asyncio.Event, *others: asyncio.Event) -> None:
    await stop.wait()
    for other in others:
        other.set()


def _on_fault(task: "asyncio.Task[Outcome]", end_reading: asyncio.Event) -> None:
    if not task.cancelled() and task.exception() is not None:
        end_reading.set()
