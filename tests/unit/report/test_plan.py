"""What a campaign would do with its list: the sums, the time it takes, what is shown of a call."""

import json
from array import array
from collections.abc import Iterator

import pytest
from builders import FLOW_ID, make_call
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.call import LeftOut, LeftOutRow, encode
from phonon_bulk.errors import Exit
from phonon_bulk.packing import CallBlock, Chunk
from phonon_bulk.report.plan import (
    Pace,
    Sums,
    add_up,
    first_body,
    masked,
    send_times,
    timing,
)
from phonon_bulk.report.plan_text import Plan
from phonon_bulk.schedule import Limits

ROOM = 250_000
NOON = 1_795_500_000.0
"""2026-11-24 about noon in India."""
PACE = Pace(Limits(requests=600), headroom=0.5, ramp=0.0)


def block(rows: list[int]) -> CallBlock:
    """Return the calls of these rows."""
    data, ends = b"", [0]
    for row in rows:
        data += encode(make_call(row)) + b","
        ends.append(len(data))
    return CallBlock(data, array("q", ends), array("q", rows), array("q", [20_000] * len(rows)))


def left_out(row: int, reason: str, state: LeftOut = LeftOut.REJECTED) -> LeftOutRow:
    """Return a row that is no call."""
    return LeftOutRow(row, reason, None, ("919812345678",), "{}", state)


def chunks() -> Iterator[Chunk]:
    """Yield a list of 1,200 rows: 1,190 calls, 6 rejected, 3 duplicates, 1 suppressed."""
    bad = [left_out(row, "no usable number: tel1 is empty") for row in range(1, 6)]
    yield Chunk(block(list(range(6, 601))), bad, 600, [("a number was left out", [7, 9])])
    others = [
        left_out(601, "too few fields: 3 of 5"),
        left_out(602, "on a do-not-call list", LeftOut.SUPPRESSED),
        *(left_out(row, "a call before it", LeftOut.DUPLICATE) for row in (603, 604, 605)),
    ]
    notes = [("a number was left out", [700]), ("nothing", [])]
    yield Chunk(block(list(range(606, 1201))), others, 1200, notes)


def test_every_row_is_counted_once() -> None:
    """Rows are calls, rejected, suppressed or duplicates, and the sum is that of the list."""
    told: list[int] = []
    sums = add_up(chunks(), ROOM, told.append)
    assert (sums.rows, sums.calls) == (1200, 1190)
    assert sums.states == {LeftOut.REJECTED: 6, LeftOut.SUPPRESSED: 1, LeftOut.DUPLICATE: 3}
    assert sums.calls_of == [500, 500, 190]
    assert told == [600, 1200]
    assert sums.notes == {"a number was left out": (3, 7)}


def test_three_rows_are_named_for_a_reason_with_numbers_masked() -> None:
    """Enough to find them, and nothing to call them by."""
    sums = add_up(chunks(), ROOM, lambda _row: None)
    empty = sums.left["rejected", "no usable number: tel1 is empty"]
    assert (empty.rows, [example["row"] for example in empty.examples]) == (5, [1, 2, 3])
    assert empty.examples[0]["contact_numbers"] == ["9198xxxxxx78"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [("919812345678", "9198xxxxxx78"), ("12345678", "…"), ("", ""), (" ", ""), ("abc", "…")],
)
def test_masked(number: str, shown: str) -> None:
    """Only the beginning and the end of a whole number are shown."""
    assert masked(number) == shown


@given(st.text(max_size=30))
def test_most_of_a_number_is_never_shown(text: str) -> None:
    """At least as much is hidden as is shown at its beginning."""
    kept = masked(text).replace("x", "").replace("…", "")
    assert len(kept) in {0, 6} or "x" in text or "…" in text
    assert not kept or len(text.strip()) >= 10


def test_requests_take_their_time() -> None:
    """600 requests in 60.5 seconds: the headroom is a part of it."""
    times = send_times([500] * 601, PACE)
    assert times is not None
    assert times[0] == 0
    assert times[600] == pytest.approx(60.5)


def test_calls_take_their_time_where_the_account_counts_them() -> None:
    """The slower of the two limits holds for each batch."""
    pace = Pace(Limits(requests=600, calls=30_000), headroom=0.0, ramp=0.0)
    times = send_times([500, 1, 500, 500], pace)
    assert times == pytest.approx([0.0, 1.0, 1.1, 2.1])


def test_no_limit_is_no_estimate() -> None:
    """It is as fast as the network then."""
    assert send_times([500], Pace(Limits(), 0.5, 3.0)) is None
    assert timing([500], Pace(Limits(), 0.5, 3.0), NOON, None).ends is None


@given(
    calls_of=st.lists(st.integers(1, 500), min_size=1, max_size=50),
    seconds=st.floats(0, 10, allow_nan=False),
)
def test_what_does_not_fit_is_what_would_be_sent_later(calls_of: list[int], seconds: float) -> None:
    """Every call is sent before the end, or does not fit."""
    times = send_times(calls_of, PACE)
    assert times is not None
    late = timing(calls_of, PACE, NOON, NOON + seconds).do_not_fit
    expected = sum(c for at, c in zip(times, calls_of, strict=True) if NOON + at >= NOON + seconds)
    assert late == expected
    assert timing(calls_of, PACE, NOON, None).do_not_fit == 0


def plan(sums: Sums, not_after: float | None) -> Plan:
    """Return a plan of these sums."""
    return Plan(
        campaign="reminder",
        source="a.csv",
        sums=sums,
        timing=timing(sums.calls_of, PACE, NOON, not_after),
        to="https://example.com/",
        limit="600 requests a minute",
        window="10:00-19:00",
        unused_columns=("branch",),
        remarks=("a.csv is read as Windows-1252 text",),
        first_body=first_body(sums, FLOW_ID),
    )


def test_a_plan_that_does_not_fit_says_so() -> None:
    """In words, in figures, and by its exit code."""
    sums = add_up(iter([Chunk(block(list(range(1, 1191))), [], 1190)]), ROOM, lambda _row: None)
    made = plan(sums, NOON + 0.15)
    assert "190 of 1,190 calls do not fit before 2026-11-24" in made.to_text()
    assert (made.to_dict()["do_not_fit"], made.exit) == (190, Exit.SOME_FAILED)
    fits = plan(sums, NOON + 60)
    assert "all of it can be handed over before" in fits.to_text()
    assert (fits.to_dict()["do_not_fit"], fits.exit) == (0, Exit.DONE)


def test_the_text_says_what_becomes_of_every_row() -> None:
    """The sum, the reasons, what is changed, the batches, the first request."""
    text = plan(add_up(chunks(), ROOM, lambda _row: None), None).to_text()
    for words in (
        "rows read          1,200",
        "= rejected               6",
        "+ duplicates             3",
        "5 rejected: no usable number: tel1 is empty (row 1: 9198xxxxxx78, row 2",
        "3 a number was left out (row 7, for one)",
        "3 batches of 396.7 calls on average",
        "to https://example.com/, limit: 600 requests a minute",
        "note: not sent: branch",
        "note: a.csv is read as Windows-1252 text",
        '"security-id": "(not shown)"',
        "and 498 calls more",
    ):
        assert words in text, words
    assert "919800000006" not in text


def test_the_first_request_is_as_it_would_be_but_for_what_is_masked() -> None:
    """Its calls have all the API asks for."""
    body = first_body(add_up(chunks(), ROOM, lambda _row: None), FLOW_ID)
    assert body is not None
    assert [call["client-identifier"] for call in body["calls"]] == ["ACC0000006", "ACC0000007"]
    assert body["calls"][0]["contact-numbers"] == ["9199xxxxxx06"]
    assert json.loads(json.dumps(body)) == body


def test_a_list_without_a_call() -> None:
    """It has no first request, and is not fine."""
    rows = Chunk(block([]), [left_out(1, "no usable number: tel1 is empty")], 1)
    made = plan(add_up(iter([rows]), ROOM, lambda _row: None), NOON + 5)
    assert made.first_body is None
    assert made.exit is Exit.SOME_FAILED
    assert "there is no call to be sent" in made.to_text()
    assert made.to_dict()["calls"] == 0
