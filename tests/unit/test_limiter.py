"""The token bucket, in virtual time."""

import asyncio
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual

from phonon_bulk.limiter import SLACK, WINDOW, Limiter, rate

Grants = list[tuple[float, int]]


async def take(limiter: Limiter, work: list[tuple[float, int]]) -> Grants:
    """Ask for tokens as `work` says (pause before, calls); return (moment, calls) as granted."""
    grants: Grants = []

    async def one(calls: int) -> None:
        grants.append((await limiter.acquire(calls), calls))

    async with asyncio.TaskGroup() as tasks:
        for pause, calls in work:
            await asyncio.sleep(pause)
            tasks.create_task(one(calls))
    return grants


def worst(grants: Grants, window: float) -> tuple[int, int]:
    """Return the most requests and the most calls in any window of so many seconds."""
    moments = [moment for moment, _ in grants]
    requests = calls = 0
    for start, moment in enumerate(moments):
        # Windows are half open; a hair less, for sums of floats.
        stop = bisect_left(moments, moment + window - 1e-6)
        requests = max(requests, stop - start)
        calls = max(calls, sum(n for _, n in grants[start:stop]))
    return requests, calls


@settings(max_examples=60)
@given(
    limit=st.integers(10, 600),
    pattern=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0, 30.0]), st.integers(1, 500)),
        min_size=1,
        max_size=12,
    ),
    repeats=st.integers(20, 200),
    calls_limit=st.one_of(st.none(), st.integers(1000, 40_000)),
)
def test_no_window_exceeds(
    limit: int, pattern: Grants, repeats: int, calls_limit: int | None
) -> None:
    """Law: whatever comes when, no 60 seconds (and slack) hold more than either limit."""
    work = pattern * repeats
    grants = run_virtual(take_all(limit, calls_limit, work))
    requests, calls = worst(grants, WINDOW + SLACK)
    assert requests <= limit
    assert calls_limit is None or calls <= calls_limit
    assert len(grants) == len(work)


async def take_all(limit: int, calls_limit: int | None, work: Grants) -> Grants:
    """Take tokens from a new limiter."""
    return await take(Limiter(limit, calls_limit), work)


@pytest.mark.parametrize("limit", [500, 30_000])
def test_the_limit_is_filled(limit: int) -> None:
    """With enough work, at least 98 % of the limit is used in every full minute."""
    grants = run_virtual(take_all(limit, None, [(0.0, 500)] * (2 * limit)))
    last = grants[-1][0]
    for minute in range(int(last // WINDOW)):
        used = sum(minute * WINDOW <= moment < (minute + 1) * WINDOW for moment, _ in grants)
        assert 0.98 * limit <= used <= limit


def test_it_starts_empty() -> None:
    """A restart adds no burst: the first token comes after its time, not at once."""
    grants = run_virtual(take_all(600, None, [(0.0, 1)]))
    assert grants[0][0] == pytest.approx(1 / rate(600, 1), rel=0.01)


def test_first_come_first_served() -> None:
    """A heavy batch does not starve behind small ones that came later."""
    work = [(0.0, 500), (0.0, 1), (0.0, 500), (0.0, 1), (0.0, 1)]
    grants = run_virtual(take_all(500, 1000, work))
    assert [calls for _, calls in grants] == [500, 1, 500, 1, 1]


def test_no_limit_waits_for_nothing() -> None:
    """Without limits, tokens are granted at once."""
    grants = run_virtual(take(Limiter(None), [(0.0, 500)] * 1000))
    assert grants[-1][0] == 0.0


@pytest.mark.parametrize(("requests", "calls"), [(1, None), (500, 999), (2, 2000)])
def test_a_limit_too_small_to_send_under(requests: int, calls: int | None) -> None:
    """A limit under which nothing could ever go out is an error, not a run that hangs."""
    with pytest.raises(ValueError, match="too small"):
        Limiter(requests, calls)


def test_a_grant_grows_stale() -> None:
    """A token that lay about for half the slack may no longer be used."""

    async def main() -> tuple[bool, bool]:
        limiter = Limiter(600)
        granted = await limiter.acquire(1)
        fresh = limiter.stale(granted)
        await asyncio.sleep(SLACK)
        return fresh, limiter.stale(granted)

    assert run_virtual(main()) == (False, True)
