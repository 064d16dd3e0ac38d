"""One row, and why it is no call."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.config import ChecksSettings, DuplicatesBy, MappingSettings
from phonon_bulk.source.columns import Columns, plan_columns
from phonon_bulk.source.numbers import NumberReader
from phonon_bulk.source.row import Encoded, Rules, duplicate_row, identifier_key, read_row
from phonon_bulk.source.suppression import Suppressed
from phonon_bulk.source.times import Start, StartTimes

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC).timestamp()  # 01:30 on the 24th in India
READER = NumberReader("IN")


def make_rules(start: Start | None = None, **changes: Any) -> Rules:
    """Return the rules of a run with a list of four rows."""
    checks = ChecksSettings.model_validate(changes.pop("checks", {}))
    starts = StartTimes(checks, NOW, 4)
    rules = Rules(run=7, room=1000, numbers=READER, starts=starts, start=start)
    return replace(rules, **changes)


RULES = make_rules()
COLUMNS = Columns(
    names=("id", "at", "mobile", "other", "name"),
    numbers=(2, 3),
    keys=(("$flow.key.Name", 4),),
    client_identifier=0,
    start_time=1,
)


def outcome(
    *fields: str | None, rules: Rules = RULES, columns: Columns = COLUMNS
) -> Encoded | LeftOutRow:
    """Read row 12."""
    return read_row(columns, rules, 12, fields)


def encoded(*fields: str | None, rules: Rules = RULES, columns: Columns = COLUMNS) -> Encoded:
    """Return what the fields make, having seen that it is a call."""
    row = outcome(*fields, rules=rules, columns=columns)
    assert isinstance(row, Encoded)
    return row


def call(*fields: str | None, rules: Rules = RULES, columns: Columns = COLUMNS) -> dict[str, Any]:
    """Return the call that the fields make."""
    found: dict[str, Any] = orjson.loads(encoded(*fields, rules=rules, columns=columns).json)
    return found


def left_out(*fields: str | None, rules: Rules = RULES, columns: Columns = COLUMNS) -> LeftOutRow:
    """Return the row that the fields make, having seen that it is no call."""
    row = outcome(*fields, rules=rules, columns=columns)
    assert isinstance(row, LeftOutRow)
    return row


def test_a_row_becomes_a_call() -> None:
    """Identifier trimmed, time at +05:30, numbers cleaned, values as they are."""
    assert call(" A1\n", "2026-11-24T10:00Z", "+91 98123 45678", "98123 45678", " Asha ") == {
        "client-identifier": "A1",
        "start-time": "2026-11-24T15:30:00+05:30",
        "contact-numbers": ["919812345678"],
        "keys": [{"name": "$flow.key.Name", "value": " Asha "}],
    }


def test_what_the_row_has_not_is_made() -> None:
    """Identifier from run and row, start-time now; an empty value is sent as such."""
    made = call("  ", " ", "919812345678", "919812345678", "")
    assert made["client-identifier"] == "7-12"
    assert made["start-time"] == "2026-11-24T01:30:00+05:30"
    assert made["contact-numbers"] == ["919812345678"]
    assert made["keys"] == [{"name": "$flow.key.Name", "value": ""}]


NONE_SUCH = "is no number that exists, read as one of IN"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("A", "", "", " ", "x"), "no usable number: mobile, other are empty"),
        (("A", "", "-", "N/A", "x"), "no usable number: mobile, other are empty"),
        (("A", "", "981234567", "", "x"), f"no usable number: mobile {NONE_SUCH}"),
        (("A", "", "", "1234", "x"), "no usable number: other has too few digits"),
        (("A", "", "Asha", "1234", "x"), "no usable number: mobile has letters or signs that are"),
        (("A", "", "9.2E+11", "", "x"), "no usable number: mobile is in scientific notation, like"),
        (("A\0", "", "919812345678", "", "x"), "id has a NUL character in it"),
        (("A", "", "919812345678", "", "\0"), "name has a NUL character in it"),
        (
            ("A", "24/11/2026 10:00", "919812345678", "", "x"),
            "at can't be read: write it like 2026-11-24T10:00:00+05:30",
        ),
        (("A", "2026-11-23T23:59:59", "919812345678", "", "x"), "at's date is past"),
        (
            ("A", "", "919812345678", "", "x" * 900),
            "the call is too large: 1,047 bytes, and 1,000 fit into a request",
        ),
    ],
)
def test_why_a_row_is_no_call(fields: tuple[str, ...], reason: str) -> None:
    """A sentence for whoever keeps the list, naming columns and no contents."""
    row = left_out(*fields)
    assert row.reason.startswith(reason)
    assert row.state is LeftOut.REJECTED


def test_today_is_the_day_in_india() -> None:
    """At 20:00 in London the 23rd is past; a time that has passed today is not."""
    assert call("A", "2026-11-24T00:00", "919812345678", "", "x")["start-time"] == (
        "2026-11-24T00:00:00+05:30"
    )
    assert left_out("A", "2026-11-23T18:29:59Z", "919812345678", "", "x").reason.endswith("past")


def test_a_row_that_could_not_be_read_is_kept_whole() -> None:
    """With what lacks as null and what is too much under its place; the reader says what it is."""
    short = read_row(COLUMNS, RULES, 12, ["A", "", "919812345678"], "too few fields: 3 of 5")
    assert isinstance(short, LeftOutRow)
    assert (short.row, short.reason) == (12, "too few fields: 3 of 5")
    assert (short.client_identifier, short.contact_numbers) == ("A", ("919812345678",))
    assert orjson.loads(short.fields) == {
        "id": "A",
        "at": "",
        "mobile": "919812345678",
        "other": None,
        "name": None,
    }
    long = read_row(COLUMNS, RULES, 12, [" ", "", "x", "", 'é"', "more"], "too many")
    assert isinstance(long, LeftOutRow)
    assert (long.client_identifier, long.contact_numbers) == (None, ("x",))
    assert long.fields.endswith('"name":"é\\"","(column 6)":"more"}')
    empty = read_row(COLUMNS, RULES, 12, [], "no object")
    assert isinstance(empty, LeftOutRow)
    assert (empty.client_identifier, empty.contact_numbers) == (None, ())


def test_a_list_with_one_number_column_is_said_to_have_one() -> None:
    """Grammar."""
    row = left_out("", columns=Columns(("tel1",), (0,)))
    assert row.reason == "no usable number: tel1 is empty"


# ---- numbers


def test_every_number_of_a_row_is_used_once() -> None:
    """In the order of the columns, and within one as it is written; what is none is noted."""
    row = encoded("", "", "98123 45679 / +91 98123 45678;12", "919812345678, Asha, x, 9", "")
    found = orjson.loads(row.json)["contact-numbers"]
    assert found == ["919812345679", "919812345678"]
    assert row.notes == (
        "a number in mobile was left out: it has too few digits",
        "a number in other was left out: it has letters or signs that are no part of a number",
        "a number in other was left out: it has too few digits",
    )


SUPPRESSED = Suppressed([np.array([919812345678, 919812345679], np.int64)])


def test_numbers_that_are_not_to_be_called() -> None:
    """A call goes without them; a row without any other is left out, whatever else is in it."""
    rules = replace(RULES, suppressed=SUPPRESSED)
    row = encoded("", "", "9812345678", "9812345670", "", rules=rules)
    assert orjson.loads(row.json)["contact-numbers"] == ["919812345670"]
    assert row.notes == ("a number in mobile was left out: it is on a do-not-call list",)
    none = left_out(" A ", "", "9812345678", "12", "Asha", rules=rules)
    assert (none.state, none.reason) == (LeftOut.SUPPRESSED, "on a do-not-call list")
    assert (none.client_identifier, none.fields) == ("A", "{}")
    assert none.contact_numbers == ("9812345678", "12")


# ---- keys


def test_a_call_has_a_key_if_there_are_any() -> None:
    """The number that is called first, or the hash of the list's own client-identifier."""
    fields = ("A", "", "12;9812345678", "9812345679", "")
    assert encoded(*fields).key is None
    by_number = replace(RULES, key=DuplicatesBy.NUMBER)
    assert encoded(*fields, rules=by_number).key == 919812345678
    listed = replace(by_number, suppressed=SUPPRESSED)
    assert encoded("A", "", "9812345678", "9812345670", "", rules=listed).key == 919812345670
    by_identifier = replace(RULES, key=DuplicatesBy.CLIENT_IDENTIFIER)
    assert encoded(*fields, rules=by_identifier).key == identifier_key("A")
    assert encoded(" A\t", *fields[1:], rules=by_identifier).key == identifier_key("A")
    assert encoded(" ", *fields[1:], rules=by_identifier).key is None
    assert len({identifier_key(text) for text in ("A", "a", "A ", "")}) == 4


@pytest.mark.parametrize(
    ("state", "fields"),
    [(LeftOut.DUPLICATE, "{}"), (LeftOut.REJECTED, '{"id":"A","tel1":"98","x":null}')],
)
def test_a_duplicate_is_left_out_as_the_campaign_says(state: LeftOut, fields: str) -> None:
    """One that is rejected can be mended, and so has its fields, but no derived ones."""
    columns = Columns(("id", "tel1", "x", "(sql)"), (1,), (), 0, derived=("x",))
    row = duplicate_row(columns, 5, ["A", "98", "", "y"], DuplicatesBy.NUMBER, state)
    reason = "a call before it has the same number"
    expected = fields.replace("null", '""')
    assert row == LeftOutRow(5, reason, "A", ("98",), expected, state)
    other = duplicate_row(columns, 5, ["", "", "", ""], DuplicatesBy.CLIENT_IDENTIFIER, state)
    assert other.reason == "a call before it has the same client-identifier"


# ---- checks


def test_what_a_field_must_be() -> None:
    """Not empty, and not too long in characters; said of the first, before all else."""
    columns = replace(COLUMNS, required=(4, 0), max_lengths=((4, 3), (0, 2)))
    reasons = [
        left_out(*fields, columns=columns).reason
        for fields in [
            ("A", "", "x", "", " \t"),
            ("\u2003", "", "919812345678", "", "x"),
            ("A", "", "919812345678", "", "अमित"),
            ("ABC", "", "919812345678", "", "x"),
        ]
    ]
    assert reasons == [
        "name is empty",
        "id is empty",
        "name is longer than 3 characters",
        "id is longer than 2 characters",
    ]
    assert call("AB", "", "919812345678", "", "\U0001f600é1", columns=columns)


def test_an_expression_without_a_value_rejects_its_row() -> None:
    """It is said which one; the row is kept as it is in the list."""
    columns = plan_columns(
        ["m", "a"],
        MappingSettings.model_validate(
            {"contact_numbers": "m", "keys": {"A": {"sql": "x"}, "B": {"value": ""}}}
        ),
    )
    row = left_out("919812345678", "1", None, "", columns=columns)
    assert row.reason == "the sql of keys.A has no value for this row"
    assert row.fields == '{"m":"919812345678","a":"1"}'
    rules = make_rules(Start(datetime.fromtimestamp(NOW, UTC)))
    found = call("919812345678", "1", "", "x", columns=columns, rules=rules)
    assert [key["value"] for key in found["keys"]] == ["", "x"]


def test_a_mended_row_that_is_rejected_again_is_one_of_its_list() -> None:
    """Without the columns that the export has added, whatever they are called."""
    header = ["tel1", "row", "row (phonon-bulk)", "reason (phonon-bulk)"]
    row = left_out("12", "5", "7", "bad", columns=plan_columns(header, None))
    assert row.fields == '{"tel1":"12","row":"5"}'


# ---- start-times


def test_a_moved_call_is_noted() -> None:
    """With its new time."""
    rules = make_rules(checks={"window": "10:00-19:00"})
    row = encoded("", "2026-11-24T20:00", "9812345678", "12", "", rules=rules)
    assert orjson.loads(row.json)["start-time"] == "2026-11-25T10:00:00+05:30"
    assert row.notes == (
        "a number in other was left out: it has too few digits",
        "start-time moved to the next opening of 10:00-19:00",
    )
    assert encoded("", "2026-11-24T18:59", "9812345678", "", "", rules=rules).notes == ()


def test_a_start_outside_of_the_window_may_be_rejected() -> None:
    """The column is named, or what is meant by the campaign."""
    checks = {"window": "10:00-19:00", "outside_window": "reject"}
    rules = make_rules(checks=checks)
    row = left_out("", "2026-11-24T20:00", "9812345678", "", "", rules=rules)
    assert row.reason == "at is outside of 10:00-19:00"
    spread = make_rules(checks={**checks, "spread": "08:00-12:00"})
    columns = Columns(("tel1",), (0,))
    found = [read_row(columns, spread, number, ["9812345678"]) for number in (1, 3)]
    assert isinstance(found[0], LeftOutRow)
    assert found[0].reason == "the start-time is outside of 10:00-19:00"
    assert isinstance(found[1], Encoded)


def test_one_start_for_all_calls() -> None:
    """Whatever the row says; its day is that in India."""
    moment = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
    row = encoded("", "soon", "9812345678", "", "", rules=make_rules(Start(moment)))
    assert b'"start-time":"2026-11-26T01:30:00+05:30"' in row.json
