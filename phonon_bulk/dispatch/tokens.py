"""The slots of an endpoint, taken from the journal for one run in one process."""

from collections.abc import Sequence
from dataclasses import replace

from phonon_bulk.journal import Journal
from phonon_bulk.schedule import Ask, Lease
from phonon_bulk.throttle import BackOff, No, Throttle

_MOST_HEADROOM = 30.0
"""Seconds; as in the settings."""


class JournalTokens:
    """`limiter.Tokens` out of a journal."""

    def __init__(self, journal: Journal, ask: Ask) -> None:
        """Ask as `ask` has it; what is waited for is put in each time."""
        self._journal = journal
        self._ask = ask

    async def lease(self, wants: Sequence[int], delay: float) -> Lease:
        """See `Tokens`. A slow journal needs headroom: for the lease, and for the mark after it."""
        headroom = min(self._ask.headroom + 2 * delay, _MOST_HEADROOM)
        ask = replace(self._ask, wants=wants, headroom=headroom)
        return await self._journal.lease(ask, self._journal.now)

    async def said_no(self, no: No, back_off: BackOff) -> Throttle:
        """See `Tokens`."""
        ask = self._ask
        return await self._journal.said_no(
            ask.account, ask.endpoint, no, back_off, self._journal.now()
        )

    async def leave(self) -> None:
        """See `Tokens`."""
        await self._journal.leave(self._ask.account, self._ask.endpoint, self._ask.owner)
