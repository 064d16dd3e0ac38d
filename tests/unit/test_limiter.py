"""What one process does with its slots, in virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from slots import EPOCH, Shared, SharedTokens, now
from virtual_time import run_virtual

from phonon_bulk.errors import JournalError
from phonon_bulk.limiter import LOOK_AGAIN, Limiter
from phonon_bulk.schedule import Ask, Lease, Limits
from phonon_bulk.throttle import BackOff, No


def ask(limits: Limits, **more: object) -> Ask:
    """Return the ask of one process."""
    values = {"headroom": 0.5, "ramp": 0.0, **more}
    return Ask("default", "bulk", "a", 1, 1.0, limits, **values)  # type: ignore[arg-type]


def limiter(limits: Limits, shared: Shared | None = None, latency: float = 0.0) -> Limiter:
    """Return a limiter over a schedule in memory."""
    return Limiter(SharedTokens(shared or Shared(), ask(limits), latency), now)


async def order_of(limits: Limits, sizes: Sequence[int]) -> list[tuple[float, int]]:
    """Have requests of these sizes wait all at once; return (second, calls) as they were let go."""
    let_go: list[tuple[float, int]] = []

    async def one(calls: int, slots: Limiter) -> None:
        await slots.acquire(calls)
        let_go.append((now() - EPOCH, calls))

    async with limiter(limits) as slots, asyncio.TaskGroup() as tasks:
        for calls in sizes:
            tasks.create_task(one(calls, slots))
    return let_go


def test_first_come_first_served() -> None:
    """A heavy batch does not starve behind small ones that came later."""
    sizes = [500, 1, 500, 1, 1, 500, 2]
    assert [n for _, n in run_virtual(order_of(Limits(500, 1000), sizes))] == sizes


def test_no_limit_waits_for_nothing() -> None:
    """Without limits nobody waits, and the journal is not asked for each request."""

    async def main() -> tuple[float, int]:
        shared = Shared()
        async with limiter(Limits(), shared) as slots:
            for _ in range(1000):
                await slots.acquire(500)
        return now() - EPOCH, shared.leases

    seconds, leases = run_virtual(main())
    assert seconds < 0.1
    assert leases == 1


def test_a_slot_grows_stale() -> None:
    """A slot that lay about for 0.6 of the headroom may no longer be used."""

    async def main() -> tuple[bool, bool]:
        async with limiter(Limits(600)) as slots:
            slot = await slots.acquire(1)
            fresh = slots.stale(slot)
            await asyncio.sleep(0.31)
            return fresh, slots.stale(slot)

    assert run_virtual(main()) == (False, True)


def test_single_calls_leave_at_once_after_a_quiet_spell() -> None:
    """Five may leave together in real time, the others at the pace of the limit; none in bulk."""

    async def main(endpoint: str) -> list[float]:
        left: list[float] = []

        async def one(slots: Limiter) -> None:
            await slots.acquire(1)
            left.append(now() - EPOCH - 100)

        asking = replace(ask(Limits(500)), endpoint=endpoint)
        async with Limiter(SharedTokens(Shared(), asking), now) as slots:
            await asyncio.sleep(98)
            await slots.acquire(1)
            await asyncio.sleep(2)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(one(slots))
        return left

    single, bulk = run_virtual(main("realtime")), run_virtual(main("bulk"))
    assert sum(moment < 0.02 for moment in single) >= 5
    assert single[-1] == pytest.approx(2 * 0.122, abs=0.13)
    assert sum(moment < 0.02 for moment in bulk) <= 2


def test_who_needs_another_slot_comes_first() -> None:
    """A request whose slot grew stale on its way does not go to the end of the queue."""

    async def main() -> list[str]:
        done: list[str] = []

        async def one(name: str, slots: Limiter, *, again: bool = False) -> None:
            await slots.acquire(1, again=again)
            done.append(name)

        async with limiter(Limits(60)) as slots, asyncio.TaskGroup() as tasks:
            await slots.acquire(1)
            for name in "abc":
                tasks.create_task(one(name, slots))
            await asyncio.sleep(0.1)
            tasks.create_task(one("again", slots, again=True))
        return done

    assert run_virtual(main()) == ["again", "a", "b", "c"]


def test_who_gives_up_costs_the_others_nothing() -> None:
    """A cancelled wait leaves the queue; a slot that came for it goes to the next."""

    async def main() -> float:
        async with limiter(Limits(60), latency=0.2) as slots:
            await slots.acquire(1)
            given_up = asyncio.create_task(slots.acquire(1))
            await asyncio.sleep(0.95)  # its slot is on its way
            given_up.cancel()
            await slots.acquire(1)
            return now() - EPOCH

    assert run_virtual(main()) < 1.5


def test_overdue_slots_are_spread() -> None:
    """What a slow lease brings too late does not leave in one burst."""

    async def main() -> list[float]:
        moments: list[float] = []

        async def one(slots: Limiter) -> None:
            await slots.acquire(1)
            moments.append(now() - EPOCH)

        async with (
            limiter(Limits(30_000), latency=0.2) as slots,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(500):
                tasks.create_task(one(slots))
        return moments

    moments = run_virtual(main())
    most = max(sum(at <= other < at + 0.002 for other in moments) for at in moments)
    assert most <= 40 + 4 + 1  # what may leave at once, and four times the rate


class Broken(SharedTokens):
    """A journal that can't be written."""

    async def lease(self, wants: Sequence[int], delay: float) -> Lease:
        """Fail."""
        raise JournalError(f"disk full, {len(wants)} wait for {delay}")


def test_a_journal_that_fails_is_heard_by_all_who_wait() -> None:
    """Nobody waits for ever, and the next who asks hears it too."""

    async def main() -> list[BaseException | float]:
        async with Limiter(Broken(Shared(), ask(Limits(600))), now) as slots:
            first = await asyncio.gather(
                *(slots.acquire(1) for _ in range(3)), return_exceptions=True
            )
            return [*first, *await asyncio.gather(slots.acquire(1), return_exceptions=True)]

    heard = run_virtual(main())
    assert len(heard) == 4
    assert all(isinstance(error, JournalError) for error in heard)


def test_whoever_waits_hears_of_any_fault() -> None:
    """Also of one that is our own: nobody waits for ever, and the next one is served."""

    async def main() -> list[BaseException | float]:
        async with limiter(Limits(600)) as slots:
            give, slots._give = slots._give, None  # type: ignore[method-assign, assignment]
            heard = await asyncio.gather(slots.acquire(1), return_exceptions=True)
            slots._give = give  # type: ignore[method-assign]
            return [*heard, await slots.acquire(1)]

    first, second = run_virtual(main())
    assert isinstance(first, TypeError)
    assert isinstance(second, float)


def test_a_change_is_known_in_time() -> None:
    """Who waits half a minute for a slot looks again, and finds a limit that was raised."""

    async def main() -> float:
        shared = Shared()
        async with limiter(Limits(2), shared) as slots:
            await slots.acquire(1)
            waiting = asyncio.create_task(slots.acquire(1))
            await asyncio.sleep(3)
            from dataclasses import replace

            shared.bucket = replace(shared.bucket, ordered=Limits(requests=6000))
            began = now()
            await waiting
            return now() - began

    assert run_virtual(main()) <= LOOK_AGAIN + 0.1


def test_all_rest_when_one_was_told_no() -> None:
    """After "too many" no process gets a slot before the rest is over; then at half the rate."""

    async def main() -> tuple[float, Limits]:
        shared = Shared()
        async with limiter(Limits(6000), shared) as slots:
            await slots.acquire(1)
            shared.taken.append((now(), 1))
            rest = await slots.said_no(No(now(), 7.0, "HTTP 429"), BackOff(1, 60, 1.0))
            assert rest == pytest.approx(7.0)
            other = Limiter(SharedTokens(shared, ask(Limits(6000))), now)
            async with other:
                began = now()
                await other.acquire(1)
                assert other.rate is not None
                return now() - began, other.rate.present

    waited, present = run_virtual(main())
    assert waited >= 6.9
    assert present.requests is not None
    assert 3000 <= present.requests < 4000
