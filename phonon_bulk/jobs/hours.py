"""When a process may work: `--max-duration` and `--window`. Decisions; the time is passed in.

The window of `[checks]` is another one: it says when calls may start. This one says when a process
may send.
"""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from phonon_bulk.errors import NotNowError, SettingsError

LONGEST = 30 * 86_400
"""Seconds; the longest `--max-duration`."""

_DURATION = re.compile(r"(?:(\d{1,7})d)?(?:(\d{1,7})h)?(?:(\d{1,7})m)?(?:(\d{1,7})s)?", re.ASCII)
_UNITS = (86_400, 3600, 60, 1)
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """A time of day to another, in a time zone; past midnight if the second is the earlier one."""

    opens: time
    closes: time
    zone: ZoneInfo

    def is_open(self, now: float) -> bool:
        """Say whether it is open at `now`, seconds since the epoch; when it closes, it is not."""
        local = datetime.fromtimestamp(now, self.zone).time()
        if self.opens < self.closes:
            return self.opens <= local < self.closes
        return local >= self.opens or local < self.closes

    def opening(self, now: float) -> float:
        """Return when it opens next, after `now`; seconds since the epoch."""
        return self._next(self.opens, now)

    def closing(self, now: float) -> float:
        """Return when it closes next, after `now`; seconds since the epoch."""
        return self._next(self.closes, now)

    def _next(self, at: time, now: float) -> float:
        """Return the next moment at which it is `at`; there are two where a clock is set back."""
        today = datetime.fromtimestamp(now, self.zone).date()
        moments = (
            datetime.combine(today + days * _DAY, at, self.zone).replace(fold=fold).timestamp()
            for days in (-1, 0, 1, 2)
            for fold in (0, 1)
        )
        return min(moment for moment in moments if moment > now)

    def opening_in_words(self, now: float) -> str:
        """Return when it opens next, as an operator reads it."""
        return f"{datetime.fromtimestamp(self.opening(now), self.zone):%Y-%m-%d %H:%M %z}"

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"


def read_duration(text: str) -> float:
    """Return the seconds of a duration like 4h, 90m, 3600s, 1h30m.

    Raises SettingsError for anything else, and for none or more than 30 days.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    parts = match.groups(default="0") if match else ()
    seconds = sum(int(part) * unit for part, unit in zip(parts, _UNITS, strict=False))
    if not 0 < seconds <= LONGEST:
        expected = "expected a duration like 4h, 90m, 3600s or 1h30m, 1s to 30d"
        raise SettingsError([f"--max-duration: {expected}, found {text!r}"])
    return float(seconds)


def read_hours(text: str, zone: str) -> Hours:
    """Return the hours that are written as "10:00-19:00", or "22:00-06:00" for a night.

    Raises SettingsError for anything else, and if both times are the same.
    """
    match = _WINDOW.fullmatch(text.replace(" ", ""))
    if match is None or match.groups()[:2] == match.groups()[2:]:
        expected = "expected two times of day, like 10:00-19:00, or 22:00-06:00 for a night"
        raise SettingsError([f"--window: {expected}, found {text!r}"])
    first, second, third, fourth = map(int, match.groups())
    return Hours(time(first, second), time(third, fourth), ZoneInfo(zone))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a process may work. Without bounds: until all is done."""

    seconds: float | None = None
    """How long, from `began` on."""
    asked: str = ""
    """The same as it was asked for."""
    began: float = 0.0
    """On a clock that nobody sets, in seconds; `steady` below is of the same."""
    hours: Hours | None = None

    def over(self, wall: float, steady: float) -> str | None:
        """Return why the process is to stop; None if it may go on.

        `wall` is in seconds since the epoch.
        """
        if self.seconds is not None and steady - self.began >= self.seconds:
            return f"its --max-duration of {self.asked} is over"
        if self.hours is not None and not self.hours.is_open(wall):
            again = self.hours.opening_in_words(wall)
            return f"its --window {self.hours} has closed; it opens again at {again}"
        return None

    def left(self, wall: float, steady: float) -> float | None:
        """Return for how many seconds the process may go on; None if there is no bound."""
        ends = []
        if self.seconds is not None:
            ends.append(self.began + self.seconds - steady)
        if self.hours is not None:
            ends.append(self.hours.closing(wall) - wall if self.hours.is_open(wall) else 0.0)
        return max(0.0, min(ends)) if ends else None

    def refuse_outside(self, wall: float) -> None:
        """Raise NotNowError if the window is closed; nothing is to be done then."""
        if self.hours is not None and not self.hours.is_open(wall):
            raise NotNowError(
                f"it is outside of --window {self.hours} ({self.hours.zone}), so nothing was read "
                f"and nothing was sent. It opens at {self.hours.opening_in_words(wall)}"
            )


def bounds_of(max_duration: str | None, window: str | None, zone: str, began: float) -> Bounds:
    """Return the bounds that two flags set. Raises SettingsError for what can't be read."""
    return Bounds(
        seconds=None if max_duration is None else read_duration(max_duration),
        asked=max_duration or "",
        began=began,
        hours=None if window is None else read_hours(window, zone),
    )
