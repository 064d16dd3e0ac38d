"""Values as a person expects them, one by one and by the column."""

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.source.formats.values import text_column, text_of

INDIA = ZoneInfo("Asia/Kolkata")
MOMENT = dt.datetime(2026, 11, 24, 10)  # noqa: DTZ001 - one without a time zone


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (" as it is\n", " as it is\n"),
        (True, "true"),
        (False, "false"),
        (919812345678, "919812345678"),
        (-5, "-5"),
        (919812345678.0, "919812345678"),
        (1e5, "100000"),
        (1e16, "10000000000000000"),
        (1e22, "1" + "0" * 22),
        (1.5e300, "15" + "0" * 299),
        (0.1, "0.1"),
        (81382.48, "81382.48"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (math.nan, ""),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (Decimal("1234.50"), "1234.50"),
        (Decimal("1E+5"), "100000"),
        (Decimal("1.2E-9"), "0.0000000012"),
        (Decimal("NaN"), ""),
        (Decimal("Infinity"), "inf"),
        (Decimal("1E+999999999"), "1E+999999999"),
        (MOMENT.date(), "2026-11-24"),
        (MOMENT, "2026-11-24T10:00:00"),
        (MOMENT.replace(microsecond=500_000), "2026-11-24T10:00:00.500000"),
        (MOMENT.replace(tzinfo=INDIA), "2026-11-24T10:00:00+05:30"),
        (MOMENT.replace(tzinfo=dt.UTC), "2026-11-24T10:00:00+00:00"),
        (dt.time(10), "10:00:00"),
        (dt.timedelta(hours=36), "1 day, 12:00:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("é".encode(), "é"),
        (b"\xff\x00", "ff00"),
        (memoryview(b"abc"), "abc"),
        ([], ""),
        ([919812345678.0, "a", None, [1, 2]], "919812345678;a;;1;2"),
        (("a", {"b": 1}), 'a;{"b":1}'),
        (
            {"é": "x\n", "n": None, "l": [1.0, True, math.nan], "d": Decimal("1.50"), "t": MOMENT},
            '{"é":"x\\n","n":null,"l":[1,true,null],"d":1.50,"t":"2026-11-24T10:00:00"}',
        ),
    ],
)
def test_text_of(value: object, text: str) -> None:
    """Numbers without exponents, dates as ISO 8601, what is nested by semicolons or as JSON."""
    assert text_of(value) == text


NAIVE = st.datetimes()
AWARE = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1), timezones=st.just(INDIA))  # noqa: DTZ001 - they get it
DECIMALS = st.decimals(-(10**9), 10**9, places=3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[object]]] = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.bool_(), st.booleans()),
    (pa.int64(), INTEGERS),
    (pa.uint8(), st.integers(0, 255)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.one_of(st.floats(), INTEGERS.map(float))),
    (pa.decimal128(20, 3), DECIMALS),
    (pa.decimal256(50, 20), DECIMALS),
    (pa.date32(), st.dates()),
    (pa.date64(), st.dates()),
    (pa.timestamp("us"), NAIVE),
    (pa.timestamp("s"), NAIVE.map(lambda moment: moment.replace(microsecond=0))),
    (pa.timestamp("us", "Asia/Kolkata"), AWARE),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(days=-999), dt.timedelta(days=999))),
    (pa.binary(), st.binary(max_size=4)),
    (pa.large_binary(), TEXTS.map(str.encode)),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.list_(pa.float64()), st.lists(st.floats(), max_size=3)),
    (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": INTEGERS, "b": TEXTS}),
    ),
    (pa.null(), st.none()),
    (pa.uuid(), st.uuids().map(lambda value: value.bytes)),
]


@pytest.mark.parametrize(("kind", "values"), COLUMNS, ids=[str(kind) for kind, _ in COLUMNS])
@settings(max_examples=30)
@given(data=st.data())
def test_columns_and_values_agree(
    kind: pa.DataType, values: st.SearchStrategy[object], data: st.DataObject
) -> None:
    """What is done for a column at once is what would be done for each of its values."""
    column = pa.array(data.draw(st.lists(st.one_of(st.none(), values), max_size=6)), kind)
    texts = text_column(column)
    assert texts.type == pa.string()
    assert texts.to_pylist() == [text_of(value) for value in column.to_pylist()]


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (
            pa.array([0.1, 81382.48, 1e10, None], pa.float32()),
            ["0.1", "81382.48", "10000000000", ""],
        ),
        (pa.array([0.5, 2048.0], pa.float16()), ["0.5", "2048"]),
        (
            pa.array([1, 1_500_000_000], pa.timestamp("ns")),
            ["1970-01-01T00:00:00", "1970-01-01T00:00:01.500000"],
        ),
        (pa.array([1], pa.timestamp("ns", "UTC")), ["1970-01-01T00:00:00+00:00"]),
        (pa.array([1_000_001], pa.time64("ns")), ["00:00:00.001000"]),
        (pa.array([1_000_001], pa.duration("ns")), ["0:00:00.001000"]),
        (pa.array([12345], pa.decimal128(5, 0)).cast(pa.decimal128(8, -2), safe=False), ["12300"]),
        (pa.chunked_array([["a"], [None, "b"]]), ["a", "", "b"]),
        (pa.chunked_array([], pa.int64()), []),
        (pa.array(["a", "b", None]).slice(1), ["b", ""]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), ["a", "a", "b"]),
    ],
)
def test_columns_of_what_python_has_no_values_for(column: pa.Array, texts: Sequence[str]) -> None:
    """Short floats are the decimal they stand for; nanoseconds are dropped."""
    assert text_column(column).to_pylist() == texts


def test_a_text_that_is_none_is_in_hexadecimal() -> None:
    """A Parquet file may say of any bytes that they are text."""
    texts = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    assert text_column(texts).to_pylist() == ["ff"]
