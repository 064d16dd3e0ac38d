"""The body of a POST: bytes in, an `Order` or all that is wrong with it out. Pure.

A body is one call, a list of calls, or the API's own request object with its `calls`. Everything is
checked before anything is kept, so that a request is taken as a whole or not at all.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NoReturn

import orjson

from phonon_bulk.batch import MAX_BODY_BYTES, MAX_CALLS, SECURITY_ID_LENGTH, room_for_calls
from phonon_bulk.call import (
    MAX_DIGITS,
    MIN_DIGITS,
    Call,
    encode,
    read_start_time,
    start_time_text,
    today_in_india,
)
from phonon_bulk.config import KEY_PREFIX
from phonon_bulk.intake.door import Order
from phonon_bulk.intake.problems import (
    BAD_CALLS,
    NO_FLOW,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY_CALLS,
    At,
    ProblemError,
)

MAX_NUMBERS = 10
"""Contact numbers of one call, as Phonon's own template has them (tel1 to tel10)."""

MAX_IDENTIFIER = 256
"""Characters of a client-identifier; Phonon names no limit."""

MAX_KEY_NAME = 256
"""Characters of a flow variable's name, `$flow.key.` included."""

MAX_PROBLEMS = 20
"""So many are named at once."""

API_VERSION = "1.0"

FLOW_ID = re.compile(r"[A-Za-z0-9]{8}")
NUMBER = re.compile(rf"[1-9][0-9]{{{MIN_DIGITS - 1},{MAX_DIGITS - 1}}}")

CALL_FIELDS = ("client-identifier", "start-time", "contact-numbers", "keys")
REQUEST_FIELDS = ("api-version", "flow-id", "calls")
KEY_FIELDS = ("name", "value")
_ALL_NAMES = frozenset((*CALL_FIELDS, *REQUEST_FIELDS, *KEY_FIELDS))
_OF_REQUEST = frozenset({*REQUEST_FIELDS, "security-id"})

_NO_SECURITY_ID = (
    "a security id is not needed here and must not be sent: the worker has its own."
    " Take it out of the request, and of where it may have been logged"
)
_START_TIME_EXPECTED = (
    "expected a date and time in ISO 8601, like 2026-11-24T10:00:00+05:30; without an offset it is"
    " the time in India"
)
_NUMBER_EXPECTED = (
    f"expected a string of {MIN_DIGITS} to {MAX_DIGITS} digits that begins with the country code,"
    " without + or spaces"
)
_IDENTIFIER_EXPECTED = (
    f"expected a string of 1 to {MAX_IDENTIFIER} characters that is not blank, without NUL"
)
_KEY_NAME_EXPECTED = (
    f"expected the name of a flow variable, {KEY_PREFIX}NAME, of at most {MAX_KEY_NAME}"
    " characters, without NUL"
)
_LATE = "the start date has passed (the date in India counts); the call is not placed"
_LONGEST_NAME = 64
_LONGEST_TIME = 64
_BYTES_OF_START_TIME = len(start_time_text(datetime.fromtimestamp(0, UTC)))


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """An order that is right but for its time: `late` names the calls whose start date has passed.

    It must not be admitted then. But a request that was taken before midnight may be repeated after
    it, so whether its key is known is asked first.
    """

    order: Order
    late: tuple[At, ...] = ()

    def refuse_late(self) -> None:
        """Raise ProblemError if a start date has passed."""
        if self.late:
            _refuse(self.late)


def read_draft(body: bytes, *, flow_id: str | None, key: str | None, now: float) -> Draft:
    """Return what a body asks for.

    `flow_id` is that of requests that name none. Raises ProblemError with all that is wrong, at
    most 20 places.
    """
    content = _parse(body)
    reader = _Reader(now)
    calls, own_flow = reader.read(content)
    if reader.wrong:
        _refuse(reader.wrong)
    _refuse_doubles(body)
    flow = own_flow or flow_id
    if flow is None:
        raise ProblemError(
            NO_FLOW,
            'send the calls as {"flow-id": …, "calls": […]}, or add ?flow-id= to the path, or'
            " set intake.flow_id in the settings of the worker",
        )
    encoded = [encode(call) for call in calls]
    _refuse_size(encoded, sum(not call.start_time for call in calls), flow)
    order = Order(
        flow_id=flow,
        calls=reader.dated(calls),
        key=key,
        request_sha256=_fingerprint(flow, encoded),
    )
    return Draft(order, tuple(reader.late))


def _fingerprint(flow_id: str, encoded: Sequence[bytes]) -> bytes:
    """Return by what a repeated request is known, however its JSON was written.

    A call without a start-time has none here either: repeated a minute later, it is still the same.
    """
    digest = sha256(flow_id.encode())
    for call in encoded:
        digest.update(b"\n" + call)
    return digest.digest()


def _parse(body: bytes) -> Any:
    if not body:
        raise ProblemError(NOT_JSON, "the body is empty; expected a call or a list of calls")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
    if body.startswith(b"\xef\xbb\xbf"):
        raise ProblemError(NOT_JSON, "the body begins with a byte order mark; leave it out")
    raise ProblemError(NOT_JSON, f"the body can't be read as JSON in UTF-8: {where}")


def _refuse(wrong: Sequence[At]) -> NoReturn:
    few = len(wrong) < MAX_PROBLEMS
    count = f"{len(wrong)} place{'s' if len(wrong) > 1 else ''}" if few else "many places"
    more = "" if few else f"; the first {MAX_PROBLEMS} are named"
    raise ProblemError(BAD_CALLS, f"something is wrong in {count}{more}; nothing was kept", wrong)


class _EnoughError(Exception):
    """So many problems were found that looking on is of no use."""


class _Reader:
    """Reads one body's calls and collects what is wrong with them."""

    def __init__(self, now: float) -> None:
        self.wrong: list[At] = []
        self.late: list[At] = []
        self._now = now
        self._today: date = today_in_india(now)

    def read(self, content: object) -> tuple[list[Call], str | None]:
        """Return the calls, without a start-time where none was given, and the flow if named."""
        try:
            return self._read(content)
        except _EnoughError:
            return [], None

    def dated(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        """Return the calls with a start-time each: now, if none was given."""
        now = start_time_text(datetime.fromtimestamp(self._now, UTC))
        return tuple(call if call.start_time else replace(call, start_time=now) for call in calls)

    def _read(self, content: object) -> tuple[list[Call], str | None]:
        match content:
            case list():
                return self._calls(content, ""), None
            case dict() if _OF_REQUEST.isdisjoint(content):
                return [self._call(content, "")], None
            case dict():
                return self._request(content)
        self._say("", "expected a call, a list of calls, or an object with calls")
        return [], None

    def _request(self, content: Mapping[str, Any]) -> tuple[list[Call], str | None]:
        self._refuse_unknown(content, REQUEST_FIELDS, "")
        if content.get("api-version", API_VERSION) != API_VERSION:
            self._say("/api-version", f'expected "{API_VERSION}", or nothing')
        flow = content.get("flow-id")
        if "flow-id" in content and not (isinstance(flow, str) and FLOW_ID.fullmatch(flow)):
            self._say("/flow-id", "expected a flow id: a string of 8 letters and digits")
            flow = None
        calls = content.get("calls")
        if not isinstance(calls, list):
            self._say("/calls", f"expected a list of 1 to {MAX_CALLS} calls")
            return [], flow
        return self._calls(calls, "/calls"), flow

    def _calls(self, values: list[Any], at: str) -> list[Call]:
        if len(values) > MAX_CALLS:
            raise ProblemError(
                TOO_MANY_CALLS,
                f"there are {len(values):,} calls, and a request has {MAX_CALLS} at most;"
                " nothing was kept",
                [At(at, f"expected 1 to {MAX_CALLS} calls")],
            )
        if not values:
            self._say(at, f"expected 1 to {MAX_CALLS} calls")
        return [self._call(value, f"{at}/{i}") for i, value in enumerate(values)]

    def _call(self, value: object, at: str) -> Call:
        if not isinstance(value, dict):
            self._say(at, f"expected a call: an object with {', '.join(CALL_FIELDS)}")
            return _NO_CALL
        self._refuse_unknown(value, CALL_FIELDS, at)
        return Call(
            client_identifier=self._identifier(value.get("client-identifier"), at),
            start_time=self._start_time(value, at),
            contact_numbers=self._numbers(value.get("contact-numbers"), at),
            keys=self._keys(value["keys"], f"{at}/keys") if "keys" in value else (),
        )

    def _identifier(self, value: object, at: str) -> str:
        good = isinstance(value, str) and len(value) <= MAX_IDENTIFIER and not _empty(value)
        if good and isinstance(value, str):
            return value
        self._say(f"{at}/client-identifier", _IDENTIFIER_EXPECTED)
        return ""

    def _start_time(self, call: Mapping[str, Any], at: str) -> str:
        if "start-time" not in call:
            return ""
        value = call["start-time"]
        start = _start(value) if isinstance(value, str) and len(value) <= _LONGEST_TIME else None
        if start is None:
            self._say(f"{at}/start-time", _START_TIME_EXPECTED)
            return ""
        text, day = start
        if day < self._today and len(self.late) < MAX_PROBLEMS:
            self.late.append(At(f"{at}/start-time", _LATE))
        return text

    def _numbers(self, values: object, at: str) -> tuple[str, ...]:
        at = f"{at}/contact-numbers"
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_NUMBERS:
            self._say(at, f"expected a list of 1 to {MAX_NUMBERS} numbers")
            return ()
        for i, value in enumerate(values):
            if not (isinstance(value, str) and NUMBER.fullmatch(value)):
                self._say(f"{at}/{i}", _NUMBER_EXPECTED)
        return tuple(values)

    def _keys(self, values: object, at: str) -> tuple[tuple[str, str], ...]:
        if not isinstance(values, list):
            self._say(at, 'expected a list of objects, each with "name" and "value"')
            return ()
        keys: dict[str, str] = {}
        for i, value in enumerate(values):
            name, text = self._key(value, f"{at}/{i}")
            if name in keys:
                self._say(f"{at}/{i}/name", "expected each flow variable once; a key before has it")
            keys[name or f"\0{i}"] = text
        return tuple(keys.items())

    def _key(self, value: object, at: str) -> tuple[str, str]:
        if not isinstance(value, dict):
            self._say(at, 'expected an object with "name" and "value"')
            return "", ""
        self._refuse_unknown(value, KEY_FIELDS, at)
        name, text = value.get("name"), value.get("value")
        if not (isinstance(name, str) and _is_key_name(name)):
            self._say(f"{at}/name", _KEY_NAME_EXPECTED)
            name = ""
        if not isinstance(text, str) or "\0" in text:
            self._say(f"{at}/value", "expected a string without NUL")
            text = ""
        return name, text

    def _refuse_unknown(self, value: Mapping[str, Any], known: Sequence[str], at: str) -> None:
        for name in value:
            if name == "security-id":
                self._say(f"{at}/security-id", _NO_SECURITY_ID)
            elif name not in known:
                self._say(f"{at}/{_pointed(name)}", f"unknown; known are {', '.join(known)}")

    def _say(self, where: str, expected: str) -> None:
        self.wrong.append(At(where, expected))
        if len(self.wrong) == MAX_PROBLEMS:
            raise _EnoughError


_NO_CALL = Call("", "", ())


@lru_cache(maxsize=1024)  # the calls of a request have one start-time as a rule, or few
def _start(text: str) -> tuple[str, date] | None:
    """Return a start-time as the API writes it, and its date in India; None if it can't be read."""
    moment = read_start_time(text)
    return None if moment is None else (start_time_text(moment), moment.date())


def _empty(text: str) -> bool:
    return not text.strip() or "\0" in text


def _is_key_name(name: str) -> bool:
    long_enough = len(KEY_PREFIX) < len(name) <= MAX_KEY_NAME
    return long_enough and name.startswith(KEY_PREFIX) and "\0" not in name


def _pointed(name: str) -> str:
    """Return a name as it stands in a JSON pointer (RFC 6901), shortened."""
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    return short.replace("~", "~0").replace("/", "~1")


# ---- what can only be looked at when the rest is right


def _refuse_size(encoded: Sequence[bytes], undated: int, flow_id: str) -> None:
    size = sum(map(len, encoded)) + len(encoded) - 1 + undated * _BYTES_OF_START_TIME
    room = room_for_calls(flow_id, SECURITY_ID_LENGTH)
    if size > room:
        raise ProblemError(
            TOO_LARGE,
            f"the calls take {size:,} bytes as they are sent, and {room:,} fit into a request of"
            f" {MAX_BODY_BYTES:,}; send them in several. Nothing was kept",
        )


class _DoubleError(ValueError):
    """A name stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _DoubleError(name if name in _ALL_NAMES else "")
        seen.add(name)


_STRICT = json.JSONDecoder(object_pairs_hook=_once)


def _refuse_doubles(body: bytes) -> None:
    """Refuse a body in which an object has a name twice.

    orjson keeps the last of the two without a word, and which was meant nobody knows. The rest of
    the body is right by now, so whatever else the slower parser minds is in what orjson dropped.
    """
    try:
        _STRICT.decode(body.decode())
    except _DoubleError as error:
        name = str(error)
    except (ValueError, RecursionError):
        name = ""
    else:
        return
    what = f'the name "{name}" stands' if name else "a name stands"
    raise ProblemError(NOT_JSON, f"{what} twice in one object, so what is meant is not clear")
