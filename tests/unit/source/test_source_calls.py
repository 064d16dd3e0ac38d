"""Calls written in bulk by DuckDB are the calls that the plain definition makes, byte for byte."""

import gc
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phonon_bulk.call import LeftOut, LeftOutRow, read_start_time
from phonon_bulk.config import ChecksSettings, DuplicatesBy
from phonon_bulk.errors import ListError
from phonon_bulk.packing import CallBlock, Chunk
from phonon_bulk.source import calls as calls_module
from phonon_bulk.source.calls import write_calls
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.formats.tables import schema
from phonon_bulk.source.numbers import NumberReader
from phonon_bulk.source.row import Encoded, Rules, read_row
from phonon_bulk.source.seen import Seen
from phonon_bulk.source.suppression import Suppressed
from phonon_bulk.source.times import Start, StartTimes

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()  # 10:00 in India
NUMBER = "919812345678"
OTHER = "919812345679"
READERS = {region: NumberReader(region) for region in ("IN", "US", "IT")}


def make_rules(
    columns: Columns,
    *,
    room: int = 400,
    region: str = "IN",
    suppressed: Sequence[str] | None = None,
    key: DuplicatesBy | None = None,
    **checks: object,
) -> Rules:
    """Return the rules for a list of 10 rows, as `ContactList.chunks` makes them."""
    starts = StartTimes(ChecksSettings.model_validate(checks), NOW, 10)
    start: Start | None = None
    if isinstance(columns.start_time, datetime):
        start = Start(columns.start_time)
    elif columns.start_time is None and not starts.spreads:
        at_once = starts.at_once()
        assert isinstance(at_once, Start)
        start = at_once
    listed = [np.array([int(number) for number in suppressed or ()], np.int64)]
    return Rules(
        run=7,
        room=room,
        numbers=READERS[region],
        starts=starts,
        start=start,
        suppressed=None if suppressed is None else Suppressed(listed),
        key=key,
    )


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
    st.sampled_from(["", NUMBER, OTHER, "NA", " nil ", "N/A", "-", "9812345678", "14155550100"]),
    st.sampled_from(
        ["98123 45678", "(098123) 45679", "+393123456789", "9812345678;x", "0612345678"]
    ),
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

AGREE = settings(max_examples=10)  # each example opens a database and has many rows

ALL = Columns(
    names=("id", "at", "tel1", "tel2", "tel3", "a", "b"),
    numbers=(2, 3, 4),
    keys=(('$flow.key.It\'s "A"\\', 5), ("$flow.key.B", 6), ("$flow.key.A", 5)),
    client_identifier=0,
    start_time=1,
)


def table(
    rows: Sequence[Sequence[str | None]], first: int = 1, width: int | None = None, own: int = -1
) -> pa.Table:
    """Return rows as they come from the list; those of another width could not be read.

    Columns from `own` on are derived, so that these may lack a value.
    """
    width = len(rows[0]) if width is None else width
    whole = [row if len(row) == width else [None] * width for row in rows]
    broken = [None if len(row) == width else list(row) for row in rows]
    faults = [None if len(row) == width else fault(row, width) for row in rows]
    columns: list[Sequence[object]] = [[row[i] for row in whole] for i in range(width)]
    if own >= 0:
        assert all(None not in row[:own] for row in rows)
    columns += [range(first, first + len(rows)), broken, faults]
    return pa.table(dict(zip(schema(width).names, columns, strict=True)), schema(width))


def fault(row: Sequence[object], width: int) -> str:
    """Return why a row could not be read."""
    return f"not {width} fields, but {len(row)}"


def write(
    columns: Columns, *tables: pa.Table, rules: Rules | None = None
) -> tuple[list[tuple[int, bytes, int]], list[LeftOutRow]]:
    """Return row, JSON and day of each call that the tables make, and the rows left out."""
    chunks = written(columns, *tables, rules=rules)
    calls = [call for chunk in chunks for call in calls_in(chunk.calls)]
    return calls, [row for chunk in chunks for row in chunk.left_out]


def written(columns: Columns, *tables: pa.Table, rules: Rules | None = None) -> list[Chunk]:
    """Return the chunks that the tables make, where no key was seen before."""
    rules = rules or make_rules(columns)
    return list(write_calls(columns, rules, iter(tables), Seen(), LeftOut.DUPLICATE))


def calls_in(block: CallBlock) -> Iterator[tuple[int, bytes, int]]:
    """Yield row, JSON and day of each call in a block, having checked the commas."""
    cut = [bytes(block.data[a:b]) for a, b in pairwise(block.ends)]
    assert all(call.endswith(b",") for call in cut)
    for row, call, day in zip(block.rows, cut, block.days, strict=True):
        yield row, call[:-1], day


def notes_in(chunks: Sequence[Chunk]) -> set[tuple[str, int]]:
    """Return what is noted of which row, having seen that nothing is noted twice."""
    notes = [(note, row) for chunk in chunks for note, rows in chunk.notes for row in rows]
    assert len(notes) == len(set(notes))
    return set(notes)


def check(
    columns: Columns, rows: Sequence[Sequence[str | None]], rules: Rules | None = None
) -> None:
    """Check that a table becomes what its rows become one by one."""
    rules = rules or make_rules(columns)
    width = len(columns.names)
    chunks = written(columns, table(rows, width=width), rules=rules)
    plain = [
        (n, read_row(columns, rules, n, row, None if len(row) == width else fault(row, width)))
        for n, row in enumerate(rows, start=1)
    ]
    encoded = [(n, call) for n, call in plain if isinstance(call, Encoded)]
    calls = [call for chunk in chunks for call in calls_in(chunk.calls)]
    assert calls == [(n, call.json, call.day) for n, call in encoded]
    left_out = [row for chunk in chunks for row in chunk.left_out]
    assert left_out == [row for _, row in plain if isinstance(row, LeftOutRow)]
    assert notes_in(chunks) == {(note, n) for n, call in encoded for note in call.notes}


@AGREE
@given(
    st.lists(
        st.tuples(IDENTIFIERS, START_TIMES, NUMBERS, NUMBERS, NUMBERS, NASTY, NASTY)
        | st.lists(NASTY, min_size=1, max_size=9),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["IN", "US", "IT"]),
    st.sampled_from([None, [], [NUMBER], [NUMBER, OTHER, "14155550100"]]),
    st.sampled_from(
        [{}, {"window": "11:00-19:00"}, {"window": "09:00-19:00", "start_time_form": "dmy"}]
    ),
    st.sampled_from([(), (0,), (0, 5)]),
)
def test_any_row_is_what_its_plain_definition_says(
    rows: list[Sequence[str]],
    region: str,
    suppressed: list[str] | None,
    checks: dict[str, Any],
    required: tuple[int, ...],
) -> None:
    """Whatever stands in the fields and is checked, SQL and Python agree on the call or reason."""
    columns = replace(ALL, required=required, max_lengths=((6, 8), (5, 3))[: len(required)])
    check(columns, rows, make_rules(columns, region=region, suppressed=suppressed, **checks))


@AGREE
@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=40))
def test_every_value_is_written_as_orjson_writes_it(rows: list[tuple[str, str]]) -> None:
    """Quotes, backslashes, control characters, NUL, other scripts: the same bytes."""
    columns = Columns(("tel1", "a", "b"), (0,), (("$flow.key.A", 1), ("$flow.key.B", 2)))
    check(columns, [(NUMBER, *row) for row in rows])


@AGREE
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
@example([("N/A", "#n/a"), ("nil", " - "), (NUMBER, "N/A")])
def test_every_number_is_cleaned_as_the_reader_does(rows: list[tuple[str, str]]) -> None:
    """Punctuation, plus signs, lengths, other digits than ASCII: the same number or none."""
    check(Columns(("tel1", "tel2", "tel3"), (0, 1, 2)), [(NUMBER, *row) for row in rows])
    check(Columns(("tel1", "tel2"), (0, 1)), rows)


@AGREE
@given(st.lists(START_TIMES, min_size=1, max_size=40))
def test_every_start_time_is_read_as_the_plain_definition_does(texts: list[str]) -> None:
    """Offsets, missing seconds, dates that don't exist, dates that are past."""
    columns = Columns(("tel1", "at"), (0,), start_time=1)
    rows = [(NUMBER, text) for text in texts]
    check(columns, rows)
    check(columns, rows, make_rules(columns, window="11:00-12:00"))


@AGREE
@given(st.lists(IDENTIFIERS, min_size=1, max_size=40))
def test_every_identifier_is_trimmed_alike(texts: list[str]) -> None:
    """Any white space around it goes; where nothing remains, it is run and row."""
    check(Columns(("tel1", "id"), (0,), client_identifier=1), [(NUMBER, text) for text in texts])


@AGREE
@given(st.lists(NASTY, min_size=1, max_size=40), st.integers(1, 8))
def test_every_field_is_checked_alike(texts: list[str], most: int) -> None:
    """Whether it is empty, and how many characters it has."""
    columns = Columns(("tel1", "a"), (0,), required=(1,))
    rows = [(NUMBER, text) for text in texts]
    check(columns, rows)
    check(Columns(("tel1", "a"), (0,), max_lengths=((1, most),)), rows)


@AGREE
@given(
    st.lists(
        st.tuples(NUMBERS, NASTY, NUMBERS | st.none(), NASTY | st.none(), START_TIMES | st.none()),
        min_size=1,
        max_size=20,
    )
)
def test_derived_columns_are_columns(rows: list[tuple[str | None, ...]]) -> None:
    """Where one has no value for a row, it is rejected, and nothing else changes."""
    columns = Columns(
        ("tel1", "a", "(the sql of contact_numbers)", "(the sql of keys.B)", "(the sql of start)"),
        (2, 0),
        (("$flow.key.B", 3), ("$flow.key.A", 1)),
        start_time=4,
        derived=("x", "y", "z"),
    )
    check(columns, rows)


@pytest.mark.parametrize("room", range(170, 181))
def test_a_call_may_be_as_large_as_the_room_and_no_larger(room: int) -> None:
    """SQL and Python draw the same line."""
    columns = Columns(("tel1", "a"), (0,), (("$flow.key.A", 1),))
    rows = [(NUMBER, "x" * length) for length in range(30)]
    check(columns, rows, make_rules(columns, room=room))


USUAL = [
    ("", "", "919812345678", "", ""),
    ("ACC 1", "2026-11-24T10:00:00+05:30", "919812345678", "919812345679", "9812345678"),
    (" ACC1 ", "2026-11-24 00:00", "+91 98123-45678", "NA", "919812345678"),
    ("~", "2099-01-01 10:00:00", "098123\u00a045678", " nil ", "(0)9812345679"),
]


def test_usual_rows_are_written_without_python() -> None:
    """A list of usual rows costs no Python object a row; this is what makes it fast."""
    columns = Columns(
        ("id", "at", "a", "b", "c"),
        (2, 3, 4),
        client_identifier=0,
        start_time=1,
        required=(2,),
        max_lengths=((0, 10),),
    )
    by = DuplicatesBy.CLIENT_IDENTIFIER
    rules = make_rules(columns, suppressed=[OTHER[:-1] + "0"], key=by, window="09:00-19:00")
    with patch("phonon_bulk.source.calls.read_row", side_effect=AssertionError):
        calls, _ = write(columns, table(USUAL), rules=rules)
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
    """Calls, rejected rows and such that could not be read, over several tables."""
    columns = Columns(("tel1", "a"), (0,))
    calls, left_out = write(
        columns,
        table([("x", ""), ("1",), (NUMBER, ""), ("1", "2", "3"), ("y", "")], width=2),
        table([], first=6, width=2),
        table([(NUMBER, "")], first=6),
    )
    assert [row.row for row in left_out] == [1, 2, 4, 5]
    assert [row for row, _, _ in calls] == [3, 6]


def test_every_chunk_says_how_far_the_list_is_accounted_for() -> None:
    """Its last row, whatever became of it, and of none is there more than one chunk."""
    columns = Columns(("tel1",), (0,))
    rows = [(NUMBER if n % 3 else "",) for n in range(50_000)]
    chunks = written(columns, table(rows), table([("",)], first=50_001))
    assert [chunk.last_row for chunk in chunks] == [20_000, 40_000, 50_001]
    for chunk, after in zip(chunks, [0, 20_000, 40_000], strict=True):
        rows_of = [*chunk.calls.rows, *(row.row for row in chunk.left_out)]
        assert sorted(rows_of) == list(range(after + 1, chunk.last_row + 1))
    assert len(chunks[-1].left_out) == 10_000 // 3 + 1


def test_a_table_of_which_nothing_remains_gives_an_empty_block() -> None:
    """All rows rejected, or none there."""
    columns = Columns(("tel1",), (0,))
    [chunk] = written(columns, table([("",), ("x",)]))
    assert (len(chunk.calls), len(chunk.left_out), chunk.last_row) == (0, 2, 2)
    assert written(columns) == []


# ---- what is decided over many rows


def test_numbers_on_a_do_not_call_list() -> None:
    """A call goes without them; a row with no other is left out, and keeps its fields to itself."""
    columns = Columns(("tel1", "tel2", "id"), (0, 1), client_identifier=2)
    rules = make_rules(columns, suppressed=[NUMBER])
    rows = [
        (NUMBER, OTHER, "A"),
        (NUMBER, "98123 45678", "B"),
        (OTHER, "", "C"),
        (NUMBER, "x", "D"),
    ]
    check(columns, rows, rules)
    [chunk] = written(columns, table(rows), rules=rules)
    calls = {row: orjson.loads(call) for row, call, _ in calls_in(chunk.calls)}
    assert {row: call["contact-numbers"] for row, call in calls.items()} == {1: [OTHER], 3: [OTHER]}
    assert chunk.notes == [("a number in tel1 was left out: it is on a do-not-call list", [1])]
    state, reason = LeftOut.SUPPRESSED, "on a do-not-call list"
    assert chunk.left_out == [
        LeftOutRow(2, reason, "B", (NUMBER, "98123 45678"), "{}", state),
        LeftOutRow(4, reason, "D", (NUMBER, "x"), "{}", state),
    ]


@pytest.mark.parametrize("state", [LeftOut.DUPLICATE, LeftOut.REJECTED])
@pytest.mark.parametrize(
    ("by", "rows", "repeated"),
    [
        ("number", [(NUMBER, "A"), (OTHER, "A"), ("98123 45678", "B"), ("x", "C")], [3]),
        ("client_identifier", [(NUMBER, "A"), (OTHER, " A"), (NUMBER, ""), (NUMBER, "")], [2]),
        ("client_identifier", [("x", "A"), (OTHER, "A"), (NUMBER, "é"), (NUMBER, "é\t")], [4]),
    ],
)
def test_a_row_whose_key_came_before(
    by: str, rows: list[tuple[str, str]], repeated: list[int], state: LeftOut
) -> None:
    """It is left out, in the state that the campaign says; one that is no call has no key."""
    columns = Columns(("tel1", "id"), (0,), client_identifier=1)
    rules = make_rules(columns, key=DuplicatesBy(by))
    [chunk] = write_calls(columns, rules, iter([table(rows)]), Seen(), state)
    what = by.replace("_", "-")
    reason = f"a call before it has the same {what}"
    found = [row for row in chunk.left_out if row.reason == reason]
    assert [row.row for row in found] == repeated
    assert {row.state for row in found} == {state}
    assert all((row.fields == "{}") is (state is LeftOut.DUPLICATE) for row in found)
    others = {row.row for row in chunk.left_out}
    assert list(chunk.calls.rows) == [n for n in range(1, 5) if n not in others]


def test_without_client_identifiers_nothing_has_the_same() -> None:
    """Those that are made differ from row to row."""
    columns = Columns(("tel1",), (0,))
    rules = make_rules(columns, key=DuplicatesBy.CLIENT_IDENTIFIER)
    calls, _ = write(columns, table([(NUMBER,), (NUMBER,)]), rules=rules)
    assert len(calls) == 2


WINDOW: dict[str, Any] = {"window": "11:00-19:00"}
NOTE = "start-time moved to the next opening of 11:00-19:00"


@pytest.mark.parametrize("second", ["919812345679", "+91 (98123) 45679", "x", "98123 45679;x"])
def test_a_call_that_is_moved_is_noted_once(second: str) -> None:
    """Whoever wrote it, and whatever else is noted of it."""
    columns = Columns(("tel1", "tel2"), (0, 1))
    chunks = written(
        columns, table([(NUMBER, second), (NUMBER, "")]), rules=make_rules(columns, **WINDOW)
    )
    assert {row for note, row in notes_in(chunks) if note == NOTE} == {1, 2}


def test_notes_are_of_calls_only() -> None:
    """What was noted of a row is forgotten where it turns out to be a duplicate."""
    columns = Columns(("tel1", "tel2", "at"), (0, 1), start_time=2)
    rules = make_rules(columns, key=DuplicatesBy.NUMBER, **WINDOW)
    rows = [(NUMBER, "", ""), (NUMBER, "", "2026-11-24T10:30"), (NUMBER, "x", ""), ("x", "x", "")]
    [chunk] = written(columns, table(rows), rules=rules)
    assert list(chunk.calls.rows) == [1]
    assert notes_in([chunk]) == {(NOTE, 1)}


def test_a_spread_gives_each_row_its_own_start() -> None:
    """By its number in the list, so that reading on gives the same."""
    columns = Columns(("tel1",), (0,))
    rules = make_rules(columns, spread="10:00-11:00")
    calls, _ = write(columns, table([(NUMBER,)] * 3, first=4), rules=rules)
    starts = [orjson.loads(call)["start-time"] for _, call, _ in calls]
    assert starts == [f"2026-11-24T10:{minute}:00+05:30" for minute in (18, 24, 30)]
    check(columns, [(NUMBER,), ("x",), ("98123 45678;x",)], rules)


@AGREE
@given(
    st.lists(st.sampled_from([NUMBER, OTHER, "98123 45678", "9812345678;x", "x"]), max_size=30),
    st.integers(1, 7),
    st.integers(1, 7),
)
def test_chunks_of_any_size_have_the_same_rows(texts: list[str], size: int, cut: int) -> None:
    """Law: neither how the rows come nor how they go says what becomes of them."""
    columns = Columns(("tel1",), (0,))
    rules = make_rules(columns, key=DuplicatesBy.NUMBER, suppressed=[OTHER])
    rows = [(text,) for text in texts]
    tables = [table(rows[at : at + size], at + 1, 1) for at in range(0, len(rows), size)]
    whole = written(columns, *([table(rows)] if rows else []), rules=rules)
    with patch.object(calls_module, "_CHUNK_ROWS", cut):
        cut_up = written(columns, *tables, rules=rules)
    assert everything(cut_up) == everything(whole)


def everything(chunks: Sequence[Chunk]) -> tuple[object, ...]:
    """Return all that chunks say."""
    calls = [call for chunk in chunks for call in calls_in(chunk.calls)]
    left_out = [row for chunk in chunks for row in chunk.left_out]
    return calls, left_out, notes_in(chunks), chunks[-1].last_row if chunks else 0


# ---- what goes wrong

COLUMNS = Columns(("tel1",), (0,))
RULES = make_rules(COLUMNS)


@pytest.mark.parametrize("error", [ListError("b.csv was changed"), ValueError("a bug")])
def test_what_stops_the_rows_is_passed_on_as_it_is(error: Exception) -> None:
    """Not as what DuckDB makes of it."""

    def tables() -> Iterator[pa.Table]:
        yield table([(NUMBER,)])
        raise error

    with pytest.raises(type(error)) as caught:
        list(write_calls(COLUMNS, RULES, tables(), Seen(), LeftOut.DUPLICATE))
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

    chunks = write_calls(COLUMNS, RULES, tables(), Seen(), LeftOut.DUPLICATE)
    next(chunks)
    assert not left
    assert isinstance(chunks, Generator)
    chunks.close()
    gc.collect()
    assert left == ["tables"]
