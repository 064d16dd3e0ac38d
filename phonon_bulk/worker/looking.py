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


async def look_for_runs(
    journal: Journal, books: SqliteBooks, senders: Senders, settings: Settings, end: asyncio.Event
) -> None:
    """Start what is due, until `end` is set. Raises JournalError."""
    version, next_at, full, beat_at = -1, 0.0, False, journal.now().steady + _AT_LEAST
    while not end.is_set():
        seen = books.version()
        now = journal.now()
        if seen != version or full or now.steady >= next_at:
            version = seen  # from before the look: what comes meanwhile is seen the next time
            within = settings.sending.replay_within
            today = today_in_india(time.time()).isoformat()
            due, at = await journal.due(now=now, within=within, today=today)
            senders.stopped = books.stopped(today)
            full = senders.start_due(due)
            # What was tried in vain is tried again a little later, changed or not.
            next_at = min(at or now.steady + _AT_LEAST, now.steady + _AT_LEAST)
        if now.steady >= beat_at:
            await journal.beat(now.wall)
            beat_at = now.steady + _AT_LEAST
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), settings.worker.look_every)


_AT_LEAST = 30.0
"""Seconds after which the runs are looked at, and the journal is written to, in any case."""
