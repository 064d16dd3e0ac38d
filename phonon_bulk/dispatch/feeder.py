"""What is to be sent next of a run: ready batches, a few at a time, and doubts to be replayed."""

import asyncio
from collections.abc import Callable
from typing import Any

from phonon_bulk.dispatch.outcome import Manner, Pace
from phonon_bulk.dispatch.span import Span
from phonon_bulk.journal import Claim, Control, Journal, NextWork

_SHORT = 0.2
"""Seconds to wait before looking again for batches that another process may have added."""

_LONG = 1.0
"""The same where only time can bring something."""

_MOST = 500
"""Single calls claimed at once: no request holds more."""

_A_FEW = 32
"""Batches claimed at once at most: what is claimed here, no other process can send."""


class Feeder:
    """Claims the batches of one run for the workers of one process."""

    def __init__(
        self,
        journal: Journal,
        run: int,
        pace: Pace,
        manner: Manner,
        span: Span,
        *,
        ended: asyncio.Event,
        held: Callable[[Control], None],
    ) -> None:
        """Feed until `ended` is set; `held` is told of a run that is not to go on."""
        self._journal = journal
        self._run = run
        self._pace = pace
        self._manner = manner
        self._span = span
        self._clock = span.clock
        self._ended = ended
        self._held = held
        self._at_once = min(pace.workers, _A_FEW)
        self._most = _MOST if manner.gathers else self._at_once
        self._queue: asyncio.Queue[Claim | None] = asyncio.Queue(self._most)
        self._told = False
        """Whether the end is in the queue; from then on it stays there."""
        self._put_back: Claim | None = None
        self._replaying: set[int] = set()
        self._not_replayable: set[int] = set()

    # ---- for the workers

    async def next(self) -> Claim | None:
        """Return the next batch to be sent; None at the end."""
        if self._put_back is not None:
            claim, self._put_back = self._put_back, None
            return claim
        at_hand = await self._queue.get()
        if at_hand is None:  # the others are to hear of the end, too
            self._queue.put_nowait(None)
        return at_hand

    def next_at_hand(self) -> Claim | None:
        """Return the next batch if there is one without waiting."""
        if self._put_back is not None:
            claim, self._put_back = self._put_back, None
            return claim
        if self._queue.empty():
            return None
        at_hand = self._queue.get_nowait()
        if at_hand is None:
            self._queue.put_nowait(None)
        return at_hand

    def put_back(self, claim: Claim) -> None:
        """Have a batch be the next one; only for one that was taken last."""
        self._put_back = claim

    @property
    def is_empty(self) -> bool:
        """Whether nothing is at hand."""
        return self._put_back is None and self._queue.qsize() <= self._told

    def done_with(self, batch: int) -> None:
        """Take note that a worker is done with a batch, and a doubt may be offered again."""
        self._replaying.discard(batch)

    def never_replay(self, batch: int) -> None:
        """Take note that another try of a doubt would prove nothing."""
        self._not_replayable.add(batch)

    # ---- the task

    async def feed(self) -> None:
        """Keep the workers supplied until there is no more; raises JournalError."""
        while not self._ended.is_set() and await self._feed_some():
            pass

    async def tell_the_end(self) -> None:
        """Tell whoever asks from now on that there is no more."""
        await self._queue.put(None)
        self._told = True

    async def _feed_some(self) -> bool:
        """Claim what is ready, or wait for it; say False when there is nothing to wait for."""
        # Doubts first: while there is much to send they would grow too old to be proved.
        claims = await self._doubts() or await self._journal.claim(
            self._run,
            owner=self._journal.owner,
            limit=self._most,
            now=self._clock(),
            lease=self._pace.lease,
        )
        for claim in claims:
            await self._queue.put(claim)
        return bool(claims) or await self._wait_for_work()

    async def _doubts(self) -> list[Claim]:
        """Return doubts to be replayed; each is out at most once at a time."""
        doubts = await self._journal.doubts(self._run, limit=self._at_once, **self._replayable())
        self._replaying |= {claim.batch for claim in doubts}
        return doubts

    def _replayable(self) -> dict[str, Any]:
        now = self._clock()
        within = self._pace.replay_within if now.wall < self._span.not_after else 0.0
        but = sorted(self._replaying | self._not_replayable)
        return {"now": now, "within": within, "today": self._span.today(), "but": but}

    async def _wait_for_work(self) -> bool:
        """Wait until there may be something to claim; say False when there will never be."""
        replaying = bool(self._replaying)  # now: one that ends meanwhile is left out of the answer
        work = await self._journal.next_work(self._run, **self._replayable())
        if work.control is not Control.GO:
            self._held(work.control)
            return False
        if not replaying and self._is_over(work):
            return False
        if work.lease_until is not None:
            if work.lease_until <= self._clock().steady:
                # Our own first: this process may have been suspended, and nobody noticed.
                await self._journal.renew(self._journal.owner, self._clock(), self._pace.lease)
            await self._journal.recover(self._clock(), self._pace.replay_after)
        await self._wait(_LONG if self._manner.stays else _SHORT)
        return True

    def _is_over(self, work: NextWork) -> bool:
        moments = (work.not_before, work.lease_until, work.replay_at)
        reading = work.reading and self._manner.waits_for_list
        return not (reading or self._manner.stays) and all(moment is None for moment in moments)

    async def _wait(self, seconds: float) -> None:
        """Wait for news of the run, or for the end."""
        waits = [
            asyncio.create_task(self._journal.wait(self._run, seconds), name="news"),
            asyncio.create_task(self._ended.wait(), name="end"),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
