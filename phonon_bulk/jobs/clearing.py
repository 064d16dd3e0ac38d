"""Contact data that is old enough leaves the journal: what `prune` and the worker both do."""

from dataclasses import dataclass

from phonon_bulk.jobs.lists import DAY
from phonon_bulk.journal import Journal, Pruned


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was deleted, and whether the file was written anew after it."""

    pruned: Pruned
    kept_as_it_is: str | None
    """Why it was not written anew though it should be, a few words: do it once more later."""


async def prune(
    journal: Journal, older_than_days: float, now: float, *, run: int | None = None
) -> Cleared:
    """Delete the contact data of runs that ended more than so many days before `now`.

    `now` is in seconds since the epoch. Others go on reading and writing meanwhile. It may be
    cancelled at any time, and goes on where it was when it is called again.

    Raises JournalError if the journal can't be written.
    """
    pruned = await journal.prune(now - older_than_days * DAY, now, run=run)
    return Cleared(pruned, await journal.compact())
