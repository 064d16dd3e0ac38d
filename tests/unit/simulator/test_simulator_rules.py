"""Each documented rule: a request's bytes in, a verdict out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.call import Call, encode
from phonon_bulk.simulator import rules as law
from phonon_bulk.simulator.options import Endpoint, Rules
from phonon_bulk.simulator.rules import Verdict

# 2026-11-24 00:30 in India is still 2026-11-23 19:00 in UTC.
NOW = 1_795_460_400.0
DROP = object()


def _call(**values: Any) -> dict[str, Any]:
    """Return a good call with some fields changed, or dropped; `_` in a name stands for `-`."""
    call = {
        "client-identifier": "ACC0001",
        "start-time": "2026-11-24T10:00:00+05:30",
        "contact-numbers": ["919812345678", "919912345678"],
        "keys": [{"name": "$flow.key.Name", "value": "Asha"}],
    }
    return _merged(call, values)


def _body(*calls: Any, **values: Any) -> bytes:
    """Return a request of these calls (one good one if none), with some fields changed."""
    document = {
        "api-version": "1.0",
        "security-id": "a1" * 32,
        "flow-id": "QG8k000A",
        "calls": list(calls) or [_call()],
    }
    return json.dumps(_merged(document, values)).encode()


def _merged(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged = document | {name.replace("_", "-"): value for name, value in values.items()}
    return {name: value for name, value in merged.items() if value is not DROP}


def _judge(body: bytes, rules: Rules | None = None, endpoint: Endpoint = Endpoint.BULK) -> Verdict:
    rules = rules or Rules()
    return law.judge(law.read(body, parse=rules.parse_calls), endpoint, rules, NOW)


def _refusal(body: bytes, rules: Rules | None = None) -> tuple[int, str] | None:
    return _judge(body, rules).refusal


def test_the_documented_request_is_accepted() -> None:
    """The page's own example, call for call."""
    verdict = _judge(_body())
    assert verdict == Verdict(None, 1, [("ACC0001", ["919812345678", "919912345678"])])


def test_what_the_client_encodes_is_accepted() -> None:
    """The bytes of `call.encode` are calls for the simulator."""
    call = Call("A", "2026-11-24T10:00:00+05:30", ("919812345678",), (("$flow.key.X", "ü"),))
    assert _refusal(_body(json.loads(encode(call)))) is None


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", (400, "Invalid Format")),
        (b"{", (400, "Invalid Format")),
        (b"\xff", (400, "Invalid Format")),
        (b"[]", (400, "Invalid Format")),
        (b'"calls"', (400, "Invalid Format")),
        (_body(calls={}), (400, "Invalid Format")),
        (_body(api_version=1), (400, "Invalid Format")),
        (_body(flow_id=["QG8k000A"]), (400, "Invalid Format")),
        (_body(api_version=DROP), (210, "Invalid Mandatory Parameters")),
        (_body(security_id=DROP), (210, "Invalid Mandatory Parameters")),
        (_body(flow_id=""), (210, "Invalid Mandatory Parameters")),
        (_body(calls=DROP), (210, "Invalid Mandatory Parameters")),
        (_body(calls=None), (210, "Invalid Mandatory Parameters")),
        (_body(api_version="2.0"), (203, "API Version not Supported")),
        (_body(security_id="a" * 63), (202, "Invalid Security ID")),
        (_body(security_id="-" * 64), (202, "Invalid Security ID")),
        (_body(flow_id="QG8k000"), (301, "Invalid Flow ID")),
        (_body(flow_id="QG8k000\u0661"), (301, "Invalid Flow ID")),
        (_body(calls=[]), (302, "Empty Call List")),
        (_body(*[_call()] * 501), (303, "Max Data List Size Exceeded")),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused(body: bytes, refusal: tuple[int, str]) -> None:
    """Shape, mandatory fields, version, ids and number of calls."""
    assert _refusal(body) == refusal


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("call", 400),
        ([], 400),
        (None, 400),
        (_call(client_identifier=DROP), 210),
        (_call(client_identifier=""), 210),
        (_call(client_identifier=None), 210),
        (_call(client_identifier=7), 400),
        (_call(start_time=DROP), 210),
        (_call(start_time=20261124), 400),
        (_call(start_time="2026-11-24 10:00:00+05:30"), 400),
        (_call(start_time="2026-11-24T10:00:00"), 400),
        (_call(start_time="2026-11-24T10:00:00Z"), 400),
        (_call(start_time="2026-11-24T10:00:00+00:00"), 400),
        (_call(start_time="2026-11-24T10:00+05:30"), 400),
        (_call(start_time="2026-11-24T10:00:00+05:30 "), 400),
        (_call(start_time="2026-11-31T10:00:00+05:30"), 400),
        (_call(start_time="2026-11-24T24:00:00+05:30"), 400),
        (_call(start_time="2026-11-24T10:60:00+05:30"), 400),
        (_call(start_time="2026-11-24T10:00:60+05:30"), 400),
        (_call(start_time="2026-11-23T23:59:59+05:30"), 210),
        (_call(contact_numbers=DROP), 210),
        (_call(contact_numbers=[]), 210),
        (_call(contact_numbers="919812345678"), 400),
        (_call(contact_numbers={"919812345678": 1}), 400),
        (_call(contact_numbers=[919812345678]), 400),
        (_call(contact_numbers=[["919812345678"]]), 400),
        (_call(contact_numbers=[""]), 205),
        (_call(contact_numbers=["919812345678", "9198123"]), 205),
        (_call(contact_numbers=["9198123456781234"]), 205),
        (_call(contact_numbers=["09812345678"]), 205),
        (_call(contact_numbers=["+919812345678"]), 205),
        (_call(contact_numbers=["919812345678\n"]), 205),
        (_call(contact_numbers=["91981234567\u0668"]), 205),
        (_call(keys=None), 400),
        (_call(keys={}), 400),
        (_call(keys=["$flow.key.Name"]), 400),
        (_call(keys=[{"name": "$flow.key.Name"}]), 400),
        (_call(keys=[{"name": "$flow.key.Name", "value": 5}]), 400),
        (_call(keys=[{"value": "Asha"}]), 400),
        (_call(keys=[{"name": "Name", "value": "Asha"}]), 400),
        (_call(keys=[{"name": "$flow.key.", "value": "Asha"}]), 400),
        (_call(keys=[{"name": ["$flow.key.Name"], "value": "Asha"}]), 400),
    ],
)
def test_one_bad_call_refuses_the_whole_request(call: Any, code: int) -> None:
    """Nothing is placed, wherever the bad call stands."""
    verdict = _judge(_body(_call(), call, _call()))
    assert verdict.refusal
    assert verdict.refusal.code == code
    assert not verdict.placed
    assert not verdict.accepted


@pytest.mark.parametrize(
    "call",
    [
        _call(start_time="2026-11-24T00:00:00+05:30"),
        _call(start_time="2027-02-28T23:59:59+05:30"),
        _call(contact_numbers=["12345678"]),
        _call(contact_numbers=["123456789012345"] * 10),
        _call(keys=[]),
        _call(keys=DROP),
        _call(keys=[{"name": "$flow.key.A b", "value": ""}]),
        _call(client_identifier="\u0906\u0936\u093e"),
    ],
)
def test_a_call_at_the_edge_is_accepted(call: dict[str, Any]) -> None:
    """A past time of today, the shortest and longest numbers, no keys, any script."""
    assert _refusal(_body(call)) is None


def test_500_calls_are_accepted() -> None:
    """The most there may be."""
    assert _judge(_body(*[_call()] * 500)).accepted == 500


def test_a_body_over_256_kb_is_not_processed() -> None:
    """262,144 bytes are read, one more is not."""
    body = _body()
    fits = body + b" " * (262_144 - len(body))
    assert _refusal(fits) is None
    assert _refusal(fits + b" ") == (303, "Max Data List Size Exceeded")
    assert law.read(fits + b" ", parse=True).calls == 1


def test_only_known_ids_are_accepted_where_some_are_known() -> None:
    """Security and flow id each have their own code."""
    rules = Rules(security_ids=frozenset({"a1" * 32}), flow_ids=frozenset({"QG8k000A"}))
    assert _refusal(_body(), rules) is None
    assert _refusal(_body(security_id="b2" * 32), rules) == (202, "Invalid Security ID")
    assert _refusal(_body(flow_id="QG8k000B"), rules) == (301, "Invalid Flow ID")


def test_versions_are_those_that_are_named() -> None:
    """`TEST` is named on one of the pages; `1.0` alone may be asked for."""
    assert _refusal(_body(api_version="TEST")) is None
    only = Rules(api_versions=frozenset({"1.0"}))
    assert _refusal(_body(api_version="TEST"), only) == (203, "API Version not Supported")


_BAD = Rules(
    bad_identifiers=frozenset({"BAD"}),
    bad_numbers=frozenset({"919800000000"}),
    partial_success=False,
)
_CALLS = (
    _call(client_identifier="GOOD"),
    _call(client_identifier="BAD"),
    _call(client_identifier="ALSO BAD", contact_numbers=["919812345678", "919800000000"]),
)


def test_what_the_provider_alone_knows_refuses_too() -> None:
    """A number and a client whose form is right, and who are bad all the same."""
    assert _refusal(_body(_CALLS[0]), _BAD) is None
    assert _refusal(_body(_CALLS[0], _CALLS[1]), _BAD) == law.INVALID_MANDATORY
    assert _refusal(_body(_CALLS[0], _CALLS[2]), _BAD) == law.INVALID_NUMBER
    assert _refusal(_body(_CALLS[2], _CALLS[1]), _BAD) == law.INVALID_NUMBER


def test_partial_success_leaves_bad_calls_out() -> None:
    """The others are placed; where none is left, the request is refused as ever."""
    rules = Rules(
        bad_identifiers=_BAD.bad_identifiers, bad_numbers=_BAD.bad_numbers, partial_success=True
    )
    verdict = _judge(_body(*_CALLS), rules)
    assert verdict.partial
    assert verdict.accepted == 1
    assert [identifier for identifier, _ in verdict.placed] == ["GOOD"]
    assert not _judge(_body(_CALLS[0]), rules).partial
    assert _refusal(_body(_CALLS[1]), rules) == law.INVALID_MANDATORY


_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "BAD", "x", 0, 7, True, [], [[]], [""], {}, ["919800000000"], ["12345678", None]]
)
_KEYS = st.lists(
    st.one_of(
        _ODD,
        st.fixed_dictionaries(
            {}, optional={"name": st.one_of(_ODD, st.just("$flow.key.A")), "value": _ODD}
        ),
    ),
    max_size=2,
)
_ANY_CALL = st.one_of(
    _ODD,
    st.just(_call()),
    st.fixed_dictionaries(
        {},
        optional={
            "client-identifier": st.one_of(st.just("A"), _ODD),
            "start-time": st.one_of(
                st.sampled_from(["2026-11-24T10:00:00+05:30", "2026-11-23T10:00:00+05:30"]), _ODD
            ),
            "contact-numbers": st.one_of(st.just(["12345678"]), _ODD),
            "keys": st.one_of(_KEYS, _ODD),
        },
    ),
)


@given(calls=st.lists(_ANY_CALL, min_size=1, max_size=4))
def test_all_at_once_and_one_by_one_come_to_the_same(calls: list[Any]) -> None:
    """The quick look at a whole request finds it good exactly if no call has a problem."""
    problems = [law._call_problem(call, _BAD, "2026-11-24") for call in calls]
    assert law._all_good(calls, _BAD, "2026-11-24") is not any(problems)


_NO_PARSE = Rules(parse_calls=False)


def test_without_parsing_calls_are_only_counted() -> None:
    """For benchmarks: whatever else is in it, the number of calls decides."""
    bad = _call(contact_numbers=["x"])
    assert _judge(_body(bad, bad), _NO_PARSE) == Verdict(None, 2)
    assert _refusal(_body(calls=[]), _NO_PARSE) == law.EMPTY_LIST
    assert _refusal(_body(*[bad] * 501), _NO_PARSE) == law.TOO_LARGE


def test_without_parsing_real_time_still_names_each_call() -> None:
    """Its answer has one entry for each, also where the text has escapes."""
    calls = [_call(client_identifier=text) for text in ("A", 'say "hi"', "\u0906")]
    verdict = _judge(_body(*calls), _NO_PARSE, Endpoint.REALTIME)
    assert [identifier for identifier, _ in verdict.placed] == ["A", 'say "hi"', "\u0906"]


def test_every_code_of_the_table_has_its_message() -> None:
    """All that say no and mean the same on both endpoints, as in the status code table."""
    assert law.MESSAGES == {
        201: "Checksum Repeated",
        203: "API Version not Supported",
        204: "Invalid SMS Gateway",
        205: "Invalid Contact Number",
        206: "Failure from Gateway",
        207: "DID Not Mapped",
        208: "No Mask Available",
        210: "Invalid Mandatory Parameters",
        211: "Validity Expired",
        212: "Insufficient Balance",
        213: "No Data Available",
        301: "Invalid Flow ID",
        302: "Empty Call List",
        303: "Max Data List Size Exceeded",
        304: "Invalid Flow Version",
        400: "Invalid Format",
        401: "IP Not Whitelisted",
        402: "Phone Not Whitelisted",
        500: "Failure",
    }


def test_an_answer_has_the_documented_fields() -> None:
    """Code, message, request-id and call-details, whatever the answer."""
    assert json.loads(law.answer(*law.INVALID_NUMBER)) == {
        "api-response-code": 205,
        "api-response-message": "Invalid Contact Number",
        "request-id": None,
        "call-details": None,
    }
