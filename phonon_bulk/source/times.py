"""Start-times: as people write them, and as the calling window wants them.

All is counted from one `now`, so that a list gives the same calls however long it takes to read.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from phonon_bulk.call import INDIA, read_start_time
from phonon_bulk.config import ChecksSettings, Outside, StartTimeForm, Window

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DATE = r"(\d{1,2}|[A-Za-z]{3,9})[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/., ]+(\d{4}|\d{2})"
_CLOCK = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
_WRITTEN = re.compile(rf"{_DATE}(?:[T, ]+{_CLOCK})?", re.ASCII)
_DATE_ALONE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_SERIAL = re.compile(r"\d{5}(\.\d+)?", re.ASCII)
_EXCEL_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel's days are of no time zone
_CENTURY = 2000
_NOON = 12
_EXAMPLES = {
    StartTimeForm.ISO: "2026-11-24T10:00:00+05:30",
    StartTimeForm.DAY_FIRST: "24/11/2026 10:00",
    StartTimeForm.MONTH_FIRST: "11/24/2026 10:00",
    StartTimeForm.EXCEL: "46350.4375 (days since 1899-12-30)",
}
_PAST = "'s date is past"
_KEPT = 100_000  # a day has 86,400 seconds


@dataclass(frozen=True, slots=True)
class Start:
    """When a call is to start, at +05:30, and whether that is another time than was asked for."""

    moment: datetime
    moved: bool = False


class StartTimes:
    """Decides when the calls of a list start."""

    def __init__(self, checks: ChecksSettings, now: float, rows: int) -> None:
        """Count from `now` (seconds since the epoch); the list has `rows` rows."""
        self._form = checks.start_time_form
        self._zone = ZoneInfo(checks.time_zone)
        self._window = checks.window
        self._rejects = checks.outside_window is Outside.REJECT
        self._now = datetime.fromtimestamp(now, UTC)
        self._today = self._now.astimezone(INDIA).date()
        self._spread = None if checks.spread is None else self._span(checks.spread)
        self._rows = max(rows, 1)
        self.read = lru_cache(_KEPT)(self._read)

    @property
    def spreads(self) -> bool:
        """Whether the start-times are spread, so that each row has its own."""
        return self._spread is not None

    @property
    def moved_note(self) -> str:
        """What is noted of a call whose start-time was moved."""
        return f"start-time moved to the next opening of {self._window}"

    def at_once(self) -> Start | str:
        """Return the start of a call that has no time of its own, or why there is none."""
        return self._fitted(self._now)

    def of_row(self, row: int) -> Start | str:
        """Return the start of row `row` (from 1) where they are spread."""
        assert self._spread is not None  # noqa: S101 - callers look at `spreads`
        begin, length = self._spread
        return self._fitted(begin + timedelta(seconds=int(length * (row - 1) / self._rows)))

    def _read(self, text: str) -> Start | str:
        """Return the start that a text names, or what is to be said of it after its column's name.

        An empty text is a call that has no time of its own.
        """
        if not text.strip():
            return self.at_once()
        try:
            found = self._moment(text.strip())
            if isinstance(found, datetime):
                past = found.astimezone(INDIA).date() < self._today
                return _PAST if past else self._fitted(found)
            if found is not None:
                return self._of_day(found)
        except OverflowError:  # at the ends of the calendar
            pass
        return f" can't be read: write it like {_EXAMPLES[self._form]}"

    def _of_day(self, day: date) -> Start | str:
        """Return the start of a call of which no more than the day is said: when it opens then."""
        window = self._window
        if window is None:
            return " has no time of day"
        local = self._now.astimezone(self._zone)
        opening = datetime.combine(day, window.opens, self._zone).astimezone(INDIA)
        if day < local.date() or opening.date() < self._today:
            return _PAST
        if day == local.date() and local.time() >= window.closes:
            return self._fitted(self._now)
        return Start(opening)

    def _moment(self, text: str) -> datetime | date | None:
        """Return the moment that a text names, or the day if it names no more."""
        if match := _DATE_ALONE.fullmatch(text):
            return _date(*map(int, match.groups()))
        if found := read_start_time(text, self._zone):
            return found
        if self._form is StartTimeForm.EXCEL:
            return self._serial(text)
        return None if self._form is StartTimeForm.ISO else self._written(text)

    def _serial(self, text: str) -> datetime | date | None:
        if not _SERIAL.fullmatch(text):
            return None
        moment = _EXCEL_ZERO + timedelta(seconds=round(float(text) * 86_400))
        return moment.date() if moment.time() == time() else moment.replace(tzinfo=self._zone)

    def _written(self, text: str) -> datetime | date | None:
        match = _WRITTEN.fullmatch(text)
        if match is None:
            return None
        first, second, year_text, *clock = match.groups()
        day, month = (first, second) if self._form is StartTimeForm.DAY_FIRST else (second, first)
        if day.isalpha():  # a month's name says itself which one is the month
            day, month = month, day
        if not day.isdigit() or not (number := _month(month)):
            return None
        year = int(year_text) + (_CENTURY if len(year_text) == 2 else 0)  # noqa: PLR2004 - digits
        found = _date(year, number, int(day))
        if found is None or clock[0] is None:
            return found
        of_day = _clock(*clock)
        return None if of_day is None else datetime.combine(found, of_day, self._zone)

    def _fitted(self, moment: datetime) -> Start | str:
        """Return the moment if it lies in the window, or the next opening, or why not.

        A call whose time has passed starts at once, so it is now that counts then.
        """
        window = self._window
        if window is None:
            return Start(moment.astimezone(INDIA))
        begins = max(moment, self._now).astimezone(UTC)
        local = begins.astimezone(self._zone)
        if window.opens <= local.time() < window.closes:
            return Start(moment.astimezone(INDIA))
        if self._rejects:
            return f" is outside of {window}"
        day = local.date() + timedelta(days=local.time() >= window.closes)
        return Start(self._opening(window, day, begins).astimezone(INDIA), moved=True)

    def _opening(self, window: Window, day: date, after: datetime) -> datetime:
        """Return when the window opens on a day; the second time, where clocks were set back."""
        opening = datetime.combine(day, window.opens, self._zone)
        both = (opening.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        return min((moment for moment in both if moment > after), default=after)

    def _span(self, spread: Window) -> tuple[datetime, float]:
        """Return when the spread begins, and how many seconds it lasts: today's, or the next."""
        local = self._now.astimezone(self._zone)
        day = local.date() + timedelta(days=local.time() >= spread.closes)
        begin, end = (
            datetime.combine(day, at, self._zone).astimezone(UTC)
            for at in (spread.opens, spread.closes)
        )
        begin = max(begin, self._now)
        return begin, (end - begin).total_seconds()


def window_closes(checks: ChecksSettings, moment: datetime | None, now: float) -> float | None:
    """Return when the window closes in which the first call starts, in seconds since the epoch.

    `moment` is the start-time that the campaign has for all calls, if it has one. None if there is
    no window. A call that is sent later would start at once, outside of it.
    """
    if checks.window is None:
        return None
    starts = StartTimes(checks, now, 1)
    first = starts.of_row(1) if starts.spreads else starts.at_once()
    if moment is not None:
        first = starts.read(moment.isoformat())
    zone = ZoneInfo(checks.time_zone)
    begins = datetime.fromtimestamp(now, UTC) if isinstance(first, str) else first.moment
    day = max(begins, datetime.fromtimestamp(now, UTC)).astimezone(zone).date()
    return datetime.combine(day, checks.window.closes, zone).timestamp()


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _month(text: str) -> int | None:
    return int(text) if text.isdigit() else _MONTHS.get(text[:3].lower())


def _clock(hour: str, minute: str, second: str | None, half: str | None) -> time | None:
    try:
        read = time(int(hour), int(minute), int(second or 0))
    except ValueError:
        return None
    if half is None:
        return read
    if not 1 <= read.hour <= _NOON:
        return None
    return read.replace(hour=read.hour % _NOON + (_NOON if half in "pP" else 0))
