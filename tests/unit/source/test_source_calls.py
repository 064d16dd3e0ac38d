"""Calls written in bulk by DuckDB are the calls that the plain definition makes, byte for byte."""

import gc
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from unittest.mock import patch

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.batch import CallBlock
from phonon_bulk.call import RejectedRow, read_start_time
from phonon_bulk.errors import ListError
from phonon_bulk.source.calls import write_calls
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.row import Encoded, Given, read_row
from phonon_bulk.source.rows import schema

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()  # 10:00 in India
GIVEN = Given(run=7, now=NOW, room=400)
NUMBER = "919812345678"

NASTY = st.text(
    st.one_of(
        st.sampled_from(
            "\"\\'/,;{}[]:$%\0\x01\x07\b\t\n\x0b\f\r\x1b\x1f \x7f\x80\x85\xa0éअ\u2028\u2029"
            "\u200b\ufeff\ufffe\uffff\U0001f600\U0010ffff"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=12,
)
NUMBERS = st.one_of(
    st.just(""),
    st.just(NUMBER),
    st.from_regex(r"\A[+]?[0-9]{7,16}\Z"),
    st.text("+0123456789 ()-.\u00a0", max_size=20),
    st.text("+-_0123456789eE.xX \n\t,", max_size=14),
    st.text(st.sampled_from("0123456789\u0660\uff11\u00b2"), min_size=8, max_size=15),
    NASTY,
)
CLOCKS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "", " "]),
        st.sampled_from(["2026", "2027", "2024", "1999", "0000", "9999", "26", "٢٠٢٦", "-026"]),
        st.sampled_from(["-11-24", "-11-23", "-12-31", "-02-29", "-02-30", "-13-01", "/11/24"]),
        st.sampled_from(["T", " ", "t", "", "  "]),
        st.sampled_from(["10:00", "00:00", "23:59", "24:00", "10:60", "1:00", "10.00", ""]),
        st.sampled_from(["", ":00", ":59", ":60", ":00.5", ":00.000000", ":"]),
        st.sampled_from(["", "", "+05:30", "Z", "+00:00", "-11:00", "+0530", "+05", "+25:00"]),
        st.sampled_from(["", "", "", "\n", " (BC)"]),
    ),
)
START_TIMES = st.one_of(
    st.just(""),
    st.just("2026-11-24T10:00:00+05:30"),
    CLOCKS,
    st.sampled_from(["infinity", "-infinity", "epoch", "now", "today", "2026-11-24"]),
    NASTY,
)
IDENTIFIERS = st.one_of(st.just(""), st.just("ACC 1"), st.just("  ACC1\t"), NASTY)

AGREE = settings(max_examples=40)  # each example opens a database and has many rows

ALL = Columns(
    names=("id", "at", "tel1", "tel2", "tel3", "a", "b"),
    numbers=(2, 3, 4),
    keys=(('$flow.key.It\'s "A"\\', 5), ("$flow.key.B", 6), ("$flow.key.A", 5)),
    client_identifier=0,
    start_time=1,
)


def table(rows: Sequence[Sequence[str]], first: int = 1, width: int | None = None) -> pa.Table:
    """Return rows as the file reader hands them over; those of another width are ragged."""
    width = len(rows[0]) if width is None else width
    regular = [row if len(row) == width else [None] * width for row in rows]
    ragged = [None if len(row) == width else list(row) for row in rows]
    fields = [[row[i] for row in regular] for i in range(width)]
    columns = [*fields, range(first, first + len(rows)), ragged]
    return pa.table(dict(zip(schema(width).names, columns, strict=True)), schema(width))


def write(
    columns: Columns, *tables: pa.Table, facts: Given = GIVEN
) -> tuple[list[tuple[int, bytes, int]], list[RejectedRow]]:
    """Return row, JSON and day of each call that the tables make, and the rejected rows."""
    chunks = list(write_calls(columns, facts, iter(tables)))
    calls = [call for chunk in chunks for call in calls_in(chunk.calls)]
    return calls, [row for chunk in chunks for row in chunk.rejected]


def calls_in(block: CallBlock) -> Iterator[tuple[int, bytes, int]]:
    """Yield row, JSON and day of each call in a block, having checked the commas."""
    cut = [block.data[a:b] for a, b in pairwise(block.ends)]
    assert all(call.endswith(b",") for call in cut)
    for row, call, day in zip(block.rows, cut, block.days, strict=True):
        yield row, call[:-1], day


def check(columns: Columns, rows: Sequence[Sequence[str]], facts: Given = GIVEN) -> None:
    """Check that a table becomes what its rows become one by one."""
    calls, rejected = write(columns, table(rows), facts=facts)
    plain = [(n, read_row(columns, facts, n, row)) for n, row in enumerate(rows, start=1)]
    assert calls == [(n, call.json, call.day) for n, call in plain if isinstance(call, Encoded)]
    assert rejected == [row for _, row in plain if isinstance(row, RejectedRow)]


@AGREE
@given(
    st.lists(
        st.tuples(IDENTIFIERS, START_TIMES, NUMBERS, NUMBERS, NUMBERS, NASTY, NASTY),
        min_size=1,
        max_size=20,
    )
)
def test_any_row_is_what_its_plain_definition_says(rows: list[tuple[str, ...]]) -> None:
    """Whatever stands in the fields, SQL and Python agree on the call or the reason."""
    check(ALL, rows)


@AGREE
@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=40))
def test_every_value_is_written_as_orjson_writes_it(rows: list[tuple[str, str]]) -> None:
    """Quotes, backslashes, control characters, NUL, other scripts: the same bytes."""
    columns = Columns(("tel1", "a", "b"), (0,), (("$flow.key.A", 1), ("$flow.key.B", 2)))
    check(columns, [(NUMBER, *row) for row in rows])


@AGREE
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_every_number_is_cleaned_as_clean_number_does(rows: list[tuple[str, str]]) -> None:
    """Punctuation, plus signs, lengths, other digits than ASCII: the same number or none."""
    check(Columns(("tel1", "tel2", "tel3"), (0, 1, 2)), [(NUMBER, *row) for row in rows])
    check(Columns(("tel1", "tel2"), (0, 1)), rows)


@AGREE
@given(st.lists(START_TIMES, min_size=1, max_size=40))
def test_every_start_time_is_read_as_read_start_time_does(texts: list[str]) -> None:
    """Offsets, missing seconds, dates that don't exist, dates that are past."""
    check(Columns(("tel1", "at"), (0,), start_time=1), [(NUMBER, text) for text in texts])


@AGREE
@given(st.lists(IDENTIFIERS, min_size=1, max_size=40))
def test_every_identifier_is_trimmed_alike(texts: list[str]) -> None:
    """Any white space around it goes; where nothing remains, it is run and row."""
    check(Columns(("tel1", "id"), (0,), client_identifier=1), [(NUMBER, text) for text in texts])


@pytest.mark.parametrize("room", range(170, 181))
def test_a_call_may_be_as_large_as_the_room_and_no_larger(room: int) -> None:
    """SQL and Python draw the same line."""
    columns = Columns(("tel1", "a"), (0,), (("$flow.key.A", 1),))
    rows = [(NUMBER, "x" * length) for length in range(30)]
    check(columns, rows, Given(run=7, now=NOW, room=room))


USUAL = [
    ("", "", "919812345678", "", ""),
    ("ACC 1", "2026-11-24T10:00:00+05:30", "919812345678", "919812345679", "14155550100"),
    (" ACC1 ", "2026-11-24 00:00", "+91 98123-45678", "bad", "919812345678"),
    ("~", "2099-01-01 10:00:00", "+9812345678", "(1415) 555.0100", ""),
]


def test_usual_rows_are_written_without_python() -> None:
    """A list of usual rows costs no Python object a row; this is what makes it fast."""
    columns = Columns(("id", "at", "a", "b", "c"), (2, 3, 4), client_identifier=0, start_time=1)
    with patch("phonon_bulk.source.calls.read_row", side_effect=AssertionError):
        calls, _ = write(columns, table(USUAL))
    assert len(calls) == len(USUAL)


def test_one_start_time_for_all_is_in_every_call() -> None:
    """A moment that the mapping names is written at +05:30, and gives the day."""
    moment = read_start_time("2026-11-30T23:00:00Z")
    [(_, call, day)], _ = write(Columns(("tel1",), (0,), start_time=moment), table([(NUMBER,)]))
    assert b'"start-time":"2026-12-01T04:30:00+05:30"' in call
    assert day == (datetime(2026, 12, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


def test_a_call_without_keys_has_an_empty_list() -> None:
    """`keys` is there, as in every call."""
    [(row, call, _)], _ = write(Columns(("tel1",), (0,)), table([(NUMBER,)], first=12))
    assert row == 12
    assert orjson.loads(call) == {
        "client-identifier": "7-12",
        "start-time": "2026-11-24T10:00:00+05:30",
        "contact-numbers": [NUMBER],
        "keys": [],
    }


def test_rows_stay_in_order_whatever_they_are() -> None:
    """Calls, rejected and ragged rows, over several tables, one of them empty."""
    columns = Columns(("tel1", "a"), (0,))
    calls, rejected = write(
        columns,
        table([("x", ""), ("1",), (NUMBER, ""), ("1", "2", "3"), ("y", "")], width=2),
        table([], first=6, width=2),
        table([(NUMBER, "")], first=6),
    )
    assert [row.row for row in rejected] == [1, 2, 4, 5]
    assert [row for row, _, _ in calls] == [3, 6]


def test_every_chunk_says_how_far_the_list_is_accounted_for() -> None:
    """Its last row, whatever became of it, and of none is there more than one chunk."""
    columns = Columns(("tel1",), (0,))
    rows = [(NUMBER if n % 3 else "",) for n in range(50_000)]
    chunks = list(write_calls(columns, GIVEN, iter([table(rows), table([("",)], first=50_001)])))
    assert [chunk.last_row for chunk in chunks] == [20_000, 40_000, 50_001]
    for chunk, after in zip(chunks, [0, 20_000, 40_000], strict=True):
        rows_of = [*chunk.calls.rows, *(row.row for row in chunk.rejected)]
        assert sorted(rows_of) == list(range(after + 1, chunk.last_row + 1))
    assert len(chunks[-1].rejected) == 10_000 // 3 + 1


def test_a_table_of_which_nothing_remains_gives_an_empty_block() -> None:
    """All rows rejected, or none there."""
    columns = Columns(("tel1",), (0,))
    [chunk] = write_calls(columns, GIVEN, iter([table([("",), ("x",)])]))
    assert (len(chunk.calls), len(chunk.rejected), chunk.last_row) == (0, 2, 2)
    assert list(write_calls(columns, GIVEN, iter([]))) == []


@pytest.mark.parametrize("error", [ListError("b.csv was changed"), ValueError("a bug")])
def test_what_stops_the_rows_is_passed_on_as_it_is(error: Exception) -> None:
    """Not as what DuckDB makes of it."""

    def tables() -> Iterator[pa.Table]:
        yield table([(NUMBER,)])
        raise error

    with pytest.raises(type(error)) as caught:
        list(write_calls(Columns(("tel1",), (0,)), GIVEN, tables()))
    assert caught.value is error


def test_what_duckdb_says_of_a_row_is_not_passed_on() -> None:
    """Its messages may quote the data; ours name the rows."""
    query = "SELECT 1::BIGINT AS row, '' AS call, CAST(c0 AS INTEGER) AS day FROM list"
    with (
        patch("phonon_bulk.source.calls.call_query", return_value=query),
        pytest.raises(ListError, match="the rows after row 0 could not be written") as caught,
    ):
        write(Columns(("tel1",), (0,)), table([("Asha",)]))
    assert "Asha" not in str(caught.value)
    assert caught.value.__suppress_context__, "nor in a traceback"


def test_nothing_stays_open_when_reading_is_given_up() -> None:
    """The rest of the rows is let go, and so is the database."""
    left = []

    def tables() -> Iterator[pa.Table]:
        try:
            for n in range(1, 10_000):
                yield table([(NUMBER,)] * 1000, first=n * 1000)
        finally:
            left.append("tables")

    chunks = write_calls(Columns(("tel1",), (0,)), GIVEN, tables())
    next(chunks)
    assert not left
    assert isinstance(chunks, Generator)
    chunks.close()
    gc.collect()
    assert left == ["tables"]
