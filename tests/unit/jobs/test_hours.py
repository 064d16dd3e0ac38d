"""How long a process may work, and at what time of day."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.errors import Exit, NotNowError, SettingsError
from phonon_bulk.jobs.hours import LONGEST, Bounds, bounds_of, read_duration, read_hours

INDIA = "Asia/Kolkata"
DAY = 86_400.0
ZONES = st.sampled_from([INDIA, "UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"])
MOMENTS = st.floats(0, 4e9, allow_nan=False)
TIMES = st.times(timezones=st.none()).map(lambda t: f"{t:%H:%M}")


def at(hour: int, minute: int = 0, *, day: int = 24, zone: str = INDIA) -> float:
    """Return a moment of November 2026."""
    return datetime(2026, 11, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14_400),
        ("90m", 5_400),
        ("3600s", 3_600),
        ("1h30m", 5_400),
        ("1d2h3m4s", 93_784),
        (" 2H ", 7_200),
        ("30d", LONGEST),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Days, hours, minutes and seconds, in this order."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "0s", "-1h", "30m1h", "1.5h", "4 h", "h", "31d", "٣h"])
def test_no_durations(text: str) -> None:
    """Anything else is refused, with what is expected."""
    with pytest.raises(SettingsError, match="--max-duration: expected a duration like 4h"):
        read_duration(text)


@pytest.mark.parametrize("text", ["", "10-19", "10:00", "24:00-19:00", "10:00-10:00", "1:00-2:00"])
def test_no_windows(text: str) -> None:
    """Nor is a window of no length one."""
    with pytest.raises(SettingsError, match="--window: expected two times of day"):
        read_hours(text, INDIA)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        ("10:00-19:00", at(9, 59), False),
        ("10:00-19:00", at(10), True),
        ("10:00-19:00", at(18, 59), True),
        ("10:00-19:00", at(19), False),
        ("22:00-06:00", at(21, 59), False),
        ("22:00-06:00", at(22), True),
        ("22:00-06:00", at(3), True),
        ("22:00-06:00", at(6), False),
        ("10:00-00:00", at(23, 59), True),
        ("10:00-00:00", at(0), False),
        ("10:00 - 19:00", at(10, zone="UTC"), True),  # 15:30 in India
    ],
)
def test_a_window_is_open(window: str, moment: float, is_open: bool) -> None:
    """The first moment is in it, the last is not; it may go over midnight."""
    assert read_hours(window, INDIA).is_open(moment) is is_open


def test_when_it_opens_and_closes() -> None:
    """Today or tomorrow, after now."""
    day, night = read_hours("10:00-19:00", INDIA), read_hours("22:00-06:00", INDIA)
    assert (day.opening(at(9)), day.opening(at(10)), day.closing(at(10))) == (
        at(10),
        at(10, day=25),
        at(19),
    )
    assert (night.closing(at(23)), night.closing(at(3)), night.opening(at(7))) == (
        at(6, day=25),
        at(6),
        at(22),
    )
    assert day.opening_in_words(at(20)) == "2026-11-25 10:00 +0530"


@given(first=TIMES, second=TIMES, zone=ZONES, now=MOMENTS)
def test_the_next_change_is_after_now_and_near(
    first: str, second: str, zone: str, now: float
) -> None:
    """Each opening and closing lies ahead, within the days that a calendar can skip."""
    if first == second:
        return
    hours = read_hours(f"{first}-{second}", zone)
    for moment in (hours.opening(now), hours.closing(now)):
        assert now < moment <= now + 3 * DAY


@given(first=TIMES, second=TIMES, now=MOMENTS)
def test_it_changes_when_it_says_so(first: str, second: str, now: float) -> None:
    """Where no clock is set: open up to the closing and not after, closed up to the opening."""
    if first == second:
        return
    hours = read_hours(f"{first}-{second}", INDIA)
    change = hours.closing(now) if hours.is_open(now) else hours.opening(now)
    assert hours.is_open(change - 0.01) is hours.is_open(now)
    assert hours.is_open(change) is not hours.is_open(now)


def test_a_clock_that_is_set_back_gives_the_hour_twice() -> None:
    """In the second of two hours with the same name the window closes at the end of that one."""
    zone = ZoneInfo("Europe/Berlin")
    hours = read_hours("01:00-02:30", zone.key)
    first = datetime(2026, 10, 25, 2, 15, tzinfo=zone, fold=0).timestamp()
    second = first + 3600
    assert hours.is_open(first)
    assert hours.is_open(second)
    assert hours.closing(first) - first == hours.closing(second) - second == 900


def test_without_bounds_nothing_ends() -> None:
    """A command without the two flags goes on until all is done."""
    free = bounds_of(None, None, INDIA, 5.0)
    assert free.over(at(3), 1e9) is None
    assert free.left(at(3), 1e9) is None
    free.refuse_outside(at(3))


def test_a_duration_is_over() -> None:
    """It counts from when the command began, on a clock that nobody sets."""
    bounds = bounds_of("90m", None, INDIA, 100.0)
    assert bounds.left(0, 100.0) == 5400
    assert bounds.over(0, 100.0 + 5399) is None
    assert bounds.over(0, 100.0 + 5400) == "its --max-duration of 90m is over"
    assert bounds.left(0, 1e6) == 0


def test_a_window_closes() -> None:
    """What is nearer ends it."""
    bounds = bounds_of("10h", "10:00-19:00", INDIA, 0.0)
    assert bounds.left(at(18), 0.0) == 3600
    assert bounds.left(at(10), 9.5 * 3600) == 1800
    assert bounds.over(at(18, 59), 0.0) is None
    closed = bounds.over(at(19), 0.0)
    assert closed is not None
    assert "its --window 10:00-19:00 has closed; it opens again at 2026-11-25 10:00" in closed
    assert bounds.left(at(20), 0.0) == 0


@given(st.floats(0, 2 * DAY), MOMENTS, st.floats(0, 1e6))
def test_what_is_over_has_no_time_left(elapsed: float, wall: float, began: float) -> None:
    """And what has time left is not over."""
    bounds = bounds_of("20h", "22:00-06:00", INDIA, began)
    left = bounds.left(wall, began + elapsed)
    assert left is not None
    assert (bounds.over(wall, began + elapsed) is not None) == (left == 0)


def test_outside_of_its_window_nothing_is_begun() -> None:
    """It is said when it opens; exit 5."""
    bounds = Bounds(hours=read_hours("10:00-19:00", INDIA))
    bounds.refuse_outside(at(12))
    with pytest.raises(
        NotNowError, match=r"nothing was sent\. It opens at 2026-11-24 10:00"
    ) as told:
        bounds.refuse_outside(at(9))
    assert told.value.exit_code is Exit.STOPPED


def test_a_long_look_is_near_enough() -> None:
    """The next change is never more than a day and an hour away."""
    hours = read_hours("00:00-23:59", "Europe/Berlin")
    now = at(0, 0, day=1, zone="Europe/Berlin")
    assert hours.closing(now) <= now + timedelta(days=1, hours=1).total_seconds()
