"""One row as a call, or the reason why it is none: the plain definition.

`calls.sql` does the same for the usual rows in bulk, and leaves every other row to this module; a
test holds the two together. Reasons and notes name columns and never what is in them, because they
are printed and logged.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import orjson

from phonon_bulk.call import Call, LeftOut, LeftOutRow, encode, start_time_text
from phonon_bulk.config import DuplicatesBy
from phonon_bulk.source.columns import Columns, label
from phonon_bulk.source.numbers import NumberReader, Unusable
from phonon_bulk.source.suppression import Suppressed
from phonon_bulk.source.times import Start, StartTimes

_EPOCH = date(1970, 1, 1)

Key = int | bytes | None
"""By which duplicates are known: a number, or 16 bytes of the hash of a client-identifier."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reading is given beside the list."""

    run: int
    """The run's number, for client-identifiers that the list doesn't have."""
    room: int
    """Bytes that a call may have: no more fit into a body."""
    numbers: NumberReader
    starts: StartTimes
    start: Start | None
    """That of all calls; None: each row has its own."""
    suppressed: Suppressed | None = None
    """None: no list of numbers that are not to be called."""
    key: DuplicatesBy | None = None
    """None: duplicates are kept, and no keys are needed."""


@dataclass(frozen=True, slots=True, repr=False)
class Encoded:
    """A call as it stands in a body, its start date in days since 1970-01-01, and what to note."""

    json: bytes
    day: int
    key: Key = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _NoCall:
    """Why a row is no call."""

    reason: str
    state: LeftOut = LeftOut.REJECTED


_SUPPRESSED = _NoCall("on a do-not-call list", LeftOut.SUPPRESSED)

Fields = Sequence[str | None]
"""A row's fields by column; None where an expression has no value, or where there is no field."""


def read_row(
    columns: Columns, rules: Rules, number: int, fields: Fields, fault: str | None = None
) -> Encoded | LeftOutRow:
    """Return row `number` (from 1) of the list as a call, or why it is none.

    `fault` is why it could not be read as a row; `fields` are what could be read of it then.
    """
    if fault:
        return _left_out(columns, number, fields, _NoCall(fault))
    outcome = _encode(columns, rules, number, fields)
    if isinstance(outcome, Encoded):
        return outcome
    return _left_out(columns, number, fields[: len(columns.own)], outcome)


def suppressed_row(columns: Columns, number: int, fields: Fields) -> LeftOutRow:
    """Return a row of which all numbers are not to be called."""
    return _left_out(columns, number, fields[: len(columns.own)], _SUPPRESSED)


def suppressed_note(column: str) -> str:
    """Return what is noted of a call that had such a number in a column."""
    return f"a number in {column} was left out: it is on a do-not-call list"


def duplicate_row(
    columns: Columns, number: int, fields: Fields, by: DuplicatesBy, state: LeftOut
) -> LeftOutRow:
    """Return a row that would be a call, had not an earlier one its key."""
    what = "number" if by is DuplicatesBy.NUMBER else "client-identifier"
    why = _NoCall(f"a call before it has the same {what}", state)
    return _left_out(columns, number, fields[: len(columns.own)], why)


def days_since_epoch(day: date) -> int:
    """Return the day as a number: days since 1970-01-01."""
    return (day - _EPOCH).days


def identifier_key(identifier: str) -> bytes:
    """Return the key of a client-identifier, as `calls.sql` has it too."""
    return hashlib.md5(orjson.dumps(identifier), usedforsecurity=False).digest()


def _left_out(columns: Columns, number: int, fields: Fields, why: _NoCall) -> LeftOutRow:
    texts = [field or "" for field in fields]
    rejected = why.state is LeftOut.REJECTED
    return LeftOutRow(
        row=number,
        reason=why.reason,
        client_identifier=_client_identifier(columns, texts),
        contact_numbers=tuple(texts[i] for i in columns.numbers if i < len(texts) and texts[i]),
        fields=_fields_json(columns, texts) if rejected else "{}",
        state=why.state,
    )


def _encode(columns: Columns, rules: Rules, number: int, fields: Fields) -> Encoded | _NoCall:
    texts = [field for field in fields if field is not None]
    if len(texts) < len(fields):
        name = next(n for n, field in zip(columns.names, fields, strict=True) if field is None)
        return _NoCall(f"{name[1:-1]} has no value for this row")
    if reason := _content_reason(columns, texts):
        return _NoCall(reason)
    numbers = _Numbers(columns, rules, texts)
    if not numbers.usable:
        return numbers.why_none()
    start = _start(columns, rules, number, texts)
    if isinstance(start, str):
        return _NoCall(start)
    own = _client_identifier(columns, texts)
    call = Call(
        client_identifier=own or f"{rules.run}-{number}",
        start_time=start_time_text(start.moment),
        contact_numbers=tuple(numbers.usable),
        keys=tuple((name, texts[i]) for name, i in columns.keys),
    )
    json = encode(call)
    if len(json) > rules.room:
        return _NoCall(
            f"the call is too large: {len(json):,} bytes, and {rules.room:,} fit into a request"
        )
    notes = (*numbers.notes, *([rules.starts.moved_note] if start.moved else []))
    return Encoded(json, days_since_epoch(start.moment.date()), _key(rules, call, own), notes)


def _content_reason(columns: Columns, texts: Sequence[str]) -> str | None:
    """Return what is wrong with a field by itself."""
    for i in columns.required:
        if not texts[i].strip():
            return f"{columns.said[i]} is empty"
    for i, most in columns.max_lengths:
        if len(texts[i]) > most:
            return f"{columns.said[i]} is longer than {most:,} characters"
    used = [i for _, i in columns.keys]
    used += [] if columns.client_identifier is None else [columns.client_identifier]
    for i in used:
        if "\0" in texts[i]:
            return f"{columns.said[i]} has a NUL character in it"
    return None


class _Numbers:
    """The numbers of a row: those that can be used, each once, in their order; and the others."""

    def __init__(self, columns: Columns, rules: Rules, texts: Sequence[str]) -> None:
        self._names = [columns.said[i] for i in columns.numbers]
        self._unusable: list[tuple[str, str]] = []
        self._suppressed: list[str] = []
        self._foreign: list[str] = []
        self._reader = rules.numbers
        self.usable: list[str] = []
        for i in columns.numbers:
            for number in rules.numbers.several(texts[i]):
                self._take(columns.said[i], number, rules.suppressed)

    def _take(self, column: str, number: str | Unusable, suppressed: Suppressed | None) -> None:
        if isinstance(number, Unusable):
            self._unusable.append((column, number.reason))
        elif suppressed is not None and suppressed.has(number):
            self._suppressed.append(column)
        elif number not in self.usable:
            self.usable.append(number)
            if not number.startswith(self._reader.country_code):
                self._foreign.append(column)

    @property
    def notes(self) -> list[str]:
        """What was left out of the call."""
        notes = [f"a number in {column} was left out: it {why}" for column, why in self._unusable]
        notes += [suppressed_note(column) for column in self._suppressed]
        region = self._reader.region
        notes += [
            f"a number in {column} is of another country than {region}" for column in self._foreign
        ]
        return list(dict.fromkeys(notes))

    def why_none(self) -> _NoCall:
        """Return why a row without a usable number is no call."""
        if self._suppressed:
            return _SUPPRESSED
        if self._unusable:
            column, why = self._unusable[0]
            return _NoCall(f"no usable number: {column} {why}")
        names = ", ".join(self._names)
        return _NoCall(
            f"no usable number: {names} {'is' if len(self._names) == 1 else 'are'} empty"
        )


def _start(columns: Columns, rules: Rules, number: int, texts: Sequence[str]) -> Start | str:
    column = columns.start_time
    if rules.start is not None:
        return rules.start
    if not isinstance(column, int):
        start = rules.starts.of_row(number)
        return f"the start-time{start}" if isinstance(start, str) else start
    start = rules.starts.read(texts[column])
    return columns.said[column] + start if isinstance(start, str) else start


def _key(rules: Rules, call: Call, own: str | None) -> Key:
    if rules.key is DuplicatesBy.NUMBER:
        return int(call.contact_numbers[0])
    if rules.key is DuplicatesBy.CLIENT_IDENTIFIER and own is not None:
        return identifier_key(own)
    return None


def _client_identifier(columns: Columns, texts: Sequence[str]) -> str | None:
    place = columns.client_identifier
    if place is None or place >= len(texts):
        return None
    return texts[place].strip() or None


def _fields_json(columns: Columns, texts: Sequence[str]) -> str:
    """Return the row as JSON: null where a field is missing, more fields under their place."""
    names = columns.own
    row: dict[str, str | None] = dict.fromkeys(names)
    row |= {names[i] if i < len(names) else label(i): text for i, text in enumerate(texts)}
    if columns.is_mended:
        row = {name: text for name, text in row.items() if name not in names[-2:]}
    return orjson.dumps(row).decode()
