"""Single calls that wait for a slot go out together: one request holds up to 500.

What was never sent may be put together, and only that: bytes that have left are frozen.
"""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Self

from phonon_bulk.batch import MAX_CALLS, Batch
from phonon_bulk.dispatch.feeder import Feeder
from phonon_bulk.errors import DamagedBodyError
from phonon_bulk.journal import Claim, FrozenBatch
from phonon_bulk.journal.frozen import freeze, thaw, thaw_rows


def may_be_gathered(claim: Claim) -> bool:
    """Say whether a batch may go out with others: it was never sent, and is no part of one."""
    return claim.whole and claim.attempts == 0 and not claim.replay


class Gathered:
    """Batches that go out together, and their calls."""

    def __init__(self, first: Claim, calls: bytes, most_calls: int, room: int) -> None:
        """Begin with one; take up to `most_calls` calls of `room` bytes."""
        self._taken = [(first, calls)]
        self._calls, self._left = first.calls, room - len(calls)
        self._most = min(most_calls, MAX_CALLS)

    @property
    def members(self) -> list[Claim]:
        """The batches, in the order of their rows."""
        return [claim for claim, _ in self._in_order()]

    @property
    def calls(self) -> bytes:
        """The calls as they are sent."""
        return b",".join(calls for _, calls in self._in_order())

    def take(self, feeder: Feeder, past: Callable[[Claim], bool]) -> None:
        """Take what is at hand and fits, in order; what may not be gathered ends it."""
        while self._calls < self._most and (claim := feeder.next_at_hand()) is not None:
            if not may_be_gathered(claim) or past(claim) or not self._take(claim):
                feeder.put_back(claim)
                return

    def _take(self, claim: Claim) -> bool:
        if self._calls + claim.calls > self._most:
            return False
        try:
            calls = thaw(claim.body)
            thaw_rows(claim.first_row, claim.calls, claim.rows)
        except DamagedBodyError:
            return False  # it is set apart by itself
        if len(calls) + 1 > self._left:
            return False
        self._taken.append((claim, calls))
        self._calls += claim.calls
        self._left -= len(calls) + 1
        return True

    def frozen(self) -> FrozenBatch:
        """Return them as one batch."""
        rows = [
            row
            for member in self.members
            for row in thaw_rows(member.first_row, member.calls, member.rows)
        ]
        day = min(member.start_date for member in self.members)
        return freeze(Batch(self.calls, rows, date.fromisoformat(day)))

    def _in_order(self) -> list[tuple[Claim, bytes]]:
        return sorted(self._taken, key=lambda taken: taken[0].first_row)


class Line:
    """The place of a worker among those that gather.

    One at a time waits for a slot, and the rest of what waits goes with it. Where nothing is
    gathered there is no line.
    """

    def __init__(self, lock: asyncio.Lock | None) -> None:
        """Stand in the line behind `lock`, or in none."""
        self._lock = lock
        self._is_in = False

    @property
    def gathers(self) -> bool:
        """Whether what waits behind is to be taken along."""
        return self._is_in

    async def __aenter__(self) -> Self:
        if self._lock is not None:
            await self._lock.acquire()
            self._is_in = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let the next one in."""
        if self._is_in and self._lock is not None:
            self._is_in = False
            self._lock.release()
