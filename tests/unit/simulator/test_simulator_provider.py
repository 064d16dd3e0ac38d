"""The provider: both dialects, checksums, rates, addresses and faults, without HTTP."""

import json
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import pytest

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator import Endpoint, Reply, RetryAfter, Rules, Simulator, parse_fault

BULK, REALTIME = Endpoint.BULK, Endpoint.REALTIME
NOW = 1_795_460_400.0  # 2026-11-24 00:30 in India


class _Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def _body(*identifiers: str, number: str = "919812345678", **changes: Any) -> bytes:
    """Return a request with one call for each client identifier."""
    calls = [
        {
            "client-identifier": identifier,
            "start-time": "2026-11-24T10:00:00+05:30",
            "contact-numbers": [number],
            "keys": [],
        }
        for identifier in identifiers
    ]
    head = {"api-version": "1.0", "security-id": "a1" * 32, "flow-id": "QG8k000A"}
    return json.dumps({**head, "calls": calls, **changes}).encode()


def _send(
    simulator: Simulator,
    body: bytes = b"",
    endpoint: Endpoint = BULK,
    remote: str = "127.0.0.1",
    content_type: str = "application/json",
) -> Reply:
    return simulator.receive(endpoint, body or _body("A"), remote=remote, content_type=content_type)


def _code(reply: Reply) -> int:
    assert reply.content_type == "application/json"
    code = json.loads(reply.body)["api-response-code"]
    assert isinstance(code, int)
    return code


def _codes(simulator: Simulator, bodies: Sequence[bytes]) -> list[int]:
    return [_code(_send(simulator, body)) for body in bodies]


def _bulk(simulator: Simulator) -> dict[str, Any]:
    return simulator.ledger.summary()["bulk"]


def _simulator(*faults: str, clock: _Clock | None = None, **rules: Any) -> Simulator:
    parsed = tuple(parse_fault(text) for text in faults)
    return Simulator(Rules(faults=parsed, **rules), clock=clock or _Clock())


def test_bulk_says_202_accepted_without_details() -> None:
    """HTTP 202, body code 202, a request-id, call-details null."""
    reply = _send(_simulator(), _body("A", "B"))
    answer = json.loads(reply.body)
    assert reply.status == 202
    assert UUID(answer.pop("request-id")).version == 4
    assert answer == {
        "api-response-code": 202,
        "api-response-message": "Accepted",
        "call-details": None,
    }


def test_real_time_says_200_success_with_one_entry_for_each_call() -> None:
    """HTTP 200, body code 200, a request-id, each client-identifier with its phonon-uuid."""
    simulator = _simulator()
    reply = _send(simulator, _body("A", "B"), REALTIME)
    answer = json.loads(reply.body)
    assert reply.status == 200
    assert (answer["api-response-code"], answer["api-response-message"]) == (200, "Success")
    details = answer["call-details"]
    assert [entry["client-identifier"] for entry in details] == ["A", "B"]
    assert len({UUID(entry["phonon-uuid"]) for entry in details}) == 2
    kept = list(simulator.ledger.calls())
    assert [call["phonon-uuid"] for call in kept] == [entry["phonon-uuid"] for entry in details]
    assert {call["request-id"] for call in kept} == {answer["request-id"]}


@pytest.mark.parametrize("endpoint", Endpoint)
def test_partial_success_lists_what_was_accepted(endpoint: Endpoint) -> None:
    """209 on both endpoints, with the accepted calls only."""
    simulator = _simulator(partial_success=True, bad_identifiers=frozenset({"BAD"}))
    reply = _send(simulator, _body("A", "BAD", "B"), endpoint)
    answer = json.loads(reply.body)
    assert (answer["api-response-code"], answer["api-response-message"]) == (209, "Partial Success")
    assert [entry["client-identifier"] for entry in answer["call-details"]] == ["A", "B"]
    assert [call["client-identifier"] for call in simulator.ledger.calls()] == ["A", "B"]


def test_a_bad_call_places_nothing() -> None:
    """Without partial success one number the provider knows to be invalid refuses all."""
    simulator = _simulator(bad_numbers=frozenset({"919800000000"}))
    reply = _send(simulator, _body("A", "B", number="919800000000"))
    assert (reply.status, _code(reply)) == (200, 205)
    assert not list(simulator.ledger.calls())
    assert _bulk(simulator)["refused"] == {"205": 1}


def test_a_content_type_other_than_json_is_refused() -> None:
    """The page asks for `Content-Type: application/json`."""
    assert _code(_send(_simulator(), content_type="text/plain")) == 400


@pytest.mark.parametrize(
    ("body", "code", "http_errors", "status"),
    [
        (b"{", 400, False, 200),
        (b"{", 400, True, 400),
        (_body("A", number="1"), 205, True, 200),
        (_body(), 302, True, 200),
    ],
)
def test_the_http_status_of_an_error_is_an_option(
    body: bytes, code: int, http_errors: bool, status: int
) -> None:
    """Always 200, or the code itself where it looks like an HTTP error (400 to 599)."""
    reply = _send(_simulator(http_errors=http_errors), body)
    assert (_code(reply), reply.status) == (code, status)


def test_an_address_that_is_not_allowed_is_told_so_in_each_dialect() -> None:
    """HTTP 403 on bulk; HTTP 200 with code 401 in real time."""
    simulator = _simulator(allowed_ips=frozenset({"10.0.0.0/8"}))
    bulk = _send(simulator, remote="11.0.0.1")
    realtime = _send(simulator, endpoint=REALTIME, remote="11.0.0.1")
    assert bulk.status == 403
    assert (realtime.status, _code(realtime)) == (200, 401)
    assert json.loads(realtime.body)["api-response-message"] == "IP Not Whitelisted"
    assert _code(_send(simulator, remote="10.0.0.1")) == 202
    assert _bulk(simulator)["refused"] == {"http 403": 1}


def test_repeated_bytes_are_answered_checksum_repeated() -> None:
    """201, and no second call; one byte that differs makes another request."""
    simulator = _simulator()
    body = _body("A")
    assert _codes(simulator, [body, body, body + b" "]) == [202, 201, 202]
    assert _bulk(simulator)["accepted-calls"] == 2


def test_each_endpoint_has_its_own_memory() -> None:
    """They are two hosts."""
    simulator = _simulator()
    assert _code(_send(simulator, endpoint=BULK)) == 202
    assert _code(_send(simulator, endpoint=REALTIME)) == 200


def test_a_checksum_may_be_forgotten() -> None:
    """The time runs from the first acceptance, and a repeat does not lengthen it."""
    clock = _Clock()
    simulator = _simulator(clock=clock, checksum_memory=10.0)
    codes = []
    for seconds in (0.0, 9.0, 10.0, 19.5, 20.0):
        clock.now = NOW + seconds
        codes.append(_code(_send(simulator)))
    assert codes == [202, 201, 202, 201, 202]
    assert _bulk(simulator)["accepted-again"] == 2


@pytest.mark.parametrize(("remember_refused", "second"), [(False, 205), (True, 201)])
def test_refused_bytes_may_be_remembered_too(remember_refused: bool, second: int) -> None:
    """Whether the checksum is taken before or after processing is an option."""
    simulator = _simulator(remember_refused=remember_refused)
    assert _codes(simulator, [_body("A", number="1")] * 2) == [205, second]


def test_the_rate_is_held_in_any_60_seconds() -> None:
    """What is over it gets HTTP 429, is not processed, and may be sent again as it is."""
    clock = _Clock()
    simulator = _simulator(clock=clock, bulk_requests_per_minute=2, remember_refused=True)
    bodies = [_body(text) for text in "ABC"]
    assert [_send(simulator, body).status for body in bodies] == [202, 202, 429]
    clock.now += 59.75
    assert _send(simulator, bodies[2]).status == 429
    clock.now += 0.25
    assert _code(_send(simulator, bodies[2])) == 202
    assert _bulk(simulator)["throttled"] == 2
    assert _bulk(simulator)["worst-60s"]["accepted"]["requests"] == 2
    assert _bulk(simulator)["worst-60s"]["received"]["requests"] == 4


def test_the_rate_may_count_calls() -> None:
    """The other reading of the page: each element of `calls` is a request."""
    simulator = _simulator(bulk_calls_per_minute=3)
    statuses = [_send(simulator, _body(*text)).status for text in ("AB", "CD", "E", "F")]
    assert statuses == [202, 429, 202, 429]


def test_each_endpoint_has_its_own_rate() -> None:
    """Real time has a limit of its own."""
    simulator = _simulator(realtime_requests_per_minute=1)
    assert [_send(simulator, _body(text), REALTIME).status for text in "AB"] == [200, 429]
    assert _send(simulator, _body("C")).status == 202


def test_refused_requests_count_against_the_rate() -> None:
    """The limit is on requests, not on those that were good."""
    simulator = _simulator(bulk_requests_per_minute=1)
    assert _code(_send(simulator, b"{")) == 400
    assert _send(simulator).status == 429


@pytest.mark.parametrize("form", RetryAfter)
def test_retry_after_comes_in_any_form(form: RetryAfter) -> None:
    """None, whole seconds or a date: the time until there is room."""
    clock = _Clock()
    simulator = _simulator(clock=clock, bulk_requests_per_minute=1, retry_after=form)
    _send(simulator)
    clock.now += 19.5
    header = _send(simulator, _body("B")).headers.get("Retry-After")
    match form:
        case RetryAfter.NONE:
            assert header is None
        case RetryAfter.SECONDS:
            assert header == "41"
        case RetryAfter.DATE:
            assert header
            assert header.endswith(" GMT")
            assert parsedate_to_datetime(header).timestamp() == NOW + 60


def test_a_clock_that_goes_back_opens_no_window() -> None:
    """The simulator's time stands still until the clock has caught up."""
    clock = _Clock()
    simulator = _simulator(clock=clock, bulk_requests_per_minute=1)
    _send(simulator)
    clock.now -= 3600
    assert _send(simulator, _body("B")).status == 429
    assert [request["received-at"] for request in simulator.ledger.requests()] == [NOW, NOW]


def test_a_fault_may_delay_the_answer() -> None:
    """The request is processed at once, whatever its sender makes of the wait."""
    simulator = _simulator("delay:0.2#1")
    assert _send(simulator).delay == pytest.approx(0.2)
    assert _bulk(simulator)["accepted-calls"] == 1
    assert _send(simulator, _body("B")).delay == 0


def test_drop_before_processes_nothing() -> None:
    """The same bytes are new when they come again."""
    simulator = _simulator("drop-before#1")
    assert _send(simulator).status is None
    assert _bulk(simulator)["dropped"] == 1
    assert _code(_send(simulator)) == 202


def test_drop_after_accepts_without_an_answer() -> None:
    """The same bytes are repeated when they come again; the books have the request-id."""
    simulator = _simulator("drop-after#1")
    assert _send(simulator).status is None
    assert _code(_send(simulator)) == 201
    assert _bulk(simulator)["accepted-calls"] == 1
    assert _bulk(simulator)["dropped"] == 0
    first = next(simulator.ledger.requests())
    assert first["request-id"]
    assert first["status"] is None


def test_garbage_accepts_and_answers_with_html() -> None:
    """With the HTTP status of success, so that only the body tells."""
    simulator = _simulator("garbage#1")
    reply = _send(simulator)
    assert (reply.status, reply.content_type) == (202, "text/html")
    assert reply.body.startswith(b"<html>")
    assert _code(_send(simulator)) == 201


@pytest.mark.parametrize(("spec", "second"), [("status:503", 202), ("status:503+taken", 201)])
def test_a_status_may_come_before_or_after_processing(spec: str, second: int) -> None:
    """A page of a gateway; whether the request got through is an option."""
    simulator = _simulator(f"{spec}#1")
    reply = _send(simulator)
    assert (reply.status, reply.content_type) == (503, "text/html")
    assert _code(_send(simulator)) == second
    assert _bulk(simulator)["accepted-calls"] == 1


def test_status_429_is_throttling() -> None:
    """With the Retry-After that the rules ask for."""
    simulator = _simulator("status:429#1", retry_after=RetryAfter.SECONDS)
    reply = _send(simulator)
    assert (reply.status, reply.headers) == (429, {"Retry-After": "1"})
    assert _bulk(simulator)["throttled"] == 1
    assert _code(_send(simulator)) == 202


@pytest.mark.parametrize(
    ("spec", "message", "second"),
    [
        ("code:206", "Failure from Gateway", 202),
        ("code:206+taken", "Failure from Gateway", 201),
        ("code:500+taken", "Failure", 201),
        ("code:212", "Insufficient Balance", 202),
        ("code:999", "Unknown", 202),
    ],
)
def test_a_code_may_be_answered_on_request(spec: str, message: str, second: int) -> None:
    """Nothing is accepted, but with `+taken`; the books tell which it was."""
    simulator = _simulator(f"{spec}#1")
    reply = _send(simulator)
    assert _code(reply) == int(spec[5:8])
    assert json.loads(reply.body)["api-response-message"] == message
    assert json.loads(reply.body)["request-id"] is None
    assert _code(_send(simulator)) == second
    assert _bulk(simulator)["accepted-calls"] == 1


def test_a_fault_does_not_make_a_bad_request_good() -> None:
    """What the rules refuse is not taken: it keeps its own code, or is dropped unaccepted."""
    simulator = _simulator("code:206+taken#1", "drop-after#2")
    bad = _body("A", number="1")
    assert _code(_send(simulator, bad)) == 205
    assert _send(simulator, bad).status is None
    assert _bulk(simulator)["accepted-requests"] == 0
    assert _bulk(simulator)["dropped"] == 1


def test_faults_lie_behind_the_rate() -> None:
    """A throttled request is not struck, nor is the fault counted."""
    simulator = _simulator("drop-after", bulk_requests_per_minute=1)
    assert [_send(simulator).status, _send(simulator).status] == [None, 429]
    assert _bulk(simulator)["faults"] == {"drop-after": 1}


def test_a_refusal_by_fault_may_be_remembered_too() -> None:
    """The hazard of a checksum taken first: the repeat says 201, and nothing was placed."""
    simulator = _simulator("code:206#1", remember_refused=True)
    assert _codes(simulator, [_body("A")] * 2) == [206, 201]
    assert _bulk(simulator)["accepted-requests"] == 0


def test_an_account_can_be_mended_half_way() -> None:
    """Rules change from the next request on; the books and checksums stay."""
    simulator = _simulator("code:211", flow_ids=frozenset({"ANOTHER1"}))
    body = _body("A")
    codes = [_code(_send(simulator, body))]
    simulator.change({"faults": []})
    codes.append(_code(_send(simulator, body)))
    simulator.change({"flow_ids": ["QG8k000A"]})
    codes += _codes(simulator, [body, body])
    assert codes == [211, 301, 202, 201]


def test_new_faults_count_requests_from_one_again() -> None:
    """`#1` is the next request, so a test can say what goes wrong next."""
    simulator = _simulator()
    _send(simulator)
    simulator.change({"faults": ["code:212#1"]})
    assert _codes(simulator, [_body("B"), _body("C")]) == [212, 202]


def test_a_change_that_cannot_be_used_changes_nothing() -> None:
    """Also where another rule in it was right."""
    simulator = _simulator()
    with pytest.raises(UnusableError):
        simulator.change({"flow_ids": ["ANOTHER1"], "faults": ["explode"]})
    assert _code(_send(simulator)) == 202


def test_reset_forgets_everything_but_the_rules() -> None:
    """Books, checksums, rates and the count for the faults."""
    simulator = _simulator("garbage#1", bulk_requests_per_minute=2)
    first = [_send(simulator).status, _send(simulator, _body("B")).status]
    simulator.reset()
    assert _bulk(simulator)["requests"] == 0
    again = [_send(simulator), _send(simulator, _body("B"))]
    assert [reply.status for reply in again] == first
    assert again[0].content_type == "text/html"


def test_a_run_with_faults_can_be_repeated() -> None:
    """The same rules and the same requests have the same answers."""
    faults = ("drop-before@0.1", "drop-after@0.1", "garbage@0.1", "code:206@0.1", "status:500@0.1")
    bodies = [_body(str(i)) for i in range(100)]

    def statuses(seed: int) -> list[tuple[int | None, str]]:
        replies = [
            _send(simulator, body)
            for simulator in [_simulator(*faults, seed=seed)]
            for body in bodies
        ]
        return [(reply.status, reply.content_type) for reply in replies]

    assert statuses(3) == statuses(3)
    assert statuses(3) != statuses(4)


def test_every_request_ends_in_exactly_one_place() -> None:
    """Accepted + refused + throttled + dropped is all of them, with everything going wrong."""
    simulator = _simulator(
        *("drop-before@0.2", "drop-after@0.2", "garbage@0.2", "status:502+taken@0.2"),
        bulk_requests_per_minute=80,
    )
    for i in range(100):
        _send(simulator, _body(str(i % 60), number="1" if i % 7 == 0 else "919812345678"))
    sums = _bulk(simulator)
    parts = ("accepted-requests", "throttled", "dropped")
    assert sums["requests"] == 100
    assert sum(sums[part] for part in parts) + sum(sums["refused"].values()) == 100
    assert sums["throttled"] == 20
    assert sums["accepted-again"] == 0


def test_without_parsing_only_sums_are_kept() -> None:
    """For benchmarks; checksums are kept all the same."""
    simulator = _simulator(parse_calls=False)
    body = _body("A", "B", number="1")
    assert _codes(simulator, [body, body]) == [202, 201]
    assert _bulk(simulator)["accepted-calls"] == 2
    assert not list(simulator.ledger.calls())
    reply = _send(simulator, body, REALTIME)
    assert len(json.loads(reply.body)["call-details"]) == 2
