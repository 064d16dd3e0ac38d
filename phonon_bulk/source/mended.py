"""A file of rejected rows that comes back mended.

An export puts an apostrophe before what a spreadsheet would take for a formula (`spreadsheet`);
here it is taken away again.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.source.formats.csv_rows import CsvPart
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, Part
from phonon_bulk.spreadsheet import as_it_was


def has_marks(part: Part) -> bool:
    """Say whether apostrophes stand for something: in CSV, and in what a spreadsheet has saved."""
    return isinstance(part, CsvPart) or part.name.lower().endswith(".xlsx")


def as_they_were(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables with their texts as they were before the export."""
    for table in tables:
        for place, name in enumerate(table.column_names):
            column = table.column(name)
            if name == BROKEN and column.null_count < len(column):
                rows = [row and [as_it_was(text) for text in row] for row in column.to_pylist()]
                table = table.set_column(place, name, pa.array(rows, column.type))  # noqa: PLW2901
            if name in {ROW, BROKEN, FAULT}:
                continue
            if pc.any(pc.starts_with(column, "'")).as_py():
                texts = [text and as_it_was(text) for text in column.to_pylist()]
                table = table.set_column(place, name, pa.array(texts, pa.string()))  # noqa: PLW2901 - it changes
        yield table
