"""Start-times: as people write them, and as the calling window wants them."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from phonon_bulk.call import INDIA
from phonon_bulk.config import ChecksSettings, Window
from phonon_bulk.source.times import Start, StartTimes, window_closes

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=INDIA)
DAY_WINDOW = "10:00-19:00"
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def start_times(now: datetime = NOW, rows: int = 1, **checks: object) -> StartTimes:
    """Return start-times as a campaign with these checks has them."""
    return StartTimes(ChecksSettings.model_validate(checks), now.timestamp(), rows)


def moment_of(start: Start | str) -> datetime:
    """Return the moment of a start, having seen that it is one and carries +05:30."""
    assert isinstance(start, Start), start
    assert start.moment.utcoffset() == INDIA.utcoffset(None)
    return start.moment


# ---- how they are written

WRITTEN = {
    "iso": ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"],
    "dmy": ["%d/%m/%Y %H:%M:%S", "%d-%m-%Y %I:%M:%S %p", "%d-%b-%Y %H:%M:%S", "%d %B %Y, %X"],
    "mdy": [
        "%m/%d/%Y %I:%M:%S %p",
        "%b %d, %Y %H:%M:%S",
        "%m-%d-%y %H.%M.%S",
        "%m/%d/%Y %I:%M:%S%p",
    ],
    "excel": [],
}
EXCEL_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - of no time zone
PLAIN_MOMENTS = st.datetimes(datetime(2026, 11, 25), datetime(2099, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0, fold=0)  # a list can't say which of two hours
)


@given(PLAIN_MOMENTS, st.sampled_from(["Asia/Kolkata", "Europe/Berlin", "America/New_York"]))
def test_every_form_is_read_as_it_was_written(moment: datetime, zone: str) -> None:
    """Law: day or month first, names, AM and PM, Excel's numbers: the moment in the time zone."""
    asked = moment.replace(tzinfo=ZoneInfo(zone)).astimezone(INDIA)
    for form, patterns in WRITTEN.items():
        starts = start_times(start_time_form=form, time_zone=zone)
        for pattern in [*patterns, "%Y-%m-%dT%H:%M:%S"]:
            assert starts.read(f" {moment.strftime(pattern)}\n") == Start(asked), pattern
    if moment.time() != time():
        serial = (moment - EXCEL_ZERO) / DAY
        assert start_times(start_time_form="excel", time_zone=zone).read(str(serial)) == Start(
            asked
        )


@pytest.mark.parametrize(
    ("form", "text", "clock"),
    [
        ("dmy", "24/11/2026 10:30", "24 10:30:00"),
        ("dmy", "24-11-26 10.30", "24 10:30:00"),
        ("dmy", "24.11.2026 10:30:45.123", "24 10:30:45"),
        ("dmy", "24 Nov 2026 12:05 am", "24 00:05:00"),
        ("dmy", "Nov 24, 2026 12:05 p.m.", "24 12:05:00"),
        ("dmy", "24-november-2026, 1:05PM", "24 13:05:00"),
        ("dmy", "2026-11-24T10:30:00Z", "24 16:00:00"),
        ("mdy", "11/24/2026 10:30", "24 10:30:00"),
        ("mdy", "24-Nov-2026 10:30", "24 10:30:00"),
        ("excel", "46350.4375", "24 10:30:00"),
        ("excel", "46350.43749999", "24 10:30:00"),
        ("excel", "2026-11-24 10:30", "24 10:30:00"),
    ],
)
def test_texts_as_people_have_them(form: str, text: str, clock: str) -> None:
    """Whatever the form, a month's name says what it is, and ISO 8601 is read too."""
    moment = moment_of(start_times(start_time_form=form).read(text))
    assert moment.strftime("%d %H:%M:%S") == clock


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "24/11/2026 10:30"),
        ("iso", "46350.4375"),
        ("iso", "2026-13-01T10:00"),
        ("iso", "2026-02-30"),
        ("iso", "soon"),
        ("dmy", "11/24/2026 10:30"),
        ("dmy", "24/11/2026 25:30"),
        ("dmy", "24/11/2026 13:30 PM"),
        ("dmy", "24/11/2026 0:30 AM"),
        ("dmy", "24/Foo/2026 10:30"),
        ("dmy", "Nov/Nov/2026 10:30"),
        ("dmy", "24/11/026 10:30"),
        ("dmy", "46350.4375"),
        ("dmy", "२४/११/२०२६ १०:३०"),
        ("mdy", "24/11/2026 10:30"),
        ("excel", "4635.4375"),
        ("excel", "463500"),
        ("excel", "24/11/2026 10:30"),
        ("excel", "-46350.4"),
    ],
)
def test_what_cannot_be_read_is_said_with_an_example(form: str, text: str) -> None:
    """After the column's name, and nothing of the text itself."""
    said = start_times(start_time_form=form).read(text)
    assert isinstance(said, str)
    assert said.startswith(" can't be read: write it like ")
    assert text not in said
    example_text = said.removeprefix(" can't be read: write it like ").split(" (")[0]
    assert isinstance(start_times(start_time_form=form).read(example_text), Start)


@pytest.mark.parametrize("window", [None, DAY_WINDOW])
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "0001-01-01"),
        ("iso", "0001-01-01T00:00:00"),
        ("iso", "9999-12-31"),
        ("iso", "9999-12-31T23:59:59"),
        ("dmy", "01/01/0001 00:00:00"),
        ("dmy", "31/12/9999 23:59"),
        ("dmy", "31/12/9999"),
        ("mdy", "1/1/0001 12:00:00 AM"),
        ("excel", "99999.99"),
    ],
)
def test_the_ends_of_the_calendar(form: str, text: str, zone: str, window: str | None) -> None:
    """What other programs write where there is no date costs its row at most."""
    starts = start_times(start_time_form=form, time_zone=zone, window=window)
    assert isinstance(starts.read(text), Start | str)


@given(st.text(), st.sampled_from(list(WRITTEN)))
def test_any_text_gives_a_start_or_a_reason(text: str, form: str) -> None:
    """Law: nothing else, whatever it is."""
    assert isinstance(start_times(start_time_form=form).read(text), Start | str)


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_no_text_is_a_call_at_once(text: str) -> None:
    """The time it has is now."""
    assert start_times().read(text) == Start(NOW)


@pytest.mark.parametrize(
    ("text", "is_past"),
    [
        ("2026-11-23T23:59:59", True),
        ("2026-11-23T18:29:59Z", True),
        ("2026-11-23T18:30:00Z", False),
        ("2026-11-24T00:00", False),
        ("2026-11-24T09:00", False),
        ("2000-01-01T10:00", True),
    ],
)
def test_a_date_is_past_by_the_providers_calendar(text: str, is_past: bool) -> None:
    """A time that has passed today is none: such a call starts at once."""
    said = start_times().read(text)
    assert (said == "'s date is past") is is_past


# ---- a day without a time


@pytest.mark.parametrize("text", ["2026-11-25", "25/11/2026", "25-Nov-26"])
def test_a_day_without_a_time_needs_a_window(text: str) -> None:
    """Where there is one, it begins with it; and nothing was moved."""
    assert start_times(start_time_form="dmy").read(text) == " has no time of day"
    start = start_times(start_time_form="dmy", window=DAY_WINDOW).read(text)
    assert start == Start(datetime(2026, 11, 25, 10, 0, tzinfo=INDIA))


def test_a_day_in_excels_numbers() -> None:
    """A whole number is a day."""
    assert start_times(start_time_form="excel").read("46351") == " has no time of day"
    start = start_times(start_time_form="excel", window=DAY_WINDOW).read("46351.0")
    assert start == Start(datetime(2026, 11, 25, 10, 0, tzinfo=INDIA))


@pytest.mark.parametrize("outside", ["move", "reject"])
def test_a_day_is_not_outside_of_its_window(outside: str) -> None:
    """It does not say midnight."""
    starts = start_times(window=DAY_WINDOW, outside_window=outside)
    assert starts.read("2026-11-25") == Start(datetime(2026, 11, 25, 10, 0, tzinfo=INDIA))


def test_today_without_a_time_while_the_window_is_open() -> None:
    """At once, in fact; the date in the call is today's."""
    moment = moment_of(start_times(NOW + 2 * SECOND, window="09:00-19:00").read("2026-11-24"))
    assert moment.date() == NOW.date()
    assert moment <= NOW + 2 * SECOND


@pytest.mark.parametrize("outside", ["move", "reject"])
def test_today_without_a_time_after_the_window_closed(outside: str) -> None:
    """Another day is another time than was asked for."""
    starts = start_times(NOW + timedelta(hours=10), window=DAY_WINDOW, outside_window=outside)
    if outside == "reject":
        assert starts.read("2026-11-24") == " is outside of 10:00-19:00"
    else:
        opening = datetime(2026, 11, 25, 10, 0, tzinfo=INDIA)
        assert starts.read("2026-11-24") == Start(opening, moved=True)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Singapore", "Europe/Berlin", "Asia/Dubai"])
def test_today_is_not_past_in_any_time_zone(zone: str) -> None:
    """A day is one of the campaign's time zone."""
    now = datetime(2026, 11, 24, 8, 0, tzinfo=ZoneInfo(zone))
    moment = moment_of(start_times(now, window=DAY_WINDOW, time_zone=zone).read("2026-11-24"))
    assert moment.astimezone(ZoneInfo(zone)) == datetime(2026, 11, 24, 10, tzinfo=ZoneInfo(zone))
    assert start_times(now, window=DAY_WINDOW, time_zone=zone).read("2026-11-23") == (
        "'s date is past"
    )


# ---- the window

ZONES = ["Asia/Kolkata", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe"]
CHANGES = [  # of the clocks, in those zones
    datetime(2026, 10, 25, 1, 0, tzinfo=UTC),
    datetime(2027, 3, 28, 1, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 6, 0, tzinfo=UTC),
    datetime(2027, 3, 14, 7, 0, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2027, 4, 3, 15, 0, tzinfo=UTC),
]
NOWS = st.one_of(
    st.datetimes(datetime(2026, 9, 1), datetime(2027, 5, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(
        lambda change, minutes: change + timedelta(minutes=minutes),
        st.sampled_from(CHANGES),
        st.integers(-300, 300),
    ),
)
LATER = st.integers(-3 * 86_400, 3 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
TIMES = st.integers(0, 1439).map(lambda minutes: time(minutes // 60, minutes % 60))
WINDOWS = st.lists(TIMES, min_size=2, max_size=2, unique=True).map(
    lambda pair: Window(min(pair), max(pair))
)


def is_open(window: Window, moment: datetime, zone: ZoneInfo) -> bool:
    """Say whether a moment lies in the window."""
    return window.opens <= moment.astimezone(zone).time() < window.closes


def next_opening(window: Window, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first moment after another when the clock shows the opening.

    None where it shows it on none of the days that come first.
    """
    day = after.astimezone(zone).date()
    if after.astimezone(zone).time() >= window.closes:
        day += DAY
    shown = [datetime.combine(day, window.opens, zone).replace(fold=fold) for fold in (0, 1)]
    moments = [moment.astimezone(UTC) for moment in shown]
    return min(
        (m for m in moments if m > after and m.astimezone(zone).time() == window.opens),
        default=None,
    )


@given(NOWS, LATER, WINDOWS, st.sampled_from(ZONES))
@example(
    datetime(2026, 11, 1, 6, 10, tzinfo=UTC),
    timedelta(),
    Window(time(1, 30), time(2, 30)),
    "America/New_York",
)
def test_no_call_starts_outside_of_the_window(
    now: datetime, later: timedelta, window: Window, zone_name: str
) -> None:
    """Law: it starts as asked, if that is open, or when it opens next; or its row is rejected.

    A time that has passed counts as now, because such a call starts at once.
    """
    zone = ZoneInfo(zone_name)
    asked = now + later
    moved = start_times(now, window=window, time_zone=zone_name)
    rejecting = start_times(now, window=window, time_zone=zone_name, outside_window="reject")
    start, strict = (starts.read(asked.isoformat()) for starts in (moved, rejecting))
    asked = asked.replace(microsecond=0)
    if asked.astimezone(INDIA).date() < now.astimezone(INDIA).date():
        assert start == strict == "'s date is past"
        return
    begins = max(asked, now)
    if is_open(window, begins, zone):
        assert start == strict == Start(asked.astimezone(INDIA))
        return
    assert strict == f" is outside of {window}"
    assert isinstance(start, Start)
    assert start.moved
    opening = next_opening(window, begins, zone)
    assert start.moment >= begins
    assert opening is None or moment_of(start) == opening


def test_what_is_noted_of_a_moved_call() -> None:
    """Which window it was."""
    note = start_times(window=" 10:00 - 19:00").moved_note
    assert note == "start-time moved to the next opening of 10:00-19:00"


@given(NOWS, WINDOWS, st.sampled_from(ZONES))
def test_a_call_at_once_waits_for_the_window(now: datetime, window: Window, zone_name: str) -> None:
    """Law: without a time of its own a call is one that asks for now."""
    starts = start_times(now, window=window, time_zone=zone_name)
    assert starts.at_once() == starts.read("") == starts.read(" ")
    assert isinstance(starts.at_once(), Start)
    if is_open(window, now, ZoneInfo(zone_name)):
        assert starts.at_once() == Start(now.astimezone(INDIA))


# ---- spread


def span_of(spread: Window, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a spread begins and ends, in UTC."""
    day = now.astimezone(zone).date()
    if now.astimezone(zone).time() >= spread.closes:
        day += DAY
    opens, closes = (
        datetime.combine(day, at, zone).astimezone(UTC) for at in (spread.opens, spread.closes)
    )
    assume(opens.astimezone(zone).time() == spread.opens)  # the clock shows them, and once
    assume(closes.astimezone(zone).time() == spread.closes)
    for at in (spread.opens, spread.closes):
        shown = datetime.combine(day, at, zone)
        assume(shown.utcoffset() == shown.replace(fold=1).utcoffset())
    return max(opens, now), closes


@given(NOWS, WINDOWS, st.sampled_from(ZONES), st.integers(1, 60))
@example(datetime(2027, 3, 14, 5, 10, tzinfo=UTC), Window(time(1), time(5)), "America/New_York", 24)
@example(
    datetime(2026, 11, 1, 4, 10, tzinfo=UTC), Window(time(0, 30), time(3)), "America/New_York", 24
)
def test_starts_are_spread_evenly(now: datetime, spread: Window, zone_name: str, rows: int) -> None:
    """Law: the first at the begin, each as long after the one before, to a second, none at the end.

    It begins now if it is under way, and tomorrow if it is over.
    """
    begin, end = span_of(spread, now, ZoneInfo(zone_name))
    starts = start_times(now, rows, spread=spread, time_zone=zone_name)
    moments = [moment_of(starts.of_row(row)) for row in range(1, rows + 1)]
    assert moments[0] == begin
    assert moments[-1] < end
    step = (end - begin) / rows
    for one, other in pairwise(moments):
        assert abs(other - one - step) <= SECOND


def test_starts_that_are_spread_keep_to_the_window_too() -> None:
    """Those outside of it are moved, or are none."""
    checks = {"spread": "08:00-12:00", "window": "10:00-11:00"}
    now = datetime(2026, 11, 24, 6, 0, tzinfo=INDIA)
    starts = start_times(now, 4, **checks)
    found = [starts.of_row(row) for row in range(1, 5)]
    opening, tomorrow = (datetime(2026, 11, day, 10, 0, tzinfo=INDIA) for day in (24, 25))
    assert found == [
        Start(opening, moved=True),
        Start(opening, moved=True),
        Start(opening),
        Start(tomorrow, moved=True),
    ]
    strict = start_times(now, 4, **checks, outside_window="reject")
    said = [strict.of_row(row) for row in (1, 3)]
    assert said == [" is outside of 10:00-11:00", Start(opening)]


def test_a_list_of_no_rows_can_be_spread() -> None:
    """Nobody asks for a row; nothing is divided by it."""
    assert start_times(rows=0, spread=DAY_WINDOW).spreads
    assert not start_times().spreads


# ---- when the window closes


def closes(now: datetime, moment: datetime | None = None, **checks: object) -> datetime | None:
    """Return when the window closes in which the first call starts, in India."""
    found = window_closes(ChecksSettings.model_validate(checks), moment, now.timestamp())
    return None if found is None else datetime.fromtimestamp(found, INDIA)


@pytest.mark.parametrize(
    ("hour", "checks", "day", "closing"),
    [
        (6, {}, 24, 19),
        (12, {}, 24, 19),
        (19, {}, 25, 19),
        (23, {}, 25, 19),
        (12, {"outside_window": "reject"}, 24, 19),
        (6, {"spread": "14:00-18:00"}, 24, 19),
        (18, {"spread": "14:00-17:00"}, 25, 19),
    ],
)
def test_when_the_window_closes(hour: int, checks: dict[str, Any], day: int, closing: int) -> None:
    """On the day of the first call."""
    now = datetime(2026, 11, 24, hour, 0, tzinfo=INDIA)
    assert closes(now, window=DAY_WINDOW, **checks) == datetime(
        2026, 11, day, closing, tzinfo=INDIA
    )


def test_without_a_window_nothing_closes() -> None:
    """Spread or not."""
    assert closes(NOW) is None
    assert closes(NOW, spread=DAY_WINDOW) is None


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 26, 12, tzinfo=INDIA), 26),
        (datetime(2026, 11, 26, 20, tzinfo=INDIA), 27),
        (datetime(2026, 11, 24, 2, tzinfo=INDIA), 24),
        (datetime(2026, 11, 20, 12, tzinfo=INDIA), 24),
    ],
)
def test_a_moment_for_all_calls_has_its_own_closing(moment: datetime, day: int) -> None:
    """That of the day it names, or is moved to; one that is past is now."""
    assert closes(NOW, moment, window=DAY_WINDOW) == datetime(2026, 11, day, 19, tzinfo=INDIA)


@given(NOWS, WINDOWS, st.sampled_from(ZONES))
def test_the_first_call_starts_before_the_window_closes(
    now: datetime, window: Window, zone_name: str
) -> None:
    """Law: and within a day of it, at the time that the window says."""
    zone = ZoneInfo(zone_name)
    found = closes(now, window=window, time_zone=zone_name)
    first = moment_of(start_times(now, window=window, time_zone=zone_name).at_once())
    day = first.astimezone(zone).date()
    assume(
        all(is_shown_once(datetime.combine(day, at, zone)) for at in (window.opens, window.closes))
    )
    assert found is not None
    assert first < found <= first + timedelta(hours=25)
    assert found.astimezone(zone).time() == window.closes


def is_shown_once(moment: datetime) -> bool:
    """Say whether clocks show this time once on its day."""
    return moment.utcoffset() == moment.replace(fold=1).utcoffset()


def test_one_now_counts_however_long_it_takes() -> None:
    """The same text gives the same start, whenever it is asked for."""
    starts = start_times(window=DAY_WINDOW)
    assert starts.read("") is starts.read("")
    assert date(2026, 11, 24) == moment_of(starts.at_once()).date()
