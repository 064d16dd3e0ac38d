"""One call: what the API asks of it, and what makes a row of a list not become one.

Facts are from Phonon's page on the Outbound Create Request API: a call has a `client-identifier`,
a `start-time` in ISO 8601 at +05:30, `contact-numbers` (alternates of one customer, digits with
country code) and `keys` (flow variables named `$flow.key.<Variable>`).

The list reader writes calls in bulk inside DuckDB; `encode` here is the plain definition of the
same bytes, and a test holds the two together.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

import orjson

INDIA = timezone(timedelta(hours=5, minutes=30))
"""The provider's clock: start-times carry +05:30, and "today" is the date there."""

KEY_PREFIX = "$flow.key."
"""What the name of a flow variable begins with in a request and in Phonon's template."""

MIN_DIGITS, MAX_DIGITS = 8, 15
"""Digits of a contact number with its country code; 15 is the most E.164 allows."""

# What people put between the digits of a number they can read.
_PUNCTUATION = re.compile(r"[ \u00a0().\-]+")
_DIGITS = re.compile(r"[1-9][0-9]{7,14}")
# A bare Indian mobile: sent as it is, it would ring in another country, if anywhere.
_NO_COUNTRY_CODE = re.compile(r"[6-9][0-9]{9}")
_START_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(Z|[+-]\d{2}:\d{2})?", re.ASCII
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


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of the list that did not become a call, kept so that it can be mended.

    `row` counts the list's data rows from 1, over all its files; `fields` is the row as it was
    read, a JSON object of column name to text.
    """

    row: int
    reason: str
    client_identifier: str | None
    contact_numbers: tuple[str, ...]
    fields: str

    def __repr__(self) -> str:
        """Show nothing of the customer."""
        return f"RejectedRow(row={self.row}, reason={self.reason!r})"


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


def clean_number(text: str) -> str | None:
    """Return the number as digits with country code, or None if it can't be used as it stands.

    Spaces, dots, dashes, brackets and one leading `+` are taken away. What remains must be 8 to 15
    digits and not begin with 0. Ten digits beginning with 6 to 9 without a `+` are an Indian
    mobile number without its country code, and are not used.
    """
    bare = _PUNCTUATION.sub("", text)
    plus = bare.startswith("+")
    digits = bare[1:] if plus else bare
    if not _DIGITS.fullmatch(digits):
        return None
    if not plus and _NO_COUNTRY_CODE.fullmatch(digits):
        return None
    return digits


def read_start_time(text: str) -> datetime | None:
    """Return the moment that `text` names, at +05:30, or None if it can't be read.

    Read are ISO 8601 date and time, with `T` or a space between, with or without seconds, with or
    without an offset; without one it is a time in India.
    """
    match = _START_TIME.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, seconds, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{seconds or ':00'}{offset or '+05:30'}")
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
