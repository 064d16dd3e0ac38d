"""Bytes become an order, or all that is wrong with them is named and none of it repeated."""

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import MAX_BODY_BYTES, SECURITY_ID_LENGTH, room_for_calls
from phonon_bulk.call import encode
from phonon_bulk.intake.orders import CALL_FIELDS, MAX_PROBLEMS, Draft, read_draft
from phonon_bulk.intake.problems import ProblemError

NOW = 1_795_000_000.0
"""2026-11-18T16:36:40+05:30."""
FLOW = "QG8k000A"
SECRET = "s3cret" + "0" * 58


def a_call(row: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a call as a client sends it; what is None is left out."""
    call: dict[str, Any] = {
        "client-identifier": f"ACC{row:07d}",
        "start-time": "2026-11-18T18:00:00+05:30",
        "contact-numbers": [f"9190{row:08d}"],
        "keys": [{"name": "$flow.key.Name", "value": f"Name {row}"}],
    }
    call |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in call.items() if value is not None}


def read(content: object, flow_id: str | None = FLOW, now: float = NOW) -> Draft:
    """Read a body; what is not bytes is written as JSON first."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return read_draft(body, flow_id=flow_id, key=None, now=now)


def problem_of(content: object, flow_id: str | None = FLOW) -> ProblemError:
    """Return what is said of a body that can't be taken."""
    with pytest.raises(ProblemError) as caught:
        read(content, flow_id).refuse_late()
    return caught.value


def places(content: object) -> list[str]:
    """Return where something is wrong."""
    problem = problem_of(content)
    assert problem.kind.status == 422
    return [one.where for one in problem.at]


# ---- what is taken


@pytest.mark.parametrize(
    "content",
    [a_call(), [a_call()], {"calls": [a_call()]}, {"api-version": "1.0", "calls": [a_call()]}],
)
def test_each_shape_is_taken(content: object) -> None:
    """One call, a list and the API's own object mean the same."""
    order = read(content).order
    assert order.flow_id == FLOW
    (call,) = order.calls
    assert call.client_identifier == "ACC0000001"
    assert call.start_time == "2026-11-18T18:00:00+05:30"
    assert call.contact_numbers == ("919000000001",)
    assert call.keys == (("$flow.key.Name", "Name 1"),)


def test_the_body_names_the_flow_before_anybody_else() -> None:
    """A flow in the body counts."""
    assert read({"flow-id": "AAAA1111", "calls": [a_call()]}).order.flow_id == "AAAA1111"


def test_without_a_start_time_it_is_now() -> None:
    """And its keys may be left out too."""
    (call,) = read(a_call(start_time=None, keys=None)).order.calls
    assert call.start_time == "2026-11-18T16:36:40+05:30"
    assert call.keys == ()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-11-18T18:00:00", "2026-11-18T18:00:00+05:30"),
        ("2026-11-18 18:00", "2026-11-18T18:00:00+05:30"),
        ("2026-11-18T18:00:00Z", "2026-11-18T23:30:00+05:30"),
        ("2026-11-18T00:00:00+05:30", "2026-11-18T00:00:00+05:30"),
    ],
)
def test_start_times_are_in_india(given: str, meant: str) -> None:
    """Without an offset too; a past time of today is at once, so it is taken."""
    draft = read(a_call(start_time=given))
    assert draft.order.calls[0].start_time == meant
    assert not draft.late


def test_order_and_draft_show_nothing() -> None:
    """Contact data stays out of whatever prints them."""
    draft = read(a_call())
    assert "9190" not in f"{draft!r}{draft.order!r}{draft.order.calls[0]!r}"


texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))
calls = st.fixed_dictionaries(
    {
        "client-identifier": texts.filter(lambda text: 0 < len(text.strip()) <= len(text) <= 256),
        "contact-numbers": st.lists(
            st.integers(90_000_000_000, 91_999_999_999).map(str), min_size=1, max_size=10
        ),
    },
    optional={
        "start-time": st.datetimes().map(
            lambda moment: f"{max(moment.year, 2027)}-11-18T{moment:%H:%M}"
        ),
        "keys": st.dictionaries(texts.filter(bool).map("$flow.key.{}".format), texts).map(
            lambda keys: [{"name": name[:256], "value": value} for name, value in keys.items()]
        ),
    },
)


@given(st.lists(calls, min_size=1, max_size=5), st.booleans())
def test_nothing_of_a_right_call_is_lost(sent: list[dict[str, Any]], spread: bool) -> None:
    """Whatever can be said comes out as it went in, however its JSON is written."""
    body = json.dumps(sent, indent=2 if spread else None, ensure_ascii=spread).encode()
    taken = [orjson.loads(encode(call)) for call in read(body).order.calls]
    for before, after in zip(sent, taken, strict=True):
        assert after["client-identifier"] == before["client-identifier"]
        assert after["contact-numbers"] == before["contact-numbers"]
        assert after["keys"] == before.get("keys", [])
        if "start-time" in before:
            assert after["start-time"] == before["start-time"] + ":00+05:30"


# ---- by what a repeat is known


def test_a_repeat_is_known_whenever_and_however_it_is_written() -> None:
    """Order of names, white space, the shape and, without a start-time, the time don't count."""
    call = a_call(start_time=None)
    backwards = json.dumps([dict(reversed(call.items()))], indent=1).encode()
    first = read(call).order.request_sha256
    assert first == read(backwards, now=NOW + 60).order.request_sha256
    assert first == read({"flow-id": FLOW, "calls": [call]}, None).order.request_sha256


@pytest.mark.parametrize(
    "other",
    [
        [a_call(2)],
        [a_call(), a_call(2)],
        [a_call(start_time=None)],
        [a_call(start_time="2026-11-18T18:00:01+05:30")],
        {"flow-id": "AAAA1111", "calls": [a_call()]},
    ],
)
def test_another_request_is_another_one(other: object) -> None:
    """Any difference in what would be done makes a difference."""
    assert read([a_call()]).order.request_sha256 != read(other).order.request_sha256


# ---- what is not JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"client-identifier": NaN}',
        b'{"client-identifier": "\\ud800"}',
        b'{"client-identifier": "\x00"}',
        b"[" * 5000,
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        orjson.dumps(a_call()) + b"{}",
        b"[" + b"9" * 10_000 + b"]",
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    """It is 400, and of the body nothing is repeated."""
    problem = problem_of(body)
    assert problem.kind.name == "not-json"
    assert problem.kind.status == 400


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"client-identifier":"A","client-identifier":"B"', "client-identifier"),
        (b'{"client-identifier":"A","start\\u002dtime":"2026-12-01T10:00"', "start-time"),
        (b'{"client-identifier":"A","keys":' + b"[" * 900 + b"]" * 900 + b',"keys":[]', "keys"),
    ],
)
def test_a_name_twice_in_one_object(body: bytes, name: str) -> None:
    """Which of the two was meant nobody knows."""
    rest = b',"start-time":"2026-12-01T10:00","contact-numbers":["919000000001"]}'
    problem = problem_of(body + rest)
    assert problem.kind.name == "not-json"
    assert f'"{name}"' in problem.detail or name in {"keys", "start-time"}
    assert "twice" in problem.detail


# ---- what is wrong


@pytest.mark.parametrize("content", [None, 1, "text", True, 1.5])
def test_neither_call_nor_list(content: object) -> None:
    """The body as a whole is wrong then."""
    assert places(content) == [""]


@pytest.mark.parametrize("wrong", [None, 1, "text", [], {}, [None], [1], [[]], [{}], True])
@pytest.mark.parametrize("name", CALL_FIELDS)
def test_wrong_types_at_any_depth(name: str, wrong: object) -> None:
    """Each wrong type is named by its place, unless it is right there."""
    call = a_call() | {name: wrong}
    right = (name == "keys" and wrong == []) or (name == "client-identifier" and wrong == "text")
    if right:
        read(call)
        return
    assert all(place.startswith(f"/{name}") for place in places(call))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"client_identifier": ""}, "/client-identifier"),
        ({"client_identifier": " \t"}, "/client-identifier"),
        ({"client_identifier": "A\0"}, "/client-identifier"),
        ({"client_identifier": "A" * 257}, "/client-identifier"),
        ({"start_time": "tomorrow"}, "/start-time"),
        ({"start_time": "2026-13-01T10:00"}, "/start-time"),
        ({"start_time": "9999-12-31T23:59:59Z"}, "/start-time"),
        ({"start_time": "2026-12-01T10:00" + " " * 300}, "/start-time"),
        ({"contact_numbers": ["91 90000 00001"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["919000000001", "+919000000002"]}, "/contact-numbers/1"),
        ({"contact_numbers": ["09000000001"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["9190000"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["9190000000000001"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["९१९००००००००१"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["919000000001\n"]}, "/contact-numbers/0"),
        ({"contact_numbers": ["919000000001"] * 11}, "/contact-numbers"),
        ({"keys": [{"name": "Name", "value": "x"}]}, "/keys/0/name"),
        ({"keys": [{"name": "$flow.key.", "value": "x"}]}, "/keys/0/name"),
        ({"keys": [{"name": "$flow.key." + "x" * 256, "value": "x"}]}, "/keys/0/name"),
        ({"keys": [{"name": "$flow.key.A", "value": "\0"}]}, "/keys/0/value"),
        ({"keys": [{"name": "$flow.key.A", "value": 1}]}, "/keys/0/value"),
        ({"keys": [{"name": "$flow.key.A", "value": "x", "type": "y"}]}, "/keys/0/type"),
        ({"keys": [{"name": "$flow.key.A", "value": "x"}] * 2}, "/keys/1/name"),
        ({"phone": "919000000001"}, "/phone"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
def test_each_wrong_part_is_named(change: dict[str, Any], place: str) -> None:
    """By a JSON pointer, in whichever shape the call came."""
    call = a_call(**change)
    assert places(call) == [place]
    assert places([a_call(), call]) == [f"/1{place}"]
    assert places({"calls": [a_call(), call]}) == [f"/calls/1{place}"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], ""),
        ({"calls": []}, "/calls"),
        ({"calls": a_call()}, "/calls"),
        ({"flow-id": FLOW}, "/calls"),
        ({"flow-id": "short", "calls": [a_call()]}, "/flow-id"),
        ({"flow-id": None, "calls": [a_call()]}, "/flow-id"),
        ({"api-version": "2.0", "calls": [a_call()]}, "/api-version"),
        ({"campaign": "x", "calls": [a_call()]}, "/campaign"),
    ],
)
def test_what_is_wrong_around_the_calls(content: object, place: str) -> None:
    """The same for the request object."""
    assert places(content) == [place]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"security-id": SECRET, "calls": [a_call()]}, "/security-id"),
        ({"security-id": SECRET} | a_call(), "/security-id"),
        ([{"security-id": SECRET} | a_call()], "/0/security-id"),
    ],
)
def test_a_security_id_is_refused_and_not_repeated(content: object, place: str) -> None:
    """It is said that it must not be sent."""
    problem = problem_of(content)
    assert place in [one.where for one in problem.at]
    assert b"must not be sent" in problem.body()
    assert SECRET.encode() not in problem.body()


def test_problems_repeat_no_values() -> None:
    """What was found may be contact data."""
    call = a_call(contact_numbers=["+919000000777"], start_time="at 919000000778")
    body = problem_of([call, a_call(client_identifier="x" * 300)]).body()
    assert b"9190000007" not in body
    assert b"xxx" not in body


def test_at_most_twenty_places_are_named() -> None:
    """Of many more the first are."""
    problem = problem_of([a_call(contact_numbers=None)] * 400)
    assert len(problem.at) == MAX_PROBLEMS
    assert [one.where for one in problem.at][:2] == ["/0/contact-numbers", "/1/contact-numbers"]
    assert "many places" in problem.detail


def test_without_any_flow() -> None:
    """It is 400, and all three ways out are named."""
    problem = problem_of(a_call(), None)
    assert (problem.kind.name, problem.kind.status) == ("no-flow", 400)
    assert all(way in problem.detail for way in ("flow-id", "?flow-id=", "intake.flow_id"))


# ---- too late, too many, too large


def test_a_start_date_that_has_passed() -> None:
    """Each such call is named; yesterday in India counts, whatever the offset."""
    late = a_call(start_time="2026-11-17T23:59:59+05:30")
    also = a_call(start_time="2026-11-17T18:29:59Z")
    not_late = a_call(start_time="2026-11-17T18:30:00Z")
    assert places([not_late, late, also]) == ["/1/start-time", "/2/start-time"]


def test_a_late_order_can_still_be_asked_for() -> None:
    """It is an order all the same: it may have been kept before midnight."""
    draft = read(a_call(start_time="2026-11-17T10:00"))
    assert draft.late
    assert draft.order.calls


def test_as_many_calls_as_fit_into_a_request() -> None:
    """500 are taken, and 501 are 413."""
    call = a_call()
    assert len(read([call] * 500).order.calls) == 500
    problem = problem_of({"calls": [call] * 501})
    assert (problem.kind.name, problem.kind.status) == ("too-many-calls", 413)


@pytest.mark.parametrize("start_time", ["2026-11-18T18:00:00+05:30", None])
def test_the_largest_body(start_time: str | None) -> None:
    """What is sent must fit, to the byte; a start-time that is put in counts too."""
    room = room_for_calls(FLOW, SECURITY_ID_LENGTH)
    call = a_call(start_time=start_time, keys=[{"name": "$flow.key.A", "value": ""}])
    empty = len(encode(read(call).order.calls[0]))
    call["keys"][0]["value"] = "x" * (room - empty)
    assert len(encode(read(call).order.calls[0])) == room
    call["keys"][0]["value"] += "x"
    problem = problem_of(call)
    assert (problem.kind.name, problem.kind.status) == ("too-large", 413)
    assert f"{MAX_BODY_BYTES:,}" in problem.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*CALL_FIELDS, "calls", "flow-id", "name", "value"]) | texts,
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_taken_or_named(content: object) -> None:
    """Nothing makes the reader fail."""
    with contextlib.suppress(ProblemError):
        read(content)
