"""The worst 60 seconds, against the limits that were in force then."""

from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.journal import LimitChange
from phonon_bulk.journal.evidence import Post
from phonon_bulk.report.windows import Window, to_text, worst_windows
from phonon_bulk.schedule import Limits

T = 1_795_400_000.0


def posts(*moments: float, calls: int = 500) -> list[Post]:
    """Return requests at these seconds."""
    return [Post("default", "bulk", T + at, T + at, calls) for at in moments]


def change(at: float, requests: int | None = None, calls: int | None = None) -> LimitChange:
    """Return what was in force from a second on."""
    return LimitChange("default", "bulk", T + at, T + at, Limits(requests, calls), "settings")


def worst(
    sent: list[Post], *changes: LimitChange, settings: Limits | None = None
) -> dict[str, Window]:
    """Return the worst window by unit."""
    found = worst_windows(sent, changes, lambda _endpoint: settings or Limits())
    return {window.unit: window for window in found}


def test_a_window_is_any_sixty_seconds() -> None:
    """Not whole minutes; and what is sixty seconds apart does not share one."""
    found = worst(posts(50, 55, 65, 70, 115), change(0, requests=4))
    assert (found["requests"].most, found["requests"].begins) == (4, T + 50)
    assert not found["requests"].over
    assert worst(posts(50, 55, 65, 109.9), change(0, requests=3))["requests"].over
    assert worst(posts(0, 60), change(0, requests=1))["requests"].most == 1


def test_both_units() -> None:
    """Calls are counted beside requests."""
    found = worst(posts(1, 2, 3), change(0, requests=3, calls=1499))
    assert not found["requests"].over
    assert (found["calls"].most, found["calls"].over) == (1500, True)
    assert "BROKEN  bulk (default): at most 1,500 calls of 1,499 (100.1%)" in to_text(
        list(found.values())
    )


def test_the_limit_of_then() -> None:
    """What was allowed when it was sent is no fault because less is allowed now."""
    sent = posts(*range(50), 200, 201)
    assert not worst(sent, change(-10, requests=50), change(100, requests=2))["requests"].over
    late = worst(
        posts(*range(50), 200, 201, 202), change(-10, requests=50), change(100, requests=2)
    )
    assert (late["requests"].over, late["requests"].most) == (True, 3)


def test_the_higher_of_two_limits_within_a_window() -> None:
    """Sixty seconds in which a limit was lowered may hold what the higher one allowed."""
    sent = posts(*range(24))
    assert not worst(sent, change(-10, requests=30), change(20, requests=5))["requests"].over
    assert not worst(sent, change(-10), change(20, requests=5))["requests"].over


def test_windows_that_begin_with_a_change() -> None:
    """Too much after a limit was lowered is found, though just before it more was allowed."""
    lowered = (change(-10, requests=6000), change(0, requests=4))
    sent = posts(-5, *(1.5 + n / 1000 for n in range(50)))
    assert worst(sent, *lowered)["requests"].over
    assert not worst(posts(-5, *(0.5 + n / 1000 for n in range(50))), *lowered)["requests"].over


def test_settings_stand_in_for_what_is_not_recorded() -> None:
    """A journal of an older version knows no limits."""
    assert worst(posts(1, 2), settings=Limits(requests=1))["requests"].over


def test_endpoints_are_apart() -> None:
    """Each has its own count."""
    both = [*posts(1), Post("default", "realtime", T + 2, T + 2, 1)]
    found = worst_windows(both, [], lambda _endpoint: Limits(requests=1))
    assert [(w.endpoint, w.unit, w.most) for w in found] == [
        ("bulk", "requests", 1),
        ("bulk", "calls", 500),
        ("realtime", "requests", 1),
        ("realtime", "calls", 1),
    ]


def test_nothing_was_sent() -> None:
    """Then it says so."""
    assert to_text(worst_windows([], [], lambda _endpoint: Limits())) == "nothing was sent"


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 500)), min_size=1, max_size=60))
def test_against_counting_each_window_by_itself(sent: list[tuple[int, int]]) -> None:
    """Law: it is the most of all windows that begin with a request."""
    made = [Post("default", "bulk", T + at / 10, T, calls) for at, calls in sorted(sent)]
    found = worst(made)
    counts = [
        [post.calls for post in made if first.at <= post.at < first.at + 60] for first in made
    ]
    assert found["requests"].most == max(map(len, counts))
    assert found["calls"].most == max(map(sum, counts))
