"""One row as a call, or the reason why it is none: the plain definition.

`calls.sql` does the same for the usual rows in bulk, and leaves every other row to this module; a
test holds the two together. Reasons name columns and never what is in them, because they are
printed and logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import orjson

from phonon_bulk.call import (
    INDIA,
    Call,
    RejectedRow,
    clean_number,
    encode,
    read_start_time,
    start_time_text,
    today_in_india,
)
from phonon_bulk.source.columns import Columns, label

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Given:
    """What a reading is given beside the list."""

    run: int
    """The run's number, for client-identifiers that the list doesn't have."""
    now: float
    """Seconds since the epoch."""
    room: int
    """Bytes that a call may have: no more fit into a body."""

    @property
    def today(self) -> date:
        """The provider's date."""
        return today_in_india(self.now)

    @property
    def moment(self) -> datetime:
        """The start-time of calls that the list has none for."""
        return datetime.fromtimestamp(self.now, UTC).astimezone(INDIA)


@dataclass(frozen=True, slots=True, repr=False)
class Encoded:
    """A call as it stands in a body, and its start date in days since 1970-01-01."""

    json: bytes
    day: int


def read_row(
    columns: Columns, given: Given, number: int, fields: Sequence[str]
) -> Encoded | RejectedRow:
    """Return row `number` (from 1) of the list as a call, or why it is none."""
    outcome = _count_reason(columns, fields) or _encode(columns, given, number, fields)
    if isinstance(outcome, Encoded):
        return outcome
    return RejectedRow(
        row=number,
        reason=outcome,
        client_identifier=_client_identifier(columns, fields),
        contact_numbers=tuple(fields[i] for i in columns.numbers if i < len(fields) and fields[i]),
        fields=_fields_json(columns, fields),
    )


def days_since_epoch(day: date) -> int:
    """Return the day as a number: days since 1970-01-01."""
    return (day - _EPOCH).days


def _encode(columns: Columns, given: Given, number: int, fields: Sequence[str]) -> Encoded | str:
    numbers = _numbers(columns, fields)
    if not numbers:
        return _number_reason(columns, fields)
    moment = _start_time(columns, given, fields)
    if isinstance(moment, str):
        return moment
    call = Call(
        client_identifier=_client_identifier(columns, fields) or f"{given.run}-{number}",
        start_time=start_time_text(moment),
        contact_numbers=numbers,
        keys=tuple((name, fields[i]) for name, i in columns.keys),
    )
    json = encode(call)
    if len(json) > given.room:
        return f"the call is too large: {len(json):,} bytes, and {given.room:,} fit into a request"
    return Encoded(json, days_since_epoch(moment.date()))


def _count_reason(columns: Columns, fields: Sequence[str]) -> str | None:
    expected = len(columns.names)
    if len(fields) == expected:
        return None
    return f"too {'few' if len(fields) < expected else 'many'} fields: {len(fields)} of {expected}"


def _numbers(columns: Columns, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the usable numbers, each once, in their order."""
    cleaned = (clean_number(fields[i]) for i in columns.numbers)
    return tuple(dict.fromkeys(number for number in cleaned if number))


def _number_reason(columns: Columns, fields: Sequence[str]) -> str:
    names = ", ".join(columns.names[i] for i in columns.numbers)
    if all(not fields[i].strip() for i in columns.numbers):
        return f"no usable number: {names} {'is' if len(columns.numbers) == 1 else 'are'} empty"
    return f"no usable number in {names}: write digits with country code, for example 919812345678"


def read_moment(given: Given, name: str, text: str) -> datetime | str:
    """Return the moment in the column `name`, at +05:30, or the reason why there is none."""
    if not text.strip():
        return given.moment
    moment = read_start_time(text)
    if moment is None:
        return f"{name} can't be read: write it like 2026-11-24T10:00:00+05:30"
    if moment.date() < given.today:
        return f"{name}'s date is past"
    return moment


def _start_time(columns: Columns, given: Given, fields: Sequence[str]) -> datetime | str:
    column = columns.start_time
    if isinstance(column, int):
        return read_moment(given, columns.names[column], fields[column])
    return column or given.moment


def _client_identifier(columns: Columns, fields: Sequence[str]) -> str | None:
    place = columns.client_identifier
    if place is None or place >= len(fields):
        return None
    return fields[place].strip() or None


def _fields_json(columns: Columns, fields: Sequence[str]) -> str:
    """Return the row as JSON: null where a field is missing, more fields under their place."""
    row: dict[str, str | None] = dict.fromkeys(columns.names)
    for i, text in enumerate(fields):
        row[columns.names[i] if i < len(columns.names) else label(i)] = text
    return orjson.dumps(row).decode()
