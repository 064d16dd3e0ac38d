"""How an endpoint is held back after it said "too many"; and how that ends near the true limit."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slots import EPOCH, Shared, SharedTokens, now
from virtual_time import run_virtual

from phonon_bulk.limiter import Limiter
from phonon_bulk.schedule import Ask, Limits
from phonon_bulk.throttle import (
    CLIMB,
    LONGEST_RETRY_AFTER,
    STAY,
    BackOff,
    LetThrough,
    No,
    Throttle,
    advice,
    after_no,
)

WAIT = BackOff(1.0, 60.0, chance=1.0)
FULL = LetThrough(500, 500, factor=0.9, slowest=1e-6, oldest=EPOCH - 50, since_last_no=True)


def no(sent_at: float = EPOCH, retry_after: float | None = None) -> No:
    """Return an answer that says "too many"."""
    return No(sent_at, retry_after, "HTTP 429: too many requests")


def test_the_rate_is_halved() -> None:
    """At once, and the endpoint rests for a back-off."""
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    assert held.at_time(EPOCH) == 0.5
    assert held.rest_until == EPOCH + 1.0


def test_it_rests_as_long_as_it_was_told() -> None:
    """Retry-After goes over the back-off, up to an hour."""
    assert after_no(None, no(retry_after=7), FULL, EPOCH, WAIT).rest_until == EPOCH + 7
    long = after_no(None, no(retry_after=1e9), FULL, EPOCH, WAIT)
    assert long.rest_until == EPOCH + LONGEST_RETRY_AFTER


def test_requests_under_way_together_count_once() -> None:
    """Thirty that were told no at once do not halve the rate thirty times."""
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    for n in range(30):
        held = after_no(held, no(EPOCH - n / 100), FULL, EPOCH + 0.1, WAIT)
    assert held.factor == 0.5
    longer = after_no(held, no(EPOCH, retry_after=20), FULL, EPOCH + 0.1, WAIT)
    assert (longer.factor, longer.rest_until) == (0.5, EPOCH + 20.1)


def test_it_grows_back_slowly() -> None:
    """In half a minute to what was let through, there it stays, then it doubles each minute."""
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    assert held.at_time(EPOCH + CLIMB / 2) == pytest.approx(0.7)
    assert held.at_time(EPOCH + CLIMB) == pytest.approx(0.9)
    assert held.at_time(EPOCH + CLIMB + STAY) == pytest.approx(0.9)
    assert held.at_time(EPOCH + CLIMB + STAY + 60) == 1.0


def test_it_stays_longer_after_each_no() -> None:
    """Near the true limit, a no in many minutes is the price of knowing that it stands."""
    held, at = after_no(None, no(), FULL, EPOCH, WAIT), EPOCH
    for stay in (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 960.0):
        at += CLIMB
        held = after_no(held, no(at), FULL, at, WAIT)
        assert held.at_time(at + CLIMB + stay) == pytest.approx(0.9)
        assert held.at_time(at + CLIMB + stay + 5) > 0.9


def test_the_back_off_doubles_while_nothing_is_let_through() -> None:
    """Each no in a row; but what was let through leaves its minute, and then it is asked again."""
    nothing = replace(FULL, requests=0, calls=0, factor=0.0, since_last_no=False)
    held, at, rests = after_no(None, no(), nothing, EPOCH, WAIT), EPOCH, []
    for _ in range(7):
        at = held.rest_until + 0.01
        held = after_no(held, no(at), nothing, at, WAIT)
        rests.append(round(held.rest_until - at))
    assert rests == [2, 4, 8, 16, 32, 60, 60]
    seen = replace(FULL, oldest=EPOCH - 50, since_last_no=False)
    held = after_no(replace(held, at=EPOCH - 1, rest_until=0.0), no(), seen, EPOCH, WAIT)
    assert held.rest_until == EPOCH + 10


def test_a_long_outage_forgets_nothing() -> None:
    """A provider that says no to all for minutes is soon sent again what it took before."""
    nothing = replace(FULL, requests=0, calls=0, factor=0.0, since_last_no=False)
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    for _ in range(20):
        at = held.rest_until + 0.01
        held = after_no(held, no(at), nothing, at, WAIT)
    assert held.factor <= 0.45
    assert held.at_time(held.at + CLIMB) == pytest.approx(0.9)


@given(
    st.lists(
        st.tuples(st.floats(0.01, 4000), st.floats(0, 1.5), st.booleans()), min_size=1, max_size=20
    ),
    st.floats(0, 1),
)
def test_the_factor_is_one(noes: list[tuple[float, float, bool]], chance: float) -> None:
    """Law: whatever happens, it is above 0 and at most 1, is halved by a no, and then grows."""
    held: Throttle | None = None
    at = EPOCH
    for pause, factor, let in noes:
        at = max(at + pause, 0.0 if held is None else held.rest_until + 0.01)
        before = 1.0 if held is None else held.at_time(at)
        seen = LetThrough(5, 50, factor, 1e-6, at - 60, let)
        held = after_no(held, no(at), seen, at, BackOff(1, 60, chance))
        assert 0 < held.factor <= max(before / 2, 1e-6)
        assert held.rest_until > at
        growing = [held.at_time(at + seconds) for seconds in range(0, 4000, 50)]
        assert growing == sorted(growing)
        assert growing[-1] <= 1.0


def test_an_hour_of_noes() -> None:
    """However often it says no, the figures stay figures."""
    held, at = after_no(None, no(), FULL, EPOCH, WAIT), EPOCH
    for _ in range(3000):
        at = held.rest_until + 0.01
        held = after_no(held, no(at, retry_after=1), FULL, at, WAIT)
    assert held.noes > 1100
    assert 0 < held.at_time(at + 5000) <= 1


def test_what_left_before_all_had_heard_counts_as_one() -> None:
    """Another process may send for a moment more; that is no second no in a row."""
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    late = after_no(held, no(EPOCH + 0.4), FULL, EPOCH + 0.5, WAIT)
    assert (late.factor, late.in_a_row) == (0.5, 1)


def test_a_no_of_another_day_is_forgotten() -> None:
    """The first of the morning is a first one, whatever came of the last of the night."""
    nothing = replace(FULL, requests=0, calls=0, factor=0.0, since_last_no=False)
    held = after_no(None, no(), FULL, EPOCH, WAIT)
    for _ in range(8):
        at = held.rest_until + 0.01
        held = after_no(held, no(at), nothing, at, WAIT)
    morning = EPOCH + 8 * 3600
    held = after_no(held, no(morning), replace(FULL, since_last_no=False), morning, WAIT)
    assert (held.factor, held.in_a_row, held.rest_until) == (0.5, 1, morning + 1)


HELD = Throttle(EPOCH, 0.002, 0.002, 60, 30_000, 2, 1, EPOCH, "HTTP 429")


@pytest.mark.parametrize(
    ("held", "requests", "calls", "setting"),
    [
        (HELD, 30_000, None, "calls_per_minute = 30000"),
        (replace(HELD, calls=14_873), 30_000, None, "calls_per_minute = 15000"),
        (replace(HELD, calls=14_873, noes=1), 30_000, None, None),
        (HELD, 30_000, 60_000, None),
        (HELD, 100, None, None),
        (replace(HELD, calls=60), 30_000, None, None),
        (replace(HELD, requests=0, calls=0), 30_000, None, None),
        (HELD, None, None, None),
    ],
)
def test_the_setting_to_change(
    held: Throttle, requests: int | None, calls: int | None, setting: str | None
) -> None:
    """It is named where what was let through is far below what is set, and not otherwise."""
    said = advice(held, requests, calls, "bulk")
    assert said is None if setting is None else f"set endpoints.bulk.{setting}" in (said or "")


@dataclass
class Account:
    """A provider that counts calls in any 60 seconds, and says no beyond."""

    limit: int
    taken: deque[tuple[float, int]] = field(default_factory=deque)
    noes: int = 0

    def take(self, calls: int) -> bool:
        """Say whether it takes one more request."""
        while self.taken and self.taken[0][0] <= now() - 60:
            self.taken.popleft()
        if sum(n for _, n in self.taken) + calls > self.limit:
            self.noes += 1
            return False
        self.taken.append((now(), calls))
        return True


@pytest.mark.parametrize(("sizes", "part"), [((500,), 0.95), ((500, 20, 310), 0.7)])
def test_it_settles_near_the_true_limit(sizes: tuple[int, ...], part: float) -> None:
    """The account counts calls where the settings say requests: a minute later it has settled."""
    minutes, advised, noes = run_virtual(send_to(Account(30_000), sizes, 300))
    assert "set endpoints.bulk.calls_per_minute = 30000" in advised
    for used in minutes[1:]:
        assert part * 30_000 <= used <= 30_000
    assert noes < 40


async def send_to(
    account: Account, sizes: tuple[int, ...], seconds: float
) -> tuple[list[int], str, int]:
    """Send by settings that say 30,000 requests; return the calls taken in each minute."""
    shared, minutes = Shared(), [0] * int(seconds // 60)
    limits = Limits(requests=30_000)
    ask = Ask("default", "bulk", "a", 1, 1.0, limits, headroom=0.5, ramp=3.0)
    probe = asyncio.Lock()
    resting = EPOCH

    async def work(slots: Limiter, number: int) -> None:
        nonlocal resting
        turn = number
        while True:
            calls = sizes[turn % len(sizes)]
            async with probe:  # as dispatch/health.py has it
                await asyncio.sleep(max(0.0, resting - now()))
            await slots.acquire(calls)
            sent_at = now()
            await asyncio.sleep(0.02)
            if account.take(calls):
                turn += 1
                shared.taken.append((sent_at, calls))
                if now() - EPOCH < 60 * len(minutes):
                    minutes[int((now() - EPOCH) // 60)] += calls
            else:
                rest = await slots.said_no(no(sent_at), WAIT)
                resting = now() + rest

    async def work_all() -> None:
        async with Limiter(SharedTokens(shared, ask), now) as slots, asyncio.TaskGroup() as tasks:
            for number in range(16):
                tasks.create_task(work(slots, number))

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work_all(), seconds)
    held = shared.bucket.throttle
    assert held is not None
    return minutes, advice(held, 30_000, None, "bulk") or "", account.noes
