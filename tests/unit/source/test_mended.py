"""A file of rejected rows comes back: its texts are those that were in the list."""

from collections.abc import Sequence

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.source.formats.csv_rows import open_csv
from phonon_bulk.source.formats.stored import Spool
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, TableWriter, schema
from phonon_bulk.source.mended import as_they_were, has_marks
from phonon_bulk.spreadsheet import harmless

TEXTS = st.text(max_size=5) | st.text("'=+-@ \t1", max_size=5)
ROWS = st.lists(st.tuples(TEXTS, TEXTS) | st.lists(TEXTS, min_size=3, max_size=4), max_size=6)


def table(rows: list[tuple[str, str] | list[str]]) -> pa.Table:
    """Return rows with two columns; those with more could not be read."""
    whole = [row if isinstance(row, tuple) else (None, None) for row in rows]
    broken = [row if isinstance(row, list) else None for row in rows]
    faults = [None if row is None else "too many fields" for row in broken]
    columns: list[Sequence[object]] = [[row[0] for row in whole], [row[1] for row in whole]]
    columns += [range(7, 7 + len(rows)), broken, faults]
    return pa.table(dict(zip(schema(2).names, columns, strict=True)), schema(2))


@given(st.lists(ROWS, max_size=3))
def test_a_text_is_what_it_was_before_the_export(
    lists: list[list[tuple[str, str] | list[str]]],
) -> None:
    """Law: whatever stands in the rows, also in those that can't be read."""
    marked = [
        [type(row)(map(harmless, row)) for row in rows]  # type: ignore[misc]
        for rows in lists
    ]
    found = list(as_they_were(table(rows) for rows in marked))
    assert [one.to_pylist() for one in found] == [table(rows).to_pylist() for rows in lists]
    assert all(one.schema == schema(2) for one in found)


def test_our_own_columns_are_left_alone() -> None:
    """Reasons are ours."""
    rows = table([("'=1", "x")]).set_column(4, FAULT, pa.array(["'=1"]))
    (found,) = as_they_were(iter([rows]))
    assert found.select([ROW, BROKEN, FAULT]).equals(rows.select([ROW, BROKEN, FAULT]))
    assert found.column("c0").to_pylist() == ["=1"]


def test_where_apostrophes_stand_for_something() -> None:
    """In CSV, and in what a spreadsheet has saved; other files have the texts as they were."""
    csv = Spool("mend.txt")
    csv.write(b"tel1,row,reason\n1,2,bad\n")
    assert has_marks(open_csv(csv))
    assert has_marks(TableWriter("Mend.XLSX", ["a"]).finish())
    assert not has_marks(TableWriter("mend.parquet", ["a"]).finish())
