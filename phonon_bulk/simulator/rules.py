"""What a request deserves: its bytes, the rules and the time in, a verdict out.

The rules are those of Phonon's page on the Outbound Create Request API and, for the codes, of its
status code table; where a second page of Phonon's says more, its name stands beside the rule.
Nothing here remembers anything, reads a clock or knows HTTP: checksums, rates and addresses are
the business of provider.py.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, compress
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from phonon_bulk.call import today_in_india
from phonon_bulk.config import KEY_PREFIX
from phonon_bulk.simulator.options import FLOW_ID, SECURITY_ID, Endpoint, Rules

MAX_CALLS = 500
"""Calls in one request, at most."""

MAX_BODY_BYTES = 262_144
"""256 KB ("Outbound Multicast API Documentation"): a larger body is not processed.

Whether that is 256,000 or 262,144 bytes is not said; a careful client stays within the smaller.
"""

_CALL_MARK = b'"client-identifier"'
_IDENTIFIER = re.compile(rb'"client-identifier"\s*:\s*("(?:[^"\\]|\\.)*")')
_NUMBER = re.compile(r"[1-9][0-9]{7,14}")
_START_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+05:30")

_get_identifier = itemgetter("client-identifier")
_get_start_time = itemgetter("start-time")
_get_numbers = itemgetter("contact-numbers")
_get_name = itemgetter("name")
_get_value = itemgetter("value")


class Refusal(NamedTuple):
    """A body code that says no, with its message from Phonon's status code table."""

    code: int
    message: str


CHECKSUM_REPEATED = Refusal(201, "Checksum Repeated")
# The number that means Accepted on bulk. The table does not say what bulk answers for an unknown
# security id; the one message it has for that case is given on both endpoints, so that a client
# has to read the code together with the message.
INVALID_SECURITY_ID = Refusal(202, "Invalid Security ID")
INVALID_API_VERSION = Refusal(203, "API Version not Supported")
INVALID_NUMBER = Refusal(205, "Invalid Contact Number")
INVALID_MANDATORY = Refusal(210, "Invalid Mandatory Parameters")
INVALID_FLOW_ID = Refusal(301, "Invalid Flow ID")
EMPTY_LIST = Refusal(302, "Empty Call List")
TOO_LARGE = Refusal(303, "Max Data List Size Exceeded")
INVALID_FORMAT = Refusal(400, "Invalid Format")
IP_NOT_ALLOWED = Refusal(401, "IP Not Whitelisted")

MESSAGES = {
    **dict([CHECKSUM_REPEATED, INVALID_API_VERSION, INVALID_NUMBER, INVALID_MANDATORY]),
    **dict([INVALID_FLOW_ID, EMPTY_LIST, TOO_LARGE, INVALID_FORMAT, IP_NOT_ALLOWED]),
    204: "Invalid SMS Gateway",
    206: "Failure from Gateway",
    207: "DID Not Mapped",
    208: "No Mask Available",
    211: "Validity Expired",
    212: "Insufficient Balance",
    213: "No Data Available",
    304: "Invalid Flow Version",
    402: "Phone Not Whitelisted",
    500: "Failure",
}
"""The codes of the table that say no and mean the same on both endpoints."""


Placed = tuple[str, Sequence[str]]
"""An accepted call, as far as the books keep it: client-identifier and contact numbers."""


@dataclass(frozen=True, slots=True)
class Request:
    """A body that was read once: the JSON in it, how many calls it holds, what is wrong so far."""

    body: bytes
    document: Any
    calls: int
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request deserves: a refusal, or calls to place.

    `accepted` counts them; `placed` names them where the calls are read at all. `partial` says
    that others of the same request were left out.
    """

    refusal: Refusal | None
    accepted: int = 0
    placed: Sequence[Placed] = ()
    partial: bool = False


def read(body: bytes, *, parse: bool) -> Request:
    """Read a body; without `parse`, or if it is too large, its calls are only counted."""
    if len(body) > MAX_BODY_BYTES:
        return Request(body, None, body.count(_CALL_MARK), TOO_LARGE)
    if not parse:
        return Request(body, None, body.count(_CALL_MARK))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Request(body, None, 0, INVALID_FORMAT)
    calls = document.get("calls") if isinstance(document, dict) else None
    return Request(body, document, len(calls) if isinstance(calls, list) else 0)


def judge(request: Request, endpoint: Endpoint, rules: Rules, now: float) -> Verdict:
    """Return what a request deserves at `now` (seconds since the epoch).

    The order of the checks is this program's: Phonon does not say which code wins.
    """
    if request.refusal:
        return Verdict(request.refusal)
    if not rules.parse_calls:
        return _judge_unread(request, endpoint)
    refusal = _head_problem(request.document, rules) or _size_problem(request.calls)
    if refusal:
        return Verdict(refusal)
    return _judge_calls(request.document["calls"], rules, now)


def _judge_unread(request: Request, endpoint: Endpoint) -> Verdict:
    """Judge by the number of calls alone; real time names each call in its answer."""
    if refusal := _size_problem(request.calls):
        return Verdict(refusal)
    if endpoint is Endpoint.BULK:
        return Verdict(None, request.calls)
    found = _IDENTIFIER.findall(request.body)
    return Verdict(None, request.calls, [(orjson.loads(text), ()) for text in found])


def _head_problem(document: Any, rules: Rules) -> Refusal | None:
    """Check everything but the calls themselves."""
    if not isinstance(document, dict):
        return INVALID_FORMAT
    texts = [document.get(name) for name in ("api-version", "security-id", "flow-id")]
    calls = document.get("calls")
    if calls is None or not all(texts):
        return INVALID_MANDATORY
    if not isinstance(calls, list) or not all(isinstance(text, str) for text in texts):
        return INVALID_FORMAT
    version, security_id, flow_id = texts
    if version not in rules.api_versions:
        return INVALID_API_VERSION
    if not _known(security_id, SECURITY_ID, rules.security_ids):
        return INVALID_SECURITY_ID
    return None if _known(flow_id, FLOW_ID, rules.flow_ids) else INVALID_FLOW_ID


def _known(identifier: Any, form: re.Pattern[str], known: frozenset[str]) -> bool:
    return identifier in known if known else form.fullmatch(identifier) is not None


def _size_problem(calls: int) -> Refusal | None:
    if not calls:
        return EMPTY_LIST
    return TOO_LARGE if calls > MAX_CALLS else None


def _judge_calls(calls: list[Any], rules: Rules, now: float) -> Verdict:
    today = today_in_india(now).isoformat()
    if _all_good(calls, rules, today):
        return Verdict(None, len(calls), _placed(calls))
    problems = [_call_problem(call, rules, today) for call in calls]
    good = list(compress(calls, [problem is None for problem in problems]))
    if not good or not rules.partial_success:
        return Verdict(next(filter(None, problems)))
    return Verdict(None, len(good), _placed(good), partial=True)


def _placed(calls: list[Any]) -> list[Placed]:
    return list(zip(map(_get_identifier, calls), map(_get_numbers, calls), strict=True))


def _all_good(calls: list[Any], rules: Rules, today: str) -> bool:
    """Tell whether no call has a problem, looking at all of them field by field.

    It comes to the same as `_call_problem` on each, and a test holds the two together, but takes
    a third of the time, and nearly every request is good.
    """
    try:
        return (
            _good_identifiers(list(map(_get_identifier, calls)), rules)
            and not any(_start_problem(text, today) for text in set(map(_get_start_time, calls)))
            and _good_numbers(list(map(_get_numbers, calls)), rules)
            and _good_keys([call.get("keys", []) for call in calls])
        )
    except (KeyError, TypeError, AttributeError):  # a field is missing or of another kind
        return False


def _good_identifiers(identifiers: list[Any], rules: Rules) -> bool:
    return (
        all(identifiers)
        and _all_are(str, identifiers)
        and rules.bad_identifiers.isdisjoint(identifiers)
    )


def _good_numbers(lists: list[Any], rules: Rules) -> bool:
    if not all(lists) or not _all_are(list, lists):
        return False
    numbers = list(chain.from_iterable(lists))
    return all(map(_NUMBER.fullmatch, numbers)) and rules.bad_numbers.isdisjoint(numbers)


def _good_keys(lists: list[Any]) -> bool:
    keys = list(chain.from_iterable(lists))
    return (
        _all_are(list, lists)
        and _all_are(str, map(_get_value, keys))
        and all(map(_is_key_name, set(map(_get_name, keys))))
    )


def _all_are(kind: type, values: Iterable[Any]) -> bool:
    return set(map(type, values)) <= {kind}


def _call_problem(call: Any, rules: Rules, today: str) -> Refusal | None:
    """Return what is wrong with one call."""
    if not isinstance(call, dict):
        return INVALID_FORMAT
    identifier = call.get("client-identifier")
    start_time = call.get("start-time")
    numbers = call.get("contact-numbers")
    if not identifier or not start_time or not numbers:
        return INVALID_MANDATORY
    if not isinstance(identifier, str):
        return INVALID_FORMAT
    if identifier in rules.bad_identifiers:  # why is left open, so the broadest code
        return INVALID_MANDATORY
    return (
        _start_problem(start_time, today)
        or _number_problem(numbers, rules.bad_numbers)
        or _key_problem(call.get("keys", []))
    )


def _start_problem(text: Any, today: str) -> Refusal | None:
    """Check a start-time against the date in India.

    Phonon does not say which code a past date has. An unreadable one is 400 (Invalid Format);
    a past one is well formed and only its value is wrong, so it is 210 (Invalid Mandatory
    Parameters). A past time of today is no problem: the call starts at once.
    """
    if not isinstance(text, str) or not _START_TIME.fullmatch(text) or not _is_moment(text):
        return INVALID_FORMAT
    return INVALID_MANDATORY if text[:10] < today else None


def _is_moment(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return text[11:13] < "24" and text[14:16] < "60" and text[17:19] < "60"


def _number_problem(numbers: Any, bad_numbers: frozenset[str]) -> Refusal | None:
    """Check the alternates of one customer: digits with country code."""
    if not isinstance(numbers, list):
        return INVALID_FORMAT
    for number in numbers:
        if not isinstance(number, str):
            return INVALID_FORMAT
        if not _NUMBER.fullmatch(number) or number in bad_numbers:
            return INVALID_NUMBER
    return None


def _key_problem(keys: Any) -> Refusal | None:
    """Check the flow variables: any number of them, none as well, each with name and value.

    The page shows values that are texts; whether a number would do is not said, so it would not.
    """
    if not isinstance(keys, list):
        return INVALID_FORMAT
    for key in keys:
        if not isinstance(key, dict) or not isinstance(key.get("value"), str):
            return INVALID_FORMAT
        if not _is_key_name(key.get("name")):
            return INVALID_FORMAT
    return None


def _is_key_name(name: Any) -> bool:
    return isinstance(name, str) and name.startswith(KEY_PREFIX) and name != KEY_PREFIX


def answer(
    code: int, message: str, request_id: str | None = None, placed: Sequence[Placed] | None = None
) -> bytes:
    """Return the JSON of an answer; without `placed`, `call-details` is null.

    What stands for the request-id beside an error is not documented: null here.
    """
    return orjson.dumps(
        {
            "api-response-code": code,
            "api-response-message": message,
            "request-id": request_id,
            "call-details": _details(request_id, placed) if request_id and placed else None,
        }
    )


def _details(request_id: str, placed: Sequence[Placed]) -> list[dict[str, str]]:
    return [
        {
            "client-identifier": identifier,
            "phonon-uuid": phonon_uuid(request_id, position),
        }
        for position, (identifier, _) in enumerate(placed)
    ]


def phonon_uuid(request_id: str, position: int) -> str:
    """Return the id of the call at `position` among the accepted ones of a request.

    It is made from the request-id, so that the books need not keep one for each call.
    """
    return f"{request_id[:24]}{position:012x}"
