"""Which runs have something to send: looked for when the journal changes, or when one is due.

Another process says nothing when it has put a run into the journal. SQLite tells whether a file has
changed since one looked last, at the cost of a read of a few bytes, and that is asked twice a
second; the runs themselves are looked at only if it has.
"""

import asyncio
import contextlib
import time

from phonon_bulk.call import today_in_india
from phonon_bulk.config import Settings
from phonon_bulk.journal import Journal
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.worker.senders import Senders

_AT_LEAST = 30.0
"""Seconds after which the runs are looked at, and the journal is written to, in any case."""


async def look_for_runs(
    journal: Journal, books: SqliteBooks, senders: Senders, settings: Settings, end: asyncio.Event
) -> None:
    """Start what is due and stop what is held, until `end` is set. Raises JournalError."""
    version, next_at, beat_at = -1, 0.0, journal.now().steady + _AT_LEAST
    within = settings.sending.replay_within
    while not end.is_set():
        seen, now = books.version(), journal.now()
        if seen != version or now.steady >= next_at:
            version = seen  # from before the look: what comes meanwhile is seen the next time
            next_at = now.steady + min(_AT_LEAST, await _look(journal, books, senders, within))
        if now.steady >= beat_at:
            await journal.beat(now.wall)
            beat_at = now.steady + _AT_LEAST
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), settings.worker.look_every)


async def _look(journal: Journal, books: SqliteBooks, senders: Senders, within: float) -> float:
    """Start what is due, stop what is held; return in how many seconds to look again."""
    now, today = journal.now(), today_in_india(time.time()).isoformat()
    due, at = await journal.due(now=now, within=within, today=today)
    senders.stopped = books.stopped(today)
    for run in senders.runs:
        senders.heed(books.run(run))
    tried_again = senders.start_due(due)
    return tried_again if at is None else min(tried_again, at - now.steady)
