"""Waits for the slots of one run's batches, and posts them; what is under way can be cut short."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from phonon_bulk.batch import Head
from phonon_bulk.dispatch.outcome import Pace, Tally
from phonon_bulk.dispatch.span import Span
from phonon_bulk.errors import JournalError
from phonon_bulk.journal import Claim
from phonon_bulk.limiter import Limiter
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.throttle import BackOff, No

if TYPE_CHECKING:  # aiohttp is slow to load, and who only reads a list needs none
    from phonon_bulk.endpoint import Endpoint

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds for which a request that is connected waits for another slot in place of a stale one."""

TOLD_TO_STOP = "told to stop before it was sent"


class Poster:
    """Slots and posts of one run."""

    def __init__(
        self,
        endpoint: "Endpoint",
        limiter: Limiter,
        head: Head,
        pace: Pace,
        span: Span,
        *,
        tally: Tally,
        ended: asyncio.Event,
        fail: Callable[[JournalError], None],
        chance: Callable[[], float],
    ) -> None:
        """Grant no more once `ended` is set; `fail` is told of a journal that fails."""
        self._endpoint = endpoint
        self._limiter = limiter
        self._head = head
        self._pace = pace
        self._span = span
        self._clock = span.clock
        self._tally = tally
        self._ended = ended
        self._fail = fail
        self._chance = chance
        self._posts: set[asyncio.Task[Any]] = set()
        self._waits: set[asyncio.Task[float]] = set()
        self._aborted = False
        self.waiting = 0
        """How many wait for a slot."""
        self.renewed_at = -math.inf
        """When the leases were renewed last before any of them had ended."""

    def end_waits(self) -> None:
        """Let nobody wait for a slot any more."""
        for wait in self._waits:
            wait.cancel()

    def abort(self) -> None:
        """End the posts under way at once, and begin no more."""
        self._aborted = True
        for post in self._posts:
            post.cancel()

    async def post(
        self, claim: Claim, calls: bytes, granted: float, marked_at: float, *, here: bool = False
    ) -> Answer:
        """Post a batch that was marked as sending at `marked_at`, with a slot until `granted`.

        Both are of the journal's own time. A "too many" is told to all processes first. With `here`
        it is done in the task that calls, which is there for nothing else and which `abort` may
        cancel: another task would leave a turn of the loop later, and that may be a busy one.
        """
        self._tally.requests += 1
        answer = await self._post(claim, calls, granted, marked_at, here=here)
        if answer.verdict is Verdict.THROTTLED:
            answer = await self._held_back(answer, marked_at)
        return answer

    async def turn(self, claim: Claim) -> float | None:
        """Wait for the slot of a batch, as one of those who are waiting; see `granted`."""
        self.waiting += 1
        try:
            return await self.granted(claim)
        finally:
            self.waiting -= 1

    async def granted(
        self, claim: Claim, *, again: bool = False, patience: float = math.inf
    ) -> float | None:
        """Wait for the slot of a batch; return until when it may be used.

        None if told to stop, if it is too late for the run, or out of patience (seconds).
        """
        if self._ended.is_set():
            return None
        wait = max(0.0, min(self._span.left(), patience))
        slot = self._limiter.acquire(claim.calls, again=again)
        if wait == math.inf:
            return await self._until_cancelled(slot, self._waits)
        try:
            return await self._until_cancelled(asyncio.wait_for(slot, wait), self._waits)
        except TimeoutError:
            return None

    async def _post(
        self, claim: Claim, calls: bytes, slot: float, marked_at: float, *, here: bool
    ) -> Answer:
        """Post a batch that is marked as sending, with another slot if its own has grown stale."""

        async def held() -> bool:
            usable: float | None = slot
            # It may be the connection that took long; it is there now, and worth to be kept.
            while usable is not None and self._limiter.stale(usable):
                usable = await self.granted(claim, again=True, patience=_PATIENCE)
            held_until = max(marked_at, self.renewed_at) + self._pace.lease
            in_time = self._clock().steady < held_until and not self._span.is_past(claim)
            return usable is not None and in_time

        if self._aborted:
            return Answer(Verdict.HELD_BACK, TOLD_TO_STOP)
        post = self._endpoint.post(self._head.body(calls, claim.variant), held)
        cut_short = self._until_aborted(post) if here else self._until_cancelled(post, self._posts)
        answer = await cut_short
        return answer or Answer(Verdict.LOST, "told to stop before the answer came")

    async def _held_back(self, answer: Answer, marked_at: float) -> Answer:
        """Have all processes rest and go slower; return the answer with how long they rest."""
        policy = self._pace.policy
        back_off = BackOff(policy.first, policy.most, self._chance())
        no = No(marked_at, answer.retry_after, answer.message)
        try:
            return replace(answer, retry_after=await self._limiter.said_no(no, back_off))
        except JournalError as error:
            self._fail(error)
            return answer

    async def _until_aborted(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do `work` in the present task; return None if `abort` has cancelled it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        self._posts.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            if not self._aborted:
                raise
            task.uncancel()
            return None
        finally:
            self._posts.discard(task)

    async def _until_cancelled(
        self, work: Coroutine[Any, Any, T], among: set[asyncio.Task[T]]
    ) -> T | None:
        """Do `work` where it can be cancelled by itself; return None if it was."""
        task = asyncio.create_task(work)
        among.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            ours = asyncio.current_task()
            if ours is not None and ours.cancelling():
                raise
            return None
        finally:
            among.discard(task)
