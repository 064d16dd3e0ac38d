"""What a call is, and what makes a text no number and no start-time."""

from datetime import UTC, date, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.call import (
    INDIA,
    Call,
    LeftOut,
    LeftOutRow,
    encode,
    read_end,
    read_start_time,
    start_time_text,
    today_in_india,
)

CALL = Call(
    client_identifier="ACC0001",
    start_time="2026-11-24T10:00:00+05:30",
    contact_numbers=("919812345678", "919912345678"),
    keys=(("$flow.key.Name", "Asha"),),
)


def test_a_call_is_written_as_the_api_describes_it() -> None:
    """The example of the API's page, without spaces."""
    assert encode(CALL) == (
        b'{"client-identifier":"ACC0001","start-time":"2026-11-24T10:00:00+05:30",'
        b'"contact-numbers":["919812345678","919912345678"],'
        b'"keys":[{"name":"$flow.key.Name","value":"Asha"}]}'
    )


@given(st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_any_text_survives(identifier: str, keys: list[tuple[str, str]]) -> None:
    """What is put into a call is what a JSON reader finds there, in order."""
    call = Call(identifier, "2026-11-24T10:00:00+05:30", ("919812345678",), tuple(keys))
    found = orjson.loads(encode(call))
    assert found["client-identifier"] == identifier
    assert [(key["name"], key["value"]) for key in found["keys"]] == keys


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-24T10:00:00+05:30", "2026-11-24T10:00:00+05:30"),
        ("2026-11-24 10:00", "2026-11-24T10:00:00+05:30"),
        (" 2026-11-24T10:00\n", "2026-11-24T10:00:00+05:30"),
        ("2026-11-24T20:00:00Z", "2026-11-25T01:30:00+05:30"),
        ("2026-11-24 10:00:59.999999", "2026-11-24T10:00:59+05:30"),
        ("2026-11-24T00:00:00+09:00", "2026-11-23T20:30:00+05:30"),
        ("2024-02-29T00:00", "2024-02-29T00:00:00+05:30"),
        ("2026-02-29T00:00", None),
        ("2026-11-24", None),
        ("2026-11-24T24:00", None),
        ("2026-11-24T10:00:60", None),
        ("2026-11-24T10:00:00.", None),
        ("2026-11-24T10:00+0530", None),
        ("2026-11-24T10:00:00+25:00", None),
        ("24-11-2026 10:00", None),
        ("2026-11-24  10:00", None),
        ("0001-01-01T00:00:00+05:30", None),
        ("9999-12-31T23:59:59-05:00", None),
        ("\u0662\u0660\u0662\u0666-11-24T10:00", None),
        ("", None),
    ],
)
def test_start_times(text: str, written: str | None) -> None:
    """ISO 8601 in the forms people write, a time in India unless it says otherwise."""
    moment = read_start_time(text)
    assert (moment and start_time_text(moment)) == written


def test_a_start_time_in_another_zone() -> None:
    """Without an offset it is a time there; with one, that holds."""
    dubai = timezone(timedelta(hours=4))
    for text in ("2026-11-24T10:00", "2026-11-24T10:00+04:00", "2026-11-24T11:30+05:30"):
        moment = read_start_time(text, dubai)
        assert moment is not None
        assert start_time_text(moment) == "2026-11-24T11:30:00+05:30"


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)))  # noqa: DTZ001
def test_a_start_time_reads_as_it_was_written(moment: datetime) -> None:
    """To the second, and always at +05:30."""
    text = start_time_text(moment)
    assert len(text) == 25
    assert text.endswith("+05:30")
    assert read_start_time(text) == moment.replace(microsecond=0)


def test_today_is_the_day_in_india() -> None:
    """It begins at 18:30 in London's winter."""
    midnight = datetime(2026, 11, 24, tzinfo=INDIA)
    assert today_in_india(midnight.timestamp()) == date(2026, 11, 24)
    assert today_in_india((midnight - timedelta(seconds=1)).timestamp()) == date(2026, 11, 23)


def test_a_repr_shows_nothing_of_the_customer() -> None:
    """Calls and rows left out may end up in logs."""
    row = LeftOutRow(3, "no usable number", "ACC0001", ("98123",), '{"name":"Asha"}')
    other = LeftOutRow(4, "why", "ACC0001", ("98123",), state=LeftOut.SUPPRESSED)
    assert repr(CALL) == "Call(2 numbers, 1 keys)"
    assert repr(row) == "LeftOutRow(row=3, state='rejected', reason='no usable number')"
    assert repr(other) == "LeftOutRow(row=4, state='suppressed', reason='why')"


NOON = datetime(2026, 11, 24, 12, tzinfo=INDIA).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("19:00", datetime(2026, 11, 24, 19, tzinfo=INDIA)),
        ("00:30", datetime(2026, 11, 24, 0, 30, tzinfo=INDIA)),
        ("2026-11-25T06:00:00+05:30", datetime(2026, 11, 25, 6, tzinfo=INDIA)),
        ("2026-11-25 06:00", datetime(2026, 11, 25, 6, tzinfo=INDIA)),
        ("2026-11-25T06:00:00Z", datetime(2026, 11, 25, 11, 30, tzinfo=INDIA)),
    ],
)
def test_an_end(text: str, moment: datetime) -> None:
    """A time of day is that of the day in India; a moment is itself."""
    assert read_end(text, NOON) == moment.timestamp()


def test_an_end_late_in_the_evening_elsewhere() -> None:
    """When it is the next day in India already, the end is on that day."""
    night = datetime(2026, 11, 25, 1, tzinfo=INDIA).timestamp()
    assert read_end("19:00", night) == datetime(2026, 11, 25, 19, tzinfo=INDIA).timestamp()


def test_no_end() -> None:
    """What is neither is an error."""
    with pytest.raises(ValueError, match="neither"):
        read_end("7 pm", NOON)
