"""Contact data that is old enough leaves the journal, once an hour, beside all else."""

import asyncio
import contextlib
import time

import structlog

from phonon_bulk.journal import Journal

log = structlog.get_logger("phonon_bulk.worker")

_FIRST_AFTER = 60.0
"""Seconds from the start; a worker that is restarted again and again must come to it too."""

_EVERY = 3600.0
_DAY = 86_400.0


async def prune_old(journal: Journal, days: int, end: asyncio.Event) -> None:
    """Prune what ended more than `days` ago, again and again until `end`. Raises JournalError."""
    wait = _FIRST_AFTER
    while not await _ended(end, wait):
        await _until(end, asyncio.create_task(prune_once(journal, days, time.time()), name="prune"))
        wait = _EVERY


async def prune_once(journal: Journal, days: int, now: float) -> None:
    """Prune what ended more than `days` before `now`, and write the file anew if that is due."""
    pruned = await journal.prune(now - days * _DAY, now)
    if pruned.runs:
        log.info("journal.pruned", runs=list(pruned.runs), calls=pruned.calls)
    why_not = await journal.compact()
    if why_not is not None:  # it is tried again in an hour
        log.info("journal.not_compacted", what=why_not)


async def _until(end: asyncio.Event, pruning: "asyncio.Task[None]") -> None:
    """Return when it is done, or `end` is set: what was begun is ended the next time."""
    ending = asyncio.create_task(end.wait(), name="end")
    await asyncio.wait([pruning, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if pruning.done():
        pruning.result()
    else:
        pruning.cancel()


async def _ended(end: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(end.wait(), seconds)
    return end.is_set()
