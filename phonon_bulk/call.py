"""One call: what the API asks of it, and what makes a row of a list not become one.

Facts are from Phonon's page on the Outbound Create Request API: a call has a `client-identifier`,
a `start-time` in ISO 8601 at +05:30, `contact-numbers` (alternates of one customer, digits with
country code) and `keys` (flow variables named `$flow.key.<Variable>`).

The list reader writes calls in bulk inside DuckDB; `encode` here is the plain definition of the
same bytes, and a test holds the two together.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum

import orjson

INDIA = timezone(timedelta(hours=5, minutes=30))
"""The provider's clock: start-times carry +05:30, and "today" is the date there."""

MIN_DIGITS, MAX_DIGITS = 8, 15
"""Digits of a contact number with its country code; 15 is the most E.164 allows."""

_START_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Call:
    """One customer to be reached; `keys` holds (variable name with prefix, value) in order."""

    client_identifier: str
    start_time: str
    contact_numbers: tuple[str, ...]
    keys: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Show nothing of the customer."""
        return f"Call({len(self.contact_numbers)} numbers, {len(self.keys)} keys)"


class LeftOut(StrEnum):
    """Why a row of the list did not become a call."""

    REJECTED = "rejected"
    """Something is wrong with it; mended, it can be sent."""
    SUPPRESSED = "suppressed"
    """All its numbers are on a do-not-call list."""
    DUPLICATE = "duplicate"
    """An earlier row had its number or client-identifier."""


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """A row of the list that did not become a call.

    `row` counts the list's data rows from 1, over all its files. `fields` is the row as it was
    read, a JSON object of column name to text, so that a rejected one can be mended; `{}` for the
    others.
    """

    row: int
    reason: str
    client_identifier: str | None
    contact_numbers: tuple[str, ...]
    fields: str = "{}"
    state: LeftOut = LeftOut.REJECTED

    def __repr__(self) -> str:
        """Show nothing of the customer."""
        return f"LeftOutRow(row={self.row}, state={self.state.value!r}, reason={self.reason!r})"


def encode(call: Call) -> bytes:
    """Return the call as it stands in a request body: compact JSON, UTF-8, keys in API order."""
    return orjson.dumps(
        {
            "client-identifier": call.client_identifier,
            "start-time": call.start_time,
            "contact-numbers": call.contact_numbers,
            "keys": [{"name": name, "value": value} for name, value in call.keys],
        }
    )


def read_start_time(text: str, zone: tzinfo = INDIA) -> datetime | None:
    """Return the moment that `text` names, at +05:30, or None if it can't be read.

    Read are ISO 8601 date and time, with `T` or a space between, with or without seconds (and parts
    of one, which are dropped), with or without an offset; without one it is a time in `zone`.
    """
    match = _START_TIME.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, seconds, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{seconds or ':00'}{offset or ''}")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(INDIA)
    except (ValueError, OverflowError):
        return None


def read_end(text: str, now: float) -> float:
    """Return the moment that `text` names, in seconds since the epoch, as `now` is.

    A time of day ("19:00") is that of the day that `now` is in India; else it is read as
    `read_start_time` does.

    Raises ValueError if it can't be read.
    """
    moment = read_start_time(text) or read_start_time(f"{today_in_india(now)} {text}")
    if moment is None:
        raise ValueError("neither a time of day nor a date and time")
    return moment.timestamp()


def start_time_text(moment: datetime) -> str:
    """Return the moment as the API writes it: `YYYY-MM-DDTHH:MM:SS+05:30`."""
    return moment.astimezone(INDIA).replace(microsecond=0).isoformat()


def today_in_india(now: float) -> date:
    """Return the provider's date at `now` (seconds since the epoch)."""
    return datetime.fromtimestamp(now, UTC).astimezone(INDIA).date()
