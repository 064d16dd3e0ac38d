"""Calls written in bulk by DuckDB are the calls that the plain definition makes, byte for byte."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import CallBlock
from phonon_bulk.call import read_start_time
from phonon_bulk.source.calls import CallWriter
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.row import Encoded, Given, read_row
from phonon_bulk.source.rows import ROW, Ragged, Rows, column_name

Check = Callable[..., None]

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

ALL = Columns(
    names=("id", "at", "tel1", "tel2", "tel3", "a", "b"),
    numbers=(2, 3, 4),
    keys=(('$flow.key.It\'s "A"\\', 5), ("$flow.key.B", 6), ("$flow.key.A", 5)),
    client_identifier=0,
    start_time=1,
)


def table(rows: Sequence[Sequence[str]], first: int = 1) -> Rows:
    """Return rows as the file reader hands them over."""
    columns = {column_name(i): pa.array(c) for i, c in enumerate(zip(*rows, strict=True))}
    numbers = pa.arange(first, first + len(rows))
    return Rows(pa.table({**columns, ROW: numbers}), [], first + len(rows) - 1)


def calls_in(block: CallBlock) -> list[tuple[int, bytes, int]]:
    """Return row, JSON and day of each call in a block, having checked the commas."""
    cut = [block.data[a:b] for a, b in zip(block.ends, block.ends[1:], strict=False)]
    assert all(call.endswith(b",") for call in cut)
    return [(r, c[:-1], d) for r, c, d in zip(block.rows, cut, block.days, strict=True)]


@pytest.fixture(scope="module")
def check() -> Iterator[Check]:
    """Check that a whole table becomes what its rows become one by one."""
    writers: dict[tuple[Columns, Given], CallWriter] = {}  # to open one takes 20 ms
    yield lambda columns, rows, facts=GIVEN: compare(writers, columns, rows, facts)
    for writer in writers.values():
        writer.__exit__(None, None, None)


def compare(
    writers: dict[tuple[Columns, Given], CallWriter],
    columns: Columns,
    rows: Sequence[Sequence[str]],
    facts: Given,
) -> None:
    """Write the rows in both ways."""
    if (columns, facts) not in writers:
        writers[columns, facts] = CallWriter(columns, facts)
    block, rejected = writers[columns, facts].write(table(rows))
    plain = [(n, read_row(columns, facts, n, row)) for n, row in enumerate(rows, start=1)]
    assert calls_in(block) == [(n, c.json, c.day) for n, c in plain if isinstance(c, Encoded)]
    assert rejected == [row for _, row in plain if not isinstance(row, Encoded)]


@given(
    st.lists(
        st.tuples(IDENTIFIERS, START_TIMES, NUMBERS, NUMBERS, NUMBERS, NASTY, NASTY),
        min_size=1,
        max_size=8,
    )
)
def test_any_row_is_what_its_plain_definition_says(
    check: Check, rows: list[tuple[str, ...]]
) -> None:
    """Whatever stands in the fields, SQL and Python agree on the call or the reason."""
    check(ALL, rows)


@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=10))
def test_every_value_is_written_as_orjson_writes_it(
    check: Check, rows: list[tuple[str, str]]
) -> None:
    """Quotes, backslashes, control characters, NUL, other scripts: the same bytes."""
    columns = Columns(("tel1", "a", "b"), (0,), (("$flow.key.A", 1), ("$flow.key.B", 2)))
    check(columns, [(NUMBER, *row) for row in rows])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=10))
def test_every_number_is_cleaned_as_clean_number_does(
    check: Check, rows: list[tuple[str, str]]
) -> None:
    """Punctuation, plus signs, lengths, other digits than ASCII: the same number or none."""
    check(Columns(("tel1", "tel2", "tel3"), (0, 1, 2)), [(NUMBER, *row) for row in rows])
    check(Columns(("tel1", "tel2"), (0, 1)), rows)


@given(st.lists(START_TIMES, min_size=1, max_size=10))
def test_every_start_time_is_read_as_read_start_time_does(check: Check, texts: list[str]) -> None:
    """Offsets, missing seconds, dates that don't exist, dates that are past."""
    check(Columns(("tel1", "at"), (0,), start_time=1), [(NUMBER, text) for text in texts])


@given(st.lists(IDENTIFIERS, min_size=1, max_size=10))
def test_every_identifier_is_trimmed_alike(check: Check, texts: list[str]) -> None:
    """Any white space around it goes; where nothing remains, it is run and row."""
    check(Columns(("tel1", "id"), (0,), client_identifier=1), [(NUMBER, text) for text in texts])


@pytest.mark.parametrize("room", range(170, 181))
def test_a_call_may_be_as_large_as_the_room_and_no_larger(check: Check, room: int) -> None:
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
    with CallWriter(columns, GIVEN) as writer:
        calls, _ = writer._usual(table(USUAL).table)
    assert calls.null_count == 0


def test_one_start_time_for_all_is_in_every_call() -> None:
    """A moment that the mapping names is written at +05:30, and gives the day."""
    moment = read_start_time("2026-11-30T23:00:00Z")
    columns = Columns(("tel1",), (0,), start_time=moment)
    with CallWriter(columns, GIVEN) as writer:
        block, _ = writer.write(table([(NUMBER,)]))
    [(_, call, day)] = calls_in(block)
    assert b'"start-time":"2026-12-01T04:30:00+05:30"' in call
    assert day == (datetime(2026, 12, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


def test_a_call_without_keys_has_an_empty_list() -> None:
    """`keys` is there, as in every call."""
    with CallWriter(Columns(("tel1",), (0,)), GIVEN) as writer:
        block, _ = writer.write(table([(NUMBER,)], first=12))
    [(row, call, _)] = calls_in(block)
    assert row == 12
    assert orjson.loads(call) == {
        "client-identifier": "7-12",
        "start-time": "2026-11-24T10:00:00+05:30",
        "contact-numbers": [NUMBER],
        "keys": [],
    }


def test_ragged_and_rejected_rows_are_told_in_the_order_of_the_list() -> None:
    """Rows of both kinds come together."""
    columns = Columns(("tel1", "a"), (0,))
    rows = Rows(
        pa.table({"c0": ["x", NUMBER, "y"], "c1": ["", "", ""], ROW: [1, 3, 5]}),
        [Ragged(2, ["1"]), Ragged(4, ["1", "2", "3"])],
        5,
    )
    with CallWriter(columns, GIVEN) as writer:
        block, rejected = writer.write(rows)
    assert [row.row for row in rejected] == [1, 2, 4, 5]
    assert list(block.rows) == [3]
    assert list(block.ends) == [0, len(block.data)]


def test_a_table_of_which_nothing_remains_gives_an_empty_block() -> None:
    """All rows rejected, or all ragged."""
    with CallWriter(Columns(("tel1",), (0,)), GIVEN) as writer:
        block, rejected = writer.write(table([("",), ("x",)]))
        assert (len(block), len(rejected)) == (0, 2)
        block, rejected = writer.write(
            Rows(pa.table({"c0": pa.array([], pa.string()), ROW: pa.array([], pa.int64())}), [], 0)
        )
        assert (len(block), len(rejected)) == (0, 0)
