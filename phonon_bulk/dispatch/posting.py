"""Waits for the slots of one run's batches, and posts them; what is under way can be cut short."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from phonon_bulk.batch import Head
from phonon_bulk.dispatch.concurrency import Seen
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

_NO_ANSWER = frozenset({Verdict.LOST, Verdict.NOT_SENT, Verdict.HELD_BACK})
"""How long these took says nothing of how long the provider takes."""

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
        self._waits: set[asyncio.Task[Any]] = set()
        self._cut_short: set[asyncio.Task[Any]] = set()
        self._aborted = False
        self._answered = 0
        self._posting = self._waited = 0.0
        self.waiting = 0
        """How many wait for a slot."""
        self.renewed_at = -math.inf
        """When the leases were renewed last before any of them had ended."""

    def end_waits(self) -> None:
        """Let nobody wait for a slot any more."""
        self._cut(self._waits)

    def abort(self) -> None:
        """End the posts under way at once, and begin no more."""
        self._aborted = True
        self._cut(self._posts)

    def seen(self) -> Seen:
        """Return what the requests have come to by now."""
        return Seen(_now(), self._answered, self._posting, self._waited)

    async def post(self, claim: Claim, calls: bytes, granted: float, marked_at: float) -> Answer:
        """Post a batch that was marked as sending at `marked_at`, with a slot until `granted`.

        Both are of the journal's own time. A "too many" is told to all processes first.
        """
        self._tally.requests += 1
        began = _now()
        answer = await self._post(claim, calls, granted, marked_at)
        if answer.verdict not in _NO_ANSWER:
            self._answered += 1
            self._posting += _now() - began
        if answer.verdict is Verdict.THROTTLED:
            answer = await self._held_back(answer, marked_at)
        return answer

    async def turn(self, claim: Claim) -> float | None:
        """Wait for the slot of a batch, as one of those who are waiting; see `granted`."""
        self.waiting += 1
        began = _now()
        try:
            return await self.granted(claim)
        finally:
            self.waiting -= 1
            self._waited += _now() - began

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
        try:
            async with asyncio.timeout(None if wait == math.inf else wait):
                return await self._until_cut_short(slot, self._waits)
        except TimeoutError:
            return None

    async def _post(self, claim: Claim, calls: bytes, slot: float, marked_at: float) -> Answer:
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
        answer = await self._until_cut_short(post, self._posts)
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

    def _cut(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks - self._cut_short:  # a request under way may wait for a slot, too
            self._cut_short.add(task)
            task.cancel()

    async def _until_cut_short(
        self, work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]]
    ) -> T | None:
        """Do `work` in the present task; return None if `_cut` has cancelled it meanwhile.

        In a task of its own it would begin a turn of the loop later, and that may be a busy one.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        among.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            # Also what a library cancels of its own is no more than an end without an answer.
            if task.uncancel() if task in self._cut_short else task.cancelling():
                raise  # somebody else wants this task to end
            return None
        finally:
            among.discard(task)
            self._cut_short.discard(task)


def _now() -> float:
    return asyncio.get_running_loop().time()
