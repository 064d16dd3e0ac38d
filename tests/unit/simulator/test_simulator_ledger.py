"""The books, and the law of the sliding window."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.simulator.ledger import WINDOW, Arrival, Ledger, Outcome, Window
from phonon_bulk.simulator.options import Endpoint, Limits

REQUEST_ID = "c46e46f4-dc58-4839-9483-f7dd9aac28a0"

# Quarters of seconds are exact in binary, so that 60 seconds apart is 60 seconds apart.
_GAPS = st.integers(0, 120).map(lambda quarters: quarters / 4)
_TRAFFIC = st.lists(st.tuples(_GAPS, st.integers(0, 12)), max_size=60)
_LIMIT = st.one_of(st.none(), st.integers(1, 20))


@dataclass
class _Sent:
    at: float
    calls: int
    let_through: bool = False


def _arrivals(traffic: list[tuple[float, int]]) -> list[_Sent]:
    now, arrivals = 1_795_460_400.0, []
    for gap, calls in traffic:
        now += gap
        arrivals.append(_Sent(now, calls))
    return arrivals


def _within(arrivals: list[_Sent], end: float) -> tuple[int, int]:
    """Count requests and calls that came less than 60 seconds before `end`, the plain way."""
    calls = [one.calls for one in arrivals if 0 <= end - one.at < WINDOW]
    return len(calls), sum(calls)


def _fits(amount: int, limit: int | None) -> bool:
    return limit is None or amount <= limit


@given(traffic=_TRAFFIC, requests=_LIMIT, calls=_LIMIT)
def test_the_window_holds_the_limit_and_refuses_nothing_below_it(
    traffic: list[tuple[float, int]], requests: int | None, calls: int | None
) -> None:
    """The law: never more than the limit in any 60 seconds, and never less than it allows."""
    limits, window, arrivals = Limits(requests, calls), Window(), _arrivals(traffic)
    passed: list[_Sent] = []
    for one in arrivals:
        used_requests, used_calls = _within(passed, one.at)
        room = _fits(used_requests + 1, requests) and _fits(used_calls + one.calls, calls)
        assert (window.wait(one.at, one.calls, limits) == 0) is room
        if room:
            window.add(one.at, one.calls)
            passed.append(one)
    for one in passed:
        used_requests, used_calls = _within(passed, one.at)
        assert _fits(used_requests, requests)
        assert _fits(used_calls, calls)


@given(traffic=_TRAFFIC, requests=st.integers(1, 10), calls=st.integers(12, 30))
def test_after_the_wait_there_is_room_and_not_before(
    traffic: list[tuple[float, int]], requests: int, calls: int
) -> None:
    """What a refused request is told is neither too early nor too late."""
    limits, window = Limits(requests, calls), Window()
    for one in _arrivals(traffic):
        if wait := window.wait(one.at, one.calls, limits):
            early, late = one.at + wait - 0.25, one.at + wait
            assert window.wait(early, one.calls, limits) > 0
            assert window.wait(late, one.calls, limits) == 0
            return
        window.add(one.at, one.calls)


@given(traffic=_TRAFFIC)
def test_the_worst_minute_is_the_worst_there_was(traffic: list[tuple[float, int]]) -> None:
    """As counted the plain way over every moment at which something came."""
    window, arrivals = Window(), _arrivals(traffic)
    for one in arrivals:
        window.add(one.at, one.calls)
    ends = [_within(arrivals, one.at) for one in arrivals]
    assert window.worst_requests == max((requests for requests, _ in ends), default=0)
    assert window.worst_calls == max((calls for _, calls in ends), default=0)


def test_what_is_over_the_limit_by_itself_waits_for_ever() -> None:
    """More calls than a minute allows never pass, also in an empty window."""
    assert Window().wait(0.0, 501, Limits(None, 500)) == WINDOW


def _arrival(body: bytes = b"body", at: float = 1.5, calls: int = 2, **changes: Any) -> Arrival:
    endpoint = changes.get("endpoint", Endpoint.BULK)
    return Arrival(endpoint, at, calls, len(body), sha256(body).digest())


_ACCEPTED = Outcome(
    202, 202, REQUEST_ID, 2, [("A", ["919812345678"]), ("B", ["919812345679", "919812345680"])]
)


def test_an_accepted_call_is_one_line() -> None:
    """With everything that is needed to compare it with a list."""
    ledger = Ledger()
    ledger.record(_arrival(), _ACCEPTED)
    ledger.record(_arrival(b"other"), Outcome(200, 205))
    assert list(ledger.calls()) == [
        {
            "endpoint": "bulk",
            "request-id": REQUEST_ID,
            "client-identifier": "A",
            "contact-numbers": ["919812345678"],
            "phonon-uuid": "c46e46f4-dc58-4839-9483-000000000000",
            "received-at": 1.5,
        },
        {
            "endpoint": "bulk",
            "request-id": REQUEST_ID,
            "client-identifier": "B",
            "contact-numbers": ["919812345679", "919812345680"],
            "phonon-uuid": "c46e46f4-dc58-4839-9483-000000000001",
            "received-at": 1.5,
        },
    ]


def test_a_request_is_one_line() -> None:
    """Also one that was not answered, or answered with a page; equal bytes are marked."""
    ledger = Ledger()
    ledger.record(_arrival(), Outcome(None, None, REQUEST_ID, 2))
    ledger.record(_arrival(at=2.5), Outcome(200, 201))
    ledger.record(_arrival(endpoint=Endpoint.REALTIME), Outcome(503))
    first, second, third = ledger.requests()
    assert first == {
        "received-at": 1.5,
        "endpoint": "bulk",
        "status": None,
        "code": None,
        "calls": 2,
        "accepted": 2,
        "bytes": 4,
        "sha256": sha256(b"body").hexdigest(),
        "request-id": REQUEST_ID,
        "duplicate": False,
    }
    assert (second["code"], second["request-id"], second["duplicate"]) == (201, None, True)
    assert (third["status"], third["code"], third["duplicate"]) == (503, None, False)


def test_the_summary_adds_up() -> None:
    """Every request is accepted, refused, throttled or dropped."""
    ledger = Ledger()
    outcomes = [_ACCEPTED, Outcome(200, 205), Outcome(200, 205), Outcome(503), Outcome(429)]
    for outcome in [*outcomes, Outcome(None)]:
        ledger.record(_arrival(), outcome, ["garbage"] if outcome.status == 503 else ())
    summary = ledger.summary()
    assert summary["bulk"] == {
        "requests": 6,
        "calls": 12,
        "accepted-requests": 1,
        "accepted-calls": 2,
        "accepted-again": 0,
        "refused": {"205": 2, "http 503": 1},
        "throttled": 1,
        "dropped": 1,
        "faults": {"garbage": 1},
        "worst-60s": {
            "received": {"requests": 6, "calls": 12},
            "accepted": {"requests": 1, "calls": 2},
        },
    }
    assert summary["realtime"]["requests"] == 0


def test_calls_placed_twice_are_counted() -> None:
    """The same bytes accepted again, once a checksum is forgotten, are what must not happen."""
    ledger = Ledger()
    for body in (b"one", b"two", b"one", b"one"):
        ledger.record(_arrival(body), _ACCEPTED)
    ledger.record(_arrival(b"one", endpoint=Endpoint.REALTIME), _ACCEPTED)
    summary = ledger.summary()
    assert summary["bulk"]["accepted-again"] == 2
    assert summary["realtime"]["accepted-again"] == 0


def test_cleared_books_are_empty_even_while_they_are_read() -> None:
    """A reader who began before goes on with what there was."""
    ledger = Ledger()
    ledger.record(_arrival(), _ACCEPTED)
    ledger.record(_arrival(b"other"), _ACCEPTED)
    calls, requests = ledger.calls(), ledger.requests()
    next(calls)
    next(requests)
    ledger.clear()
    assert len(list(calls)) == 3
    assert len(list(requests)) == 1
    assert not list(ledger.calls())
    assert ledger.summary()["bulk"]["requests"] == 0


def test_a_hundred_thousand_calls_take_little_memory() -> None:
    """A few bytes a call: a night's run must fit."""
    ledger = Ledger()
    for batch in range(200):
        placed = [(f"ACC{batch}-{i}", [f"91{9_000_000_000 + 7919 * i}"]) for i in range(500)]
        ledger.record(_arrival(calls=500), Outcome(202, 202, REQUEST_ID, 500, placed))
    assert sum(len(blob) for _, blob in ledger._accepted) / 100_000 < 20
    assert len(ledger._records) / 200 < 100
    assert sum(1 for _ in ledger.calls()) == 100_000


def test_times_may_stand_still() -> None:
    """Many requests at one moment are within one window."""
    window = Window()
    for _ in range(5):
        window.add(7.0, 1)
    assert window.worst_requests == 5
    assert window.wait(7.0, 1, Limits(5, None)) == pytest.approx(WINDOW)
