"""Several processes that take their slots from one schedule, in simulated time."""

import asyncio
import contextlib
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from virtual_time import run_virtual

from phonon_bulk.limiter import Limiter
from phonon_bulk.schedule import Ask, Bucket, Lease, Limits, Sender, grant
from phonon_bulk.throttle import WINDOW, BackOff, LetThrough, No, Throttle, after_no

EPOCH = 1_800_000_000.0
"""What the journal's own time is when a simulation begins."""


@dataclass
class Shared:
    """What the journal keeps of one endpoint, in memory."""

    bucket: Bucket = field(default_factory=Bucket)
    senders: dict[str, Sender] = field(default_factory=dict)
    spent: deque[tuple[float, int]] = field(default_factory=deque)
    taken: list[tuple[float, int]] = field(default_factory=list)
    """(when sent, calls) of what the endpoint took, where a test keeps it."""
    leases: int = 0

    def lease(self, ask: Ask, now: float) -> Lease:
        """Grant slots, and keep that they are."""
        while self.spent and self.spent[0][0] <= now - 2 * WINDOW:
            self.spent.popleft()
        granted = grant(self.bucket, list(self.senders.values()), self.spent, ask, now)
        self.bucket = granted.bucket
        self.senders[ask.owner] = granted.sender
        for at, calls in granted.spent:
            # By the sixteenth of a second, as the journal keeps it.
            same = bool(self.spent) and int(self.spent[-1][0] * 16) == int(at * 16)
            self.spent.append((at, calls + (self.spent.pop()[1] if same else 0)))
        self.leases += 1
        return granted.lease

    def said_no(self, no: No, back_off: BackOff, limits: Limits, now: float) -> Throttle:
        """Hold the endpoint back."""
        before = self.bucket.throttle
        taken = [(at, n) for at, n in self.taken if at > now - WINDOW]
        requests, calls = len(taken), sum(n for _, n in taken)
        seen = LetThrough(
            requests=requests,
            calls=calls,
            factor=limits.part(requests, calls),
            slowest=limits.slowest,
            oldest=min((at for at, _ in taken), default=now),
            since_last_no=before is not None and any(at > before.at for at, _ in taken),
        )
        throttle = after_no(before, no, seen, now, back_off)
        self.bucket = replace(self.bucket, throttle=throttle)
        return throttle


def now() -> float:
    """Return the journal's own time, from the loop's."""
    return EPOCH + asyncio.get_running_loop().time()


@dataclass
class SharedTokens:
    """`limiter.Tokens` out of memory; a lease takes `latency` seconds."""

    shared: Shared
    ask: Ask
    latency: float = 0.0

    async def lease(self, wants: Sequence[int], delay: float) -> Lease:
        """See `Tokens`."""
        headroom = self.ask.headroom + 2 * delay
        await asyncio.sleep(self.latency / 2)
        lease = self.shared.lease(replace(self.ask, wants=wants, headroom=headroom), now())
        await asyncio.sleep(self.latency / 2)
        return lease

    async def said_no(self, no: No, back_off: BackOff) -> Throttle:
        """See `Tokens`."""
        return self.shared.said_no(no, back_off, self.ask.limits, now())

    async def leave(self) -> None:
        """See `Tokens`."""
        self.shared.senders.pop(self.ask.owner, None)


@dataclass
class Process:
    """One process that sends: its workers wait for slots and use them."""

    limits: Limits
    run: int = 1
    weight: float = 1.0
    headroom: float = 0.5
    ramp: float = 0.0
    endpoint: str = "bulk"
    workers: int = 8
    sizes: Sequence[int] = (500,)
    """The calls of its batches, over and over."""
    latency: float = 0.004
    """Seconds that a lease takes."""
    busy: float = 0.05
    """Seconds that a worker takes for a request."""
    dawdle: float = 0.0
    """Up to so much of a slot's life passes before it is used."""
    way: float = 0.0
    """Up to so many seconds pass between leaving and arriving."""
    kill_every: float | None = None
    rest: float = 0.0
    """Seconds for which it stays dead."""


Arrivals = list[tuple[float, int, int]]
"""(when it arrived, calls, run) of each request, as the server counts."""


def simulate(processes: Sequence[Process], seconds: float, seed: int = 1) -> Arrivals:
    """Have processes send as fast as they may for so long; return what arrived, in order."""
    return run_virtual(_simulate(processes, seconds, seed))


async def _simulate(processes: Sequence[Process], seconds: float, seed: int) -> Arrivals:
    shared, arrivals = Shared(), Arrivals()

    async def live_all() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, process in enumerate(processes):
                chance = Random(seed * 1000 + number)  # noqa: S311 - it is to be the same again
                tasks.create_task(_live(shared, process, number, chance, arrivals))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(live_all(), seconds)
    return sorted(arrivals)


async def _live(
    shared: Shared, process: Process, number: int, chance: Random, arrivals: Arrivals
) -> None:
    lives = 0
    while True:
        lives += 1
        owner = f"{number}:{lives}"
        living = asyncio.create_task(_send(shared, process, owner, chance, arrivals))
        if process.kill_every is None:
            await living
        try:
            await asyncio.wait([living], timeout=process.kill_every)
        finally:
            living.cancel()
            await asyncio.wait([living])
        await asyncio.sleep(process.rest)


async def _send(
    shared: Shared, process: Process, owner: str, chance: Random, arrivals: Arrivals
) -> None:
    ask = Ask(
        "default",
        process.endpoint,
        owner,
        process.run,
        process.weight,
        process.limits,
        process.headroom,
        process.ramp,
    )
    # Killed, not ended: nothing is told to the others, so the limiter is not left in order.
    limiter = Limiter(SharedTokens(shared, ask, process.latency), now)
    serving = asyncio.create_task(limiter._serve())
    try:
        async with asyncio.TaskGroup() as workers:
            for worker in range(process.workers):
                workers.create_task(_work(limiter, process, worker, chance, arrivals))
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def _work(
    limiter: Limiter, process: Process, worker: int, chance: Random, arrivals: Arrivals
) -> None:
    loop, turn = asyncio.get_running_loop(), worker
    while True:
        calls = process.sizes[turn % len(process.sizes)]
        turn += process.workers
        slot = await limiter.acquire(calls)
        await asyncio.sleep(chance.random() * process.dawdle)
        if limiter.stale(slot):
            continue
        arrivals.append((loop.time() + chance.random() * process.way, calls, process.run))
        await asyncio.sleep(process.busy)


def worst(arrivals: Arrivals, seconds: float = WINDOW) -> tuple[int, int]:
    """Return the most requests and the most calls in any window of so many seconds."""
    moments = [at for at, _, _ in arrivals]
    requests = calls = 0
    sums = [0]
    for _, n, _ in arrivals:
        sums.append(sums[-1] + n)
    for start, moment in enumerate(moments):
        # Windows are half open; a hair less, for sums of floats.
        stop = bisect_left(moments, moment + seconds - 1e-6)
        requests = max(requests, stop - start)
        calls = max(calls, sums[stop] - sums[start])
    return requests, calls


def minutes(arrivals: Arrivals, seconds: float, *, of_calls: bool = False) -> list[int]:
    """Return what arrived in each full minute."""
    used = [0] * int(seconds // WINDOW)
    for at, calls, _ in arrivals:
        if at < len(used) * WINDOW:
            used[int(at // WINDOW)] += calls if of_calls else 1
    return used
