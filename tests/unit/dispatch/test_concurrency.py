"""How many workers a run has: enough for the rate and the latency, and no more for nothing."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.dispatch.concurrency import Concurrency, Seen

FIRST, MOST = 32, 512
LOOK_EVERY = 0.25


@dataclass
class Provider:
    """Answers after `latency` seconds, `capacity` a second at most; `limit` may be sent."""

    latency: float
    capacity: float = math.inf
    limit: float = math.inf
    work: float = math.inf
    """Requests a second that there are to be sent."""

    def rate(self, workers: int) -> float:
        """Return how many are answered in a second."""
        return min(workers / self.latency, self.capacity, self.limit, self.work)

    def after(self, seen: Seen, workers: int, seconds: float) -> Seen:
        """Return what is seen some time later."""
        rate = self.rate(workers)
        idle = workers - rate * self.latency
        waiting = idle if rate == self.limit else 0.0
        # What the provider can't answer at once waits with the provider.
        posting = workers if rate == self.capacity else rate * self.latency
        return Seen(
            seen.at + seconds,
            seen.answered + round(rate * seconds),
            seen.posting + posting * seconds,
            seen.waiting + waiting * seconds,
        )


def found(provider: Provider, seconds: float, first: int = FIRST, most: int = MOST) -> list[int]:
    """Return how many workers there were at each look."""
    seen, workers = Seen(1_000.0), [first]
    concurrency = Concurrency(seen, first, most)
    for _ in range(int(seconds / LOOK_EVERY)):
        seen = provider.after(seen, workers[-1], LOOK_EVERY)
        workers.append(concurrency.look(seen))
    return workers


@pytest.mark.parametrize(
    ("milliseconds", "workers"),
    [(1, 32), (20, 32), (50, 32), (64, 64), (100, 64), (200, 128), (500, 512), (1000, 512)],
)
def test_as_many_as_the_limit_and_the_latency_take(milliseconds: int, workers: int) -> None:
    """At 30,000 a minute: rate x latency, and what is left waits for slots."""
    provider = Provider(milliseconds / 1000, limit=500.0)
    assert found(provider, 60)[-1] == workers
    assert provider.rate(workers) == pytest.approx(500.0)


def test_it_does_not_take_long() -> None:
    """Half a second until an answer: the limit is full within ten seconds."""
    provider = Provider(0.5, limit=500.0)
    assert provider.rate(found(provider, 10)[-1]) == 500.0


@given(latency=st.floats(0.001, 10), limit=st.floats(1, 500))
def test_any_limit_is_filled(latency: float, limit: float) -> None:
    """Or as many workers as may be are at work."""
    provider = Provider(latency, limit=limit)
    workers = found(provider, 3_000 * latency + 60)[-1]
    # Two workers of a hundred may be missing: what waits for slots can't be told from chance.
    assert provider.rate(workers) >= 0.98 * min(limit, MOST / latency)


@given(
    latency=st.floats(0.001, 10),
    capacity=st.floats(1, 2_000),
    limit=st.floats(1, 2_000),
    work=st.floats(0, 2_000),
)
def test_never_fewer_than_first_nor_more_than_may_be(
    latency: float, capacity: float, limit: float, work: float
) -> None:
    """Whatever the provider does."""
    workers = found(Provider(latency, capacity, limit, work), 100)
    assert set(workers) <= {FIRST * 2**n for n in range(5)}


@given(capacity=st.floats(33, 1_000))
def test_more_that_bring_nothing_go_again(capacity: float) -> None:
    """Where the processor or the provider is what holds, they are tried once a minute."""
    workers = found(Provider(0.001, capacity), 600)
    assert max(workers) == 2 * FIRST
    assert workers.count(FIRST) >= 0.8 * len(workers)


@given(latency=st.floats(0.001, 10), work=st.floats(1, 20))
def test_a_list_that_comes_slowly_takes_no_more(latency: float, work: float) -> None:
    """Who has nothing to send is not short of workers."""
    provider = Provider(latency, work=min(work, 20 / latency))
    assert set(found(provider, 100)) == {FIRST}


@pytest.mark.parametrize("fixed", [1, 7, 32, 1000])
def test_a_number_that_is_set_holds(fixed: int) -> None:
    """However long the provider takes."""
    assert set(found(Provider(1.0, limit=500.0), 60, fixed, fixed)) == {fixed}


def test_answers_to_the_first_of_more_workers_come_late() -> None:
    """With 32, 8 a second after 4 seconds; with 64, so many at first, and then twice as many."""
    seen = Seen(0.0)
    concurrency = Concurrency(seen, FIRST, MOST)
    sizes = []
    for second in range(1, 20):
        workers = concurrency.workers
        rate = 8 if second <= 12 else 16
        seen = Seen(float(second), seen.answered + rate, seen.posting + workers)
        sizes.append(concurrency.look(seen))
    assert sizes[6:8] == [32, 64]
    assert sizes[-1] == 128


def test_a_provider_that_hangs_brings_no_more() -> None:
    """Nothing is answered for half a minute, five times; then all is as before."""
    quick, seen, workers = Provider(0.02, limit=500.0), Seen(0.0), FIRST
    concurrency = Concurrency(seen, FIRST, MOST)
    for _ in range(5):
        for _ in range(120):
            seen = quick.after(seen, workers, LOOK_EVERY)
            workers = concurrency.look(seen)
            assert workers == FIRST
        seen = seen._replace(at=seen.at + 30)
        assert concurrency.look(seen) == FIRST


def test_it_follows_a_provider_that_grows_slower() -> None:
    """20 ms at first, then 300 ms, then as before."""
    quick, slow = Provider(0.02, limit=500.0), Provider(0.3, limit=500.0)
    seen, workers = Seen(0.0), FIRST
    concurrency = Concurrency(seen, FIRST, MOST)
    for provider, enough in ((quick, 32), (slow, 256), (quick, 32)):
        for _ in range(120):
            seen = provider.after(seen, workers, LOOK_EVERY)
            workers = concurrency.look(seen)
        assert workers == enough
