"""Hands the slots of an endpoint to whoever waits to send, strictly in order of arrival.

Slots come from the schedule that all processes share (`schedule.py`, which derives the law); this
is what one process does with them. Those who want to send queue up. One task asks for slots for
them, a few at a time, and hands them out in order, so that a batch of 500 calls does not starve
behind small ones. Each then waits for the moment of its slot, and passes an aiolimiter that spreads
what comes late: after a hitch, slots that are overdue do not go out in one burst.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import structlog
from aiolimiter import AsyncLimiter

from phonon_bulk.schedule import MEMORY, Lease, Limits, Rate
from phonon_bulk.throttle import BackOff, No, Throttle

log = structlog.get_logger("phonon_bulk.limiter")

LOOK_AGAIN = 0.5
"""Seconds after which the journal is asked again at the latest, so that a limit that an operator
changes, or a rest that another process was told, is known in time."""

_NEWEST = 0.1
"""What the newest lease counts for in how long they take."""

_CATCH_UP = 4.0
"""Overdue slots leave at so many times the rate."""

_AT_ONCE = 0.02
"""Seconds of the rate that may leave together; timers are no finer than some milliseconds."""


class Tokens(Protocol):
    """Where the slots of one endpoint come from, for one process."""

    async def lease(self, wants: Sequence[int], delay: float) -> Lease:
        """Return slots for the first of the requests that wait, given the calls of each.

        `delay` is how many seconds that takes, as it has shown so far.
        """

    async def said_no(self, no: No, back_off: BackOff) -> Throttle:
        """Take note that the endpoint said "too many"; return how it is held back now."""

    async def leave(self) -> None:
        """Say that this process asks for no more."""


class _Slot(NamedTuple):
    at: float
    until: float


class _Delay:
    """How long a lease takes on the average; the highest that it was within `MEMORY` seconds.

    A slot that was used late for it must find its minute as it was granted.
    """

    def __init__(self) -> None:
        self._mean = self._most = self._before = 0.0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        return max(self._most, self._before)

    def note(self, seconds: float, now: float) -> None:
        self._mean += _NEWEST * (seconds - self._mean)
        if now > self._until:
            self._before, self._most, self._until = self._most, 0.0, now + MEMORY
        self._most = max(self._most, self._mean)


class Limiter:
    """Slots for the requests of one process to one endpoint. Use it as an async context manager."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        """Take slots from `tokens`; `clock` tells the time that they are of, in seconds."""
        self._tokens = tokens
        self._clock = clock
        self._waiting: deque[tuple[int, asyncio.Future[_Slot]]] = deque()
        self._someone_waits = asyncio.Event()
        self._spare: deque[tuple[int, _Slot]] = deque()
        """Slots whose request was given up while they were fetched, with the calls they are for."""
        self._lease: Lease | None = None
        self._delay = _Delay()
        self._free_until = 0.0
        self._shape: tuple[Limits, float] = (Limits(), 0.0)
        self._spread: AsyncLimiter | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve(), name="limiter")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(Exception):  # the others find out when it asks no more
            await self._tokens.leave()

    @property
    def rate(self) -> Rate | None:
        """How fast the endpoint may be used, as it was heard last; None before anything was."""
        return self._lease.rate if self._lease is not None else None

    @property
    def counts_calls(self) -> bool:
        """Whether calls are limited, so that a slot is for no more than were asked for."""
        return self._lease is None or self._lease.rate.limits.calls is not None

    async def acquire(self, calls: int, *, again: bool = False) -> float:
        """Wait for a slot for a request of so many calls; return until when it may be used.

        With `again` it is in place of one that has grown stale, and its turn comes first. May be
        cancelled while it waits. Raises JournalError if the journal fails.
        """
        if self._clock() < self._free_until:
            return math.inf
        slot = self._take_spare(calls)
        if slot is None:
            future: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
            (self._waiting.appendleft if again else self._waiting.append)((calls, future))
            self._someone_waits.set()
            slot = await future
        wait = slot.at - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        spread = self._spread
        if spread is not None:
            await spread.acquire(calls if self._by_calls else 1)
        return slot.until

    def stale(self, until: float) -> bool:
        """Say whether a slot is too old to be used: another must be acquired in its place."""
        return self._clock() > until

    async def said_no(self, no: No, back_off: BackOff) -> float:
        """Tell all processes that the endpoint said "too many"; return the seconds to rest."""
        throttle = await self._tokens.said_no(no, back_off)
        self._free_until = 0.0
        self._spare.clear()
        return max(0.0, throttle.rest_until - self._clock())

    # ---- the task that asks

    async def _serve(self) -> None:
        while True:
            await self._someone_waits.wait()
            self._waiting = deque((c, f) for c, f in self._waiting if not f.done())
            if not self._waiting:
                self._someone_waits.clear()
                continue
            try:
                await self._ask()
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
                self._fail(error)

    async def _ask(self) -> None:
        """Ask for slots for all who wait, hand out what there is, and wait until more is due."""
        wants, began = [calls for calls, _ in self._waiting], self._clock()
        lease = await self._tokens.lease(wants, self._delay.seconds)
        self._delay.note(self._clock() - began, self._clock())
        self._take(lease, wants)
        wait = lease.ask_at - self._clock()
        if wait > 0:
            await asyncio.sleep(min(wait, LOOK_AGAIN))

    def _fail(self, error: Exception) -> None:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    def _take(self, lease: Lease, wants: Sequence[int]) -> None:
        if lease.rate.advice and (self.rate is None or self.rate.advice != lease.rate.advice):
            log.warning("limit.seems_lower", what=lease.rate.advice)
        self._lease = lease
        self._spread_as(lease.rate.limits, lease.burst)
        free = lease.rate.limits == Limits()
        for room, at in zip(wants, lease.slots, strict=False):
            self._give(room, _Slot(at, math.inf if free else at + lease.life))
        if free and not lease.rate.rests:
            self._free_until = self._clock() + LOOK_AGAIN

    def _give(self, room: int, slot: _Slot) -> None:
        """Give a slot for so many calls to the first who waits; keep it if that one needs more."""
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()  # given up meanwhile
        if self._waiting and self._waiting[0][0] <= room:
            self._waiting.popleft()[1].set_result(slot)
        else:
            self._spare.append((room, slot))

    def _take_spare(self, calls: int) -> _Slot | None:
        while self._spare and not self._waiting:
            room, slot = self._spare.popleft()
            if calls <= room and not self.stale(slot.until):
                return slot
        return None

    @property
    def _by_calls(self) -> bool:
        return self._shape[0].requests is None

    def _spread_as(self, limits: Limits, early: float) -> None:
        """Have an aiolimiter for these limits, which lets a burst of so many seconds through."""
        if (limits, early) == self._shape:
            return
        self._shape, self._spread = (limits, early), None
        limit, least = (limits.requests, 1) if limits.requests is not None else (limits.calls, 500)
        if limit is None:
            return
        rate = limit / 60.0
        burst = max(least + rate * early, rate * _CATCH_UP * _AT_ONCE)
        self._spread = AsyncLimiter(burst, burst / (rate * _CATCH_UP))
