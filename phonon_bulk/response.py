"""What an answer of the provider means: a pure function of the endpoint and the answer.

`api-response-code` is no HTTP status, and the same number means different things on the two
endpoints (202 is Accepted on bulk and Invalid Security ID on real time). The codes and messages are
those of Phonon's status code table; which HTTP status carries them is not documented, so an error
is expected under HTTP 200 as well as under a matching 4xx or 5xx.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import orjson

BULK, REALTIME = "bulk", "realtime"


class Verdict(StrEnum):
    """What can be concluded from an answer, or from its absence."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    """Accepted for the calls listed in `call-details`."""
    REPEATED = "repeated"
    """Checksum Repeated: some earlier request had these bytes."""
    BAD_DATA = "bad_data"
    """Something in this batch is bad; nothing was placed."""
    SETUP = "setup"
    """The set-up is wrong: every batch would fail."""
    ACCOUNT = "account"
    """The account cannot send now: every batch would fail."""
    THROTTLED = "throttled"
    """Too many requests; this one was not taken."""
    NOT_SENT = "not_sent"
    """No byte of the request can have reached the provider."""
    HELD_BACK = "held_back"
    """This program kept the request back itself, before its first byte; the endpoint is well."""
    UNCLEAR = "unclear"
    """There is an answer, and it does not say whether the batch was taken."""
    LOST = "lost"
    """The request may have arrived; there is no (whole) answer."""


@dataclass(frozen=True, slots=True)
class CallDetail:
    """One entry of `call-details`: a call that was placed."""

    client_identifier: str
    phonon_uuid: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An answer as it was understood. `message` is our own wording, free of contact data."""

    verdict: Verdict
    message: str
    http_status: int | None = None
    code: int | None = None
    request_id: str | None = None
    details: tuple[CallDetail, ...] | None = None
    retry_after: float | None = None
    """Seconds, if the provider named a time to wait."""
    body: bytes = b""

    def __repr__(self) -> str:
        """Show nothing of the body."""
        return (
            f"Answer({self.verdict}, {self.message!r}, http={self.http_status}, code={self.code})"
        )


_ERRORS: dict[int, tuple[Verdict, str]] = {
    201: (Verdict.REPEATED, "Checksum Repeated"),
    203: (Verdict.SETUP, "API Version not Supported"),
    204: (Verdict.ACCOUNT, "Invalid SMS Gateway"),
    205: (Verdict.BAD_DATA, "Invalid Contact Number"),
    206: (Verdict.UNCLEAR, "Failure from Gateway"),
    207: (Verdict.ACCOUNT, "DID Not Mapped"),
    208: (Verdict.ACCOUNT, "No Mask Available"),
    210: (Verdict.BAD_DATA, "Invalid Mandatory Parameters"),
    211: (Verdict.ACCOUNT, "Validity Expired"),
    212: (Verdict.ACCOUNT, "Insufficient Balance"),
    301: (Verdict.SETUP, "Invalid Flow ID"),
    302: (Verdict.BAD_DATA, "Empty Call List"),
    303: (Verdict.BAD_DATA, "Max Data List Size Exceeded"),
    304: (Verdict.SETUP, "Invalid Flow Version"),
    400: (Verdict.BAD_DATA, "Invalid Format"),
    401: (Verdict.ACCOUNT, "IP Not Whitelisted"),
    402: (Verdict.BAD_DATA, "Phone Not Whitelisted"),
    500: (Verdict.UNCLEAR, "Failure"),
}

# What a web server or a proxy on the way says when the request reached no Outbound Create Request.
# 403 is documented for the bulk endpoint: the caller's IP is not allowed.
_STATUSES: dict[int, tuple[Verdict, str]] = {
    401: (Verdict.SETUP, "HTTP 401"),
    403: (Verdict.ACCOUNT, "HTTP 403: this machine's IP is not allowed"),
    404: (Verdict.SETUP, "HTTP 404: there is nothing at the endpoint's URL"),
    405: (Verdict.SETUP, "HTTP 405: the endpoint's URL takes no POST"),
    407: (Verdict.SETUP, "HTTP 407: a proxy on the way asks for a login"),
    410: (Verdict.SETUP, "HTTP 410: the endpoint's URL is gone"),
    413: (Verdict.BAD_DATA, "HTTP 413: the request is too large"),
    429: (Verdict.THROTTLED, "HTTP 429: too many requests"),
} | {
    status: (Verdict.SETUP, f"HTTP {status}: the endpoint's URL leads elsewhere")
    for status in (301, 302, 303, 307, 308)
}


_ACCEPTED, _INVALID_SECURITY_ID = "accepted", "invalid security id"
"""The two documented messages of code 202."""

_OF_ONE_FLOW = frozenset({301, 304})
"""The codes that speak of the flow alone."""

_OF_THE_ACCOUNT = (
    "Invalid Security ID",
    *(
        message
        for code, (verdict, message) in _ERRORS.items()
        if verdict in {Verdict.SETUP, Verdict.ACCOUNT} and code not in _OF_ONE_FLOW
    ),
    *(m for verdict, m in _STATUSES.values() if verdict in {Verdict.SETUP, Verdict.ACCOUNT}),
)


def concerns_account(reason: str) -> bool:
    """Say whether that for which a run was stopped would stop all others of its account, too.

    A wrong flow id would not, nor would rows that are refused one by one.
    """
    return reason.startswith(_OF_THE_ACCOUNT)


def read(
    endpoint: str, status: int, body: bytes, *, now: float, headers: Mapping[str, str]
) -> Answer:
    """Return what an HTTP answer of `endpoint` ("bulk" or "realtime") means.

    `now` (seconds since the epoch) is for a Retry-After that is a date.
    """
    retry_after = read_retry_after(headers.get("Retry-After"), now)
    fields = _json_object(body)
    code = _code(fields.get("api-response-code"))
    verdict, message = _meaning(endpoint, status, code, fields)
    details = _details(fields.get("call-details"))
    if verdict is Verdict.PARTIAL and not details:
        verdict, message = Verdict.UNCLEAR, "Partial Success, without saying for which calls"
    return Answer(
        verdict=verdict,
        message=message,
        http_status=status,
        code=code,
        request_id=_text(fields.get("request-id")),
        details=details,
        retry_after=retry_after,
        body=body,
    )


def check_partial(answer: Answer, identifiers: Sequence[str]) -> Answer:
    """Return the answer, or an unclear one if its partial success lists calls that are not ours.

    Then it can't be said of which calls it speaks, and none may be taken for refused.
    """
    if answer.verdict is not Verdict.PARTIAL or answer.details is None:
        return answer
    found = sum(detail is not None for detail in placed(identifiers, answer.details))
    if found == len(answer.details):
        return answer
    message = "Partial Success for calls that are not in this batch"
    return replace(answer, verdict=Verdict.UNCLEAR, message=message)


def _code(value: Any) -> int | None:
    """Return api-response-code, a number of up to three digits, also where it comes as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value) if 0 <= value <= 999 else None


def _meaning(
    endpoint: str, status: int, code: int | None, fields: Mapping[str, Any]
) -> tuple[Verdict, str]:
    success = _success(endpoint, code, fields)
    if success is not None:
        if 200 <= status < 300 or success[0] is Verdict.SETUP:
            return success
        return Verdict.UNCLEAR, f"{success[1]}, but under HTTP {status}"
    if code in _ERRORS:
        return _ERRORS[code]
    if status in _STATUSES:
        return _STATUSES[status]
    if code == 429:
        return Verdict.THROTTLED, "too many requests"
    if code is None:
        return Verdict.UNCLEAR, f"HTTP {status} with an answer that can't be read"
    return Verdict.UNCLEAR, f"HTTP {status} with the unknown code {code}"


def _success(
    endpoint: str, code: int | None, fields: Mapping[str, Any]
) -> tuple[Verdict, str] | None:
    """Return what the codes mean that stand for success somewhere, or None for all others."""
    if code == 200:
        return Verdict.ACCEPTED, "Success"
    if code == 209:
        return Verdict.PARTIAL, "Partial Success"
    if code != 202:
        return None
    # 202 means opposite things on the two endpoints; the message, where it is one of the two
    # documented ones, has the last word.
    message = (_text(fields.get("api-response-message")) or "").strip().casefold()
    accepted = endpoint == BULK
    if message in {_ACCEPTED, _INVALID_SECURITY_ID}:
        accepted = message == _ACCEPTED
    return (Verdict.ACCEPTED, "Accepted") if accepted else (Verdict.SETUP, "Invalid Security ID")


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _details(value: Any) -> tuple[CallDetail, ...] | None:
    """Return the entries of `call-details`; None if there are none, or if one can't be read."""
    if not isinstance(value, list):
        return None
    if not all(isinstance(entry, dict) and "client-identifier" in entry for entry in value):
        return None
    return tuple(
        CallDetail(str(entry["client-identifier"]), _text(entry.get("phonon-uuid")))
        for entry in value
    )


def call_details(body: bytes) -> tuple[CallDetail, ...] | None:
    """Return the `call-details` of an answer that was kept, or None if it has none."""
    return _details(_json_object(body).get("call-details"))


def placed(identifiers: Sequence[str], details: Sequence[CallDetail]) -> list[CallDetail | None]:
    """Return for each call of a batch, by its client-identifier, its detail or None.

    Where calls share an identifier, the first of them get the details there are, in order.
    """
    waiting: defaultdict[str, list[CallDetail]] = defaultdict(list)
    for detail in reversed(details):
        waiting[detail.client_identifier].append(detail)
    return [waiting[name].pop() if waiting.get(name) else None for name in identifiers]


def read_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its two forms.

    None if there is none or it can't be read; never negative.
    """
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
