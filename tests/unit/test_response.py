"""What answers mean, per endpoint."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from phonon_bulk.response import (
    Answer,
    CallDetail,
    Verdict,
    call_details,
    check_partial,
    concerns_account,
    placed,
    read,
    read_retry_after,
)
from phonon_bulk.retry import Facts, decide


def answer(
    endpoint: str = "bulk",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    **fields: Any,
) -> Answer:
    """Read an answer made of `fields`, in which `code` stands for api-response-code."""
    if body is None:
        names = {"code": "api-response-code", "message": "api-response-message"}
        body = orjson.dumps({names.get(k, k.replace("_", "-")): v for k, v in fields.items()})
    return read(endpoint, status, body, now=0.0, headers=headers or {})


# The status code table of phonon-api.md, row by row: what it says about the batch.
TABLE = [
    (200, Verdict.ACCEPTED),
    (201, Verdict.REPEATED),
    (400, Verdict.BAD_DATA),
    (210, Verdict.BAD_DATA),
    (205, Verdict.BAD_DATA),
    (402, Verdict.BAD_DATA),
    (302, Verdict.BAD_DATA),
    (303, Verdict.BAD_DATA),
    (301, Verdict.SETUP),
    (304, Verdict.SETUP),
    (203, Verdict.SETUP),
    (401, Verdict.ACCOUNT),
    (211, Verdict.ACCOUNT),
    (212, Verdict.ACCOUNT),
    (207, Verdict.ACCOUNT),
    (208, Verdict.ACCOUNT),
    (204, Verdict.ACCOUNT),
    (206, Verdict.UNCLEAR),
    (500, Verdict.UNCLEAR),
    (213, Verdict.UNCLEAR),
    (999, Verdict.UNCLEAR),
]


@pytest.mark.parametrize("endpoint", ["bulk", "realtime"])
@pytest.mark.parametrize(("code", "verdict"), TABLE)
def test_code(endpoint: str, code: int, verdict: Verdict) -> None:
    """Every documented code means what the table says, under HTTP 200."""
    assert answer(endpoint, code=code, request_id="r").verdict is verdict


@pytest.mark.parametrize(("code", "verdict"), [row for row in TABLE if row[0] in {400, 401, 402}])
def test_error_under_its_own_status(code: int, verdict: Verdict) -> None:
    """An error's code means the same under a matching HTTP status."""
    assert answer(status=code, code=code).verdict is verdict


def test_202_has_two_meanings() -> None:
    """202 is Accepted on bulk and Invalid Security ID on real time."""
    assert answer("bulk", 202, code=202, message="Accepted", request_id="r").verdict == "accepted"
    refused = answer("realtime", 200, code=202, message="Invalid Security ID")
    assert refused.verdict is Verdict.SETUP
    assert refused.message == "Invalid Security ID"


def test_202_by_its_endpoint_without_a_message() -> None:
    """Without a message, the endpoint alone says which 202 it is."""
    assert answer("bulk", 202, code=202).verdict is Verdict.ACCEPTED
    assert answer("realtime", 200, code=202).verdict is Verdict.SETUP


def test_202_by_its_message_against_its_endpoint() -> None:
    """A message of the other endpoint's dialect is believed."""
    assert answer("bulk", 200, code=202, message="Invalid Security ID").verdict is Verdict.SETUP
    assert answer("realtime", 202, code=202, message="Accepted").verdict is Verdict.ACCEPTED


def test_success_under_a_server_error_is_unclear() -> None:
    """Success that arrives as HTTP 502 settles nothing."""
    assert answer(status=502, code=200, message="Success").verdict is Verdict.UNCLEAR


def test_request_id_and_details_are_kept() -> None:
    """A real-time success carries a request-id and one detail per call."""
    details = [{"client-identifier": "A", "phonon-uuid": "u1"}]
    read_ = answer("realtime", code=200, request_id="r1", call_details=details)
    assert read_.request_id == "r1"
    assert read_.details == (CallDetail("A", "u1"),)


def test_null_details() -> None:
    """The bulk endpoint's call-details are null."""
    assert answer("bulk", 202, code=202, request_id="r", call_details=None).details is None


def test_partial_success_needs_its_list() -> None:
    """209 is accepted for the calls listed; without a list it says nothing about any call."""
    listed = answer(code=209, request_id="r", call_details=[{"client-identifier": "A"}])
    assert listed.verdict is Verdict.PARTIAL
    assert answer(code=209, request_id="r", call_details=None).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (403, Verdict.ACCOUNT),
        (404, Verdict.SETUP),
        (405, Verdict.SETUP),
        (302, Verdict.SETUP),
        (413, Verdict.BAD_DATA),
        (429, Verdict.THROTTLED),
        (500, Verdict.UNCLEAR),
        (502, Verdict.UNCLEAR),
        (503, Verdict.UNCLEAR),
        (400, Verdict.UNCLEAR),
        (200, Verdict.UNCLEAR),
        (204, Verdict.UNCLEAR),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b"7", b'{"a":1}', b"\xff"])
def test_status_without_a_readable_body(status: int, verdict: Verdict, body: bytes) -> None:
    """Without a code, the HTTP status is all there is; what it does not settle is unclear."""
    assert answer(status=status, body=body).verdict is verdict


@pytest.mark.parametrize("code", [True, "", "x", "२००", 200.5, None, [200], -200, 2**64 - 1, 1e300])
def test_code_that_is_none(code: object) -> None:
    """What is no number of up to three digits is no code, and does no harm."""
    assert answer(code=code).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize("code", ["200", 200.0])
def test_code_in_another_form(code: object) -> None:
    """A code as text or with a point is read for what it is."""
    assert answer(code=code, request_id="r").verdict is Verdict.ACCEPTED


def test_success_under_429_is_unclear() -> None:
    """An answer that contradicts itself settles nothing."""
    assert answer(status=429, code=200, message="Success").verdict is Verdict.UNCLEAR


def test_429_as_a_code() -> None:
    """An equivalent of HTTP 429 in the body is one."""
    assert answer(status=200, code=429).verdict is Verdict.THROTTLED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(403, Verdict.ACCOUNT), (404, Verdict.SETUP), (413, Verdict.BAD_DATA), (503, Verdict.UNCLEAR)],
)
def test_a_status_repeated_in_the_body(status: int, verdict: Verdict) -> None:
    """A code that is no more than the HTTP status again means what the status does."""
    assert answer(status=status, code=status).verdict is verdict


@pytest.mark.parametrize(
    ("endpoint", "message", "verdict"),
    [
        ("realtime", "Request not accepted: Invalid Security ID", Verdict.SETUP),
        ("bulk", "Queued at security gateway", Verdict.ACCEPTED),
        ("bulk", " accepted ", Verdict.ACCEPTED),
    ],
)
def test_202_only_by_a_message_that_is_documented(
    endpoint: str, message: str, verdict: Verdict
) -> None:
    """A message with the right words in it is not the documented one; then the endpoint decides."""
    assert answer(endpoint, code=202, message=message).verdict is verdict


def test_a_partial_success_for_other_calls_is_unclear() -> None:
    """Details that match no call of ours leave it open of which calls they speak."""
    said = answer(code=209, request_id="r", call_details=[{"client-identifier": "a "}])
    assert check_partial(said, ["a"]).verdict is Verdict.UNCLEAR
    assert check_partial(said, ["a ", "b"]).verdict is Verdict.PARTIAL
    assert answer(code=209, call_details=[]).verdict is Verdict.UNCLEAR


def test_the_message_is_ours() -> None:
    """The provider's free text, which may quote contact data, goes into no message."""
    read_ = answer(status=200, code=999, message="bad number 919812345678")
    assert "9198" not in read_.message
    assert "9198" not in repr(read_)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:30 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:30 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Retry-After is read as seconds and as a date, and is never negative."""
    assert read_retry_after(value, now=60.0) == seconds


def test_placed_matches_by_identifier_in_order() -> None:
    """Details are matched by client-identifier; equal ones in the order they come."""
    details = [CallDetail("B", "u1"), CallDetail("A", "u2"), CallDetail("A", "u3")]
    found = placed(["A", "X", "A", "A", "B"], details)
    assert [d and d.phonon_uuid for d in found] == ["u2", None, "u3", None, "u1"]


def test_kept_details_are_read_back() -> None:
    """An answer that was kept gives its details again; another gives none."""
    body = b'{"call-details":[{"client-identifier":"A","phonon-uuid":"u"}]}'
    assert call_details(body) == (CallDetail("A", "u"),)
    assert call_details(b"<html>") is None


@pytest.mark.parametrize("entry", [b'{"x":1}', b"3"])
def test_details_that_can_not_be_read_are_none(entry: bytes) -> None:
    """A call that was placed must not be taken for refused because its entry is odd."""
    details = b'[{"client-identifier":"A"},' + entry + b"]"
    assert call_details(b'{"call-details":' + details + b"}") is None
    body = b'{"api-response-code":209,"request-id":"r","call-details":' + details + b"}"
    assert read("realtime", 200, body, now=0.0, headers={}).verdict is Verdict.UNCLEAR


def test_a_retry_after_out_of_this_world() -> None:
    """A date that no calendar has is no Retry-After, and no fault."""
    assert read_retry_after("Mon, 16 Nov 2009 13:32:02 +9999999999999", 0.0) is None
    assert read_retry_after("Mon, 16 Nov 2009 99999999999999999999:32:02 GMT", 0.0) is None


@pytest.mark.parametrize(
    ("answered", "concerns"),
    [
        ({"code": 301}, False),
        ({"code": 304}, False),
        ({"code": 211}, True),
        ({"code": 212}, True),
        ({"code": 401}, True),
        ({"code": 203}, True),
        ({"code": 202, "message": "Invalid Security ID"}, True),
    ],
)
def test_what_stops_one_run_may_stop_all(answered: dict[str, Any], *, concerns: bool) -> None:
    """As it stands in the journal, a reason tells whether the account or the flow is refused."""
    decision = decide(answer("realtime", **answered), Facts(1, 0, doubted=False, denied=False))
    assert decision.stop is not None
    assert concerns_account(decision.stop) is concerns


def test_rows_that_are_refused_one_by_one_say_nothing_of_the_account() -> None:
    """Nor does a reason that an operator wrote."""
    assert not concerns_account("the provider refused the first 50 calls one by one, the last with")
    assert not concerns_account("paused by Asha")
    assert concerns_account("HTTP 403: this machine's IP is not allowed")
