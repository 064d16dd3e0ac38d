"""One row, and why it is no call."""

from datetime import UTC, datetime

import orjson
import pytest

from phonon_bulk.call import RejectedRow
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.row import Encoded, Given, read_row

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC).timestamp()  # 01:30 on the 24th in India
GIVEN = Given(run=7, now=NOW, room=1000)
COLUMNS = Columns(
    names=("id", "at", "mobile", "other", "name"),
    numbers=(2, 3),
    keys=(("$flow.key.Name", 4),),
    client_identifier=0,
    start_time=1,
)


def outcome(*fields: str) -> Encoded | RejectedRow:
    """Read row 12."""
    return read_row(COLUMNS, GIVEN, 12, fields)


def call(*fields: str) -> dict[str, object]:
    """Return the call that the fields make."""
    encoded = outcome(*fields)
    assert isinstance(encoded, Encoded)
    found: dict[str, object] = orjson.loads(encoded.json)
    return found


def rejected(*fields: str) -> RejectedRow:
    """Return the rejected row that the fields make."""
    row = outcome(*fields)
    assert isinstance(row, RejectedRow)
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


WRITE_DIGITS = "write digits with country code, for example 919812345678"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("A", "", "919812345678"), "too few fields: 3 of 5"),
        (("A", "", "919812345678", "", "x", "y"), "too many fields: 6 of 5"),
        (("A", "", "", " ", "x"), "no usable number: mobile, other are empty"),
        (
            ("A", "", "9812345678", "", "x"),
            f"no usable number in mobile, other: {WRITE_DIGITS}",
        ),
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
    assert rejected(*fields).reason == reason


def test_today_is_the_day_in_india() -> None:
    """At 20:00 in London the 23rd is past; a time that has passed today is not."""
    assert call("A", "2026-11-24T00:00", "919812345678", "", "x")["start-time"] == (
        "2026-11-24T00:00:00+05:30"
    )
    assert rejected("A", "2026-11-23T18:29:59Z", "919812345678", "", "x").reason.endswith("past")


def test_a_rejected_row_is_kept_whole() -> None:
    """With what lacks as null and what is too much under its place."""
    short = rejected("A", "", "919812345678")
    assert (short.row, short.client_identifier) == (12, "A")
    assert short.contact_numbers == ("919812345678",)
    assert orjson.loads(short.fields) == {
        "id": "A",
        "at": "",
        "mobile": "919812345678",
        "other": None,
        "name": None,
    }
    long = rejected(" ", "", "x", "", 'é"', "more")
    assert (long.client_identifier, long.contact_numbers) == (None, ("x",))
    assert long.fields.endswith('"name":"é\\"","(column 6)":"more"}')


def test_a_list_with_one_number_column_is_said_to_have_one() -> None:
    """Grammar."""
    row = read_row(Columns(("tel1",), (0,)), GIVEN, 1, [""])
    assert isinstance(row, RejectedRow)
    assert row.reason == "no usable number: tel1 is empty"
