"""Columns that a mapping computes: one value for each row, or none, and nothing else."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.config import MappingSettings
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import Columns, plan_columns
from phonon_bulk.source.expressions import Expressions
from phonon_bulk.source.formats.tables import FAULT, ROW, column_name, schema

HEADER = ("tel1", "d")
FEW = settings(max_examples=10)  # each opens a database or two


def plan(*derived: dict[str, str], header: Sequence[str] = HEADER) -> Columns:
    """Return columns of which the last ones are computed; the first one holds the numbers."""
    keys = {f"K{i}": value for i, value in enumerate(derived)}
    return plan_columns(
        header, MappingSettings.model_validate({"contact_numbers": [header[0]], "keys": keys})
    )


def table(rows: Sequence[Sequence[str] | None], first: int = 1, width: int = 2) -> pa.Table:
    """Return rows as the reader hands them over; None is a row that could not be read."""
    fields = [[None if row is None else row[i] for row in rows] for i in range(width)]
    broken = [["x"] if row is None else None for row in rows]
    faults = ["too few fields" if row is None else None for row in rows]
    columns = [*fields, range(first, first + len(rows)), broken, faults]
    return pa.table(dict(zip(schema(width).names, columns, strict=True)), schema(width))


def values(columns: Columns, *tables: pa.Table) -> list[tuple[str | None, ...]]:
    """Return the derived columns of each row, having seen that the others are as they were."""
    own = len(columns.own)
    found: list[tuple[str | None, ...]] = []
    with Expressions(columns) as expressions:
        for before, after in zip(tables, expressions.add(iter(tables)), strict=True):
            assert after.select(before.column_names).equals(before)
            names = [column_name(i) for i in range(own, len(columns.names))]
            assert after.column_names == [*before.column_names, *names]
            assert all(after.schema.field(name).type == pa.string() for name in names)
            found += zip(*(after.column(name).to_pylist() for name in names), strict=True)
    return found


def computed(sql: str, *texts: str) -> list[str | None]:
    """Return what an expression makes of the texts of the column `d`."""
    rows = table([("", text) for text in texts])
    return [value for (value,) in values(plan({"sql": sql}), rows)]


# ---- values


@pytest.mark.parametrize(
    ("sql", "text", "value"),
    [
        ("upper(d)", "Asha", "ASHA"),
        ("D || '!'", "Asha", "Asha!"),
        ("CAST(d AS INTEGER) + 1", "41", "42"),
        ("919812345678::DOUBLE", "", "919812345678"),
        ("CASE WHEN d > '1' THEN 'later' ELSE '' END", "0", ""),
        ("strptime(d, '%d/%m/%y %H:%M')", "24/11/26 10:30", "2026-11-24T10:30:00"),
        ("json_extract_string(d, '$.a')", '{"a": "Asha"}', "Asha"),
        ("[d, 'y']", "x", "x;y"),
        ("list_transform([1, 2], lambda x: x + 1)", "", "2;3"),
        ("regexp_extract(d, '[0-9]+')", "ACC 12", "12"),
        ("d -- the name", "Asha", "Asha"),
        ("d --", "Asha", "Asha"),
        ("d -- )", "Asha", "Asha"),
        ("/* ) */ d", "Asha", "Asha"),
        ("')'", "", ")"),
        ("(d)", "Asha", "Asha"),
        ("true", "", "true"),
        ("''", "x", ""),
    ],
)
def test_what_an_expression_gives(sql: str, text: str, value: str) -> None:
    """Text, as values of any kind become it."""
    assert computed(sql, text) == [value]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("INTERVAL 3 DAY", "3 days"),
        ("'1010'::BIT", "1010"),
        ("TIMETZ '10:00:00+05:30'", "10:00:00+05:30"),
        ("MAP {'a': 1}", "{a=1}"),
    ],
)
def test_values_that_arrow_has_in_another_form(sql: str, value: str) -> None:
    """They are as DuckDB writes them, as in a query over files."""
    assert computed(sql, "") == [value]


def test_a_moment_is_that_of_no_machine() -> None:
    """Where the program runs says nothing about the time."""
    sql = "CAST(d AS TIMESTAMPTZ)"
    assert (
        computed(sql, "2026-11-24 10:00:00", "2026-11-24 04:30:00Z")
        == ["2026-11-24T10:00:00+05:30"] * 2
    )


@FEW
@given(st.text(), st.text(), st.booleans())
def test_a_constant_is_itself(text: str, name: str, is_alone: bool) -> None:
    """Law: quotes, backslashes, comments, NUL: it is no SQL; nor is anything in the rows."""
    others = [] if is_alone else [{"sql": "d || tel1"}]
    (row,) = values(plan({"value": text}, *others), table([("1", name)]))
    assert row == (text, name + "1")[: len(row)]


@FEW
@given(
    st.lists(st.none() | st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=12),
    st.integers(1, 5),
)
def test_rows_have_their_own_values_however_they_come(
    rows: list[tuple[str, str] | None], size: int
) -> None:
    """Law: in tables of any size, each row has what is computed from it, in order."""
    starts = [*range(0, len(rows), size), len(rows)]
    tables = [table(rows[a:b], a + 1) for a, b in pairwise(starts)]
    found = values(plan({"sql": "d || '-' || tel1"}, {"sql": "tel1"}), *tables)
    readable = [(pair, row) for pair, row in zip(found, rows, strict=True) if row is not None]
    assert [pair for pair, _ in readable] == [(f"{d}-{t}", t) for _, (t, d) in readable]


# ---- rows without a value


@pytest.mark.parametrize(
    "sql",
    [
        "CAST(d AS INTEGER)",
        "strptime(d, '%Y')",
        "CASE WHEN d = '7' THEN 'seven' END",
        "json_extract_string(d, '$') || NULL || d",
        "CAST(d AS DATE)",
        "regexp_matches(d, '(' || d)",
        "chr(CAST(d AS INTEGER) - 100)",
        "CAST('9' || repeat(d, 30) AS BIGINT)",
        "NULL",
    ],
)
def test_a_row_that_fails_has_no_value(sql: str) -> None:
    """Neither an error nor a null costs more than its row."""
    found = computed(sql, "7", "Asha", "7", "Asha")
    assert found[1] is None
    assert found[:2] == found[2:]


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ", "DATE"])
@pytest.mark.parametrize("text", ["infinity", "-infinity", "290000-01-01", "0044-03-15 (BC)"])
def test_days_beyond_the_calendar_are_no_value(kind: str, text: str) -> None:
    """Whatever DuckDB can count, a call can't have it."""
    found = computed(f"CAST(d AS {kind})", "2026-11-24", text, "2026-11-25")
    assert found[1] is None
    assert None not in (found[0], found[2])


# ---- names


@pytest.mark.parametrize(
    "name", ["first name", 'a"b', "a'b", "$x", "naïve", "select", "a--b", "row"]
)
def test_any_name_can_be_used(name: str) -> None:
    """As SQL writes names: in double quotes, and those in it twice."""
    quoted = '"' + name.replace('"', '""') + '"'
    columns = plan({"sql": f"upper({quoted})"}, header=("tel1", name))
    assert values(columns, table([("1", "Asha")])) == [("ASHA",)]


def test_a_column_without_a_name_can_be_used() -> None:
    """By its place."""
    columns = plan({"sql": '"(column 2)"'}, header=("tel1", ""))
    assert values(columns, table([("1", "Asha")])) == [("Asha",)]


@pytest.mark.parametrize("sql", ["a", "A", '"a"', '"A"'])
def test_a_name_that_is_another_but_for_capitals_is_refused(sql: str) -> None:
    """DuckDB knows no such difference, and would take the first one."""
    with pytest.raises(ListError):
        values(plan({"sql": sql}, header=("tel1", "a", "A")), table([("1", "x", "X")], width=3))


def test_names_of_other_columns_may_differ_in_capitals_only() -> None:
    """Where no expression has them."""
    columns = plan({"sql": "tel1"}, {"value": "x"}, header=("tel1", "a", "A"))
    assert values(columns, table([("1", "x", "X")], width=3)) == [("1", "x")]


# ---- what is no expression over a row


@pytest.fixture(scope="module")
def engine() -> Iterator[Expressions]:
    """Open one database for all: to open it takes longer than to check."""
    with Expressions(plan({"sql": "d"})) as expressions:
        yield expressions


def test_an_expression_is_checked_when_the_list_is_opened() -> None:
    """Each of them, before any row is read."""
    with pytest.raises(ListError, match=r"the sql of keys\.K1 can't be used"):
        Expressions(plan({"sql": "d"}, {"sql": "nosuch(d)"}))


@pytest.mark.parametrize(
    "sql",
    [
        "read_text('/etc/hostname')",
        "(SELECT content FROM read_text('/etc/hostname'))",
        "(SELECT 1)",
        "(SELECT max(d) FROM list)",
        "(FROM list)",
        "EXISTS (SELECT 1)",
        "d IN (SELECT d FROM list)",
        "ARRAY(SELECT 1)",
        "max(d)",
        "count(*)",
        "string_agg(d, ',')",
        "row_number() OVER ()",
        "lag(d) OVER (ORDER BY d)",
        "unnest([1, 2])",
        "unnest([1])",
        "random()",
        "uuid()",
        "nextval('s')",
        "error(d)",
        "d; DROP TABLE list",
        "d;",
        "; d",
        "d; SELECT (d",
        "DROP TABLE list",
        "SELECT d",
        "COPY list TO '/tmp/x'",
        "getenv('HOME')",
        "*",
        "d AS e",
        "DISTINCT d",
        "d FROM list",
        "d)",
        "(d",
        "1), (2",
        "d /*",
        "-- d",
        "'",
        '"d',
        "$1",
        "?",
        "nobody",
        "c0",
        "list",
        "nosuch(d)",
        "d + INTERVAL",
        "",
        "COLUMNS(*)",
        "COLUMNS('tel1|d')",
        "1)), ((2",
        "'x')), ((CAST(d AS INTEGER)",
        "1)), unnest(([1, 2]",
        "1)) UNION ALL SELECT ((2",
    ],
)
def test_what_is_no_expression_is_refused_in_one_sentence(engine: Expressions, sql: str) -> None:
    """With the name of what it was for."""
    with pytest.raises(ListError) as refused:
        engine._check("(the sql of keys.Name)", sql)
    said = str(refused.value)
    assert said.startswith("the sql of keys.Name ")
    assert len(said.splitlines()) == 1


def test_what_duckdb_says_of_a_row_is_not_passed_on() -> None:
    """Its messages may quote it."""
    columns = plan({"sql": "d"})
    with Expressions(columns) as expressions:
        expressions._query = "SELECT CAST(c1 AS INTEGER) AS c2 FROM list"
        with pytest.raises(ListError, match="could not be computed: ConversionExc") as caught:
            list(expressions.add(iter([table([("1", "Asha")])])))
    assert "Asha" not in str(caught.value)
    assert caught.value.__suppress_context__, "nor in a traceback"


def test_more_values_than_rows_are_never_taken() -> None:
    """Whatever an expression would do in spite of all."""
    with Expressions(plan({"sql": "d"})) as expressions:
        expressions._query = "SELECT unnest([c1, c1]) AS c2 FROM list"
        with pytest.raises(ListError, match="not one value for each row"):
            list(expressions.add(iter([table([("1", "Asha")])])))


def test_a_list_without_expressions_is_passed_on() -> None:
    """No database is opened, and the tables are the same objects."""
    rows = table([("1", "Asha")])

    def tables() -> Iterator[pa.Table]:
        yield rows

    with Expressions(Columns(HEADER, (0,))) as expressions:
        (found,) = expressions.add(tables())
    assert found is rows
    assert found.column(ROW).to_pylist() == [1]
    assert found.column(FAULT).null_count == 1
