"""Excel workbooks as rows of text. The workbooks are written by hand, as small as they may be."""

import sys
from datetime import datetime
from typing import Any
from unittest.mock import patch

import pytest
from workbooks import Cell, Sheet, workbook

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import excel
from phonon_bulk.source.formats.excel import open_excel
from phonon_bulk.source.formats.stored import Spool
from phonon_bulk.source.formats.tables import BROKEN, FAULT, Part, column_name


def stored(content: bytes) -> Spool:
    """Return a file."""
    file = Spool("list.xlsx")
    file.write(content)
    return file


def rows_of(part: Part) -> list[Any]:
    """Return the values of each row, or what is broken of it and why."""
    rows: list[Any] = []
    for table in part.tables(0, 0):
        for row in table.to_pylist():
            values = [row[column_name(i)] for i in range(len(part.names))]
            rows.append((row[BROKEN], row[FAULT]) if row[FAULT] else values)
    return rows


def test_values() -> None:
    """As a person reads them: no exponents, dates as ISO 8601, a midnight as its date."""
    row: list[Cell] = [
        919812345678,
        9.19812345679e11,
        "+91 98",
        0.1,
        True,
        datetime(2026, 11, 24, 10, 7, 13),  # noqa: DTZ001 - Excel has no time zones
        datetime(2026, 11, 24),  # noqa: DTZ001
        " é & <x>\n",
    ]
    part = open_excel(stored(workbook({"S": [["a", "b", "c", "d", "e", "f", "g", 8.0], row]})))
    assert part.names == ("a", "b", "c", "d", "e", "f", "g", "8")
    assert rows_of(part) == [
        [
            "919812345678",
            "919812345679",
            "+91 98",
            "0.1",
            "true",
            "2026-11-24T10:07:13",
            "2026-11-24",
            " é & <x>\n",
        ]
    ]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_where_the_list_begins_and_ends(size: int) -> None:
    """The first row that is not empty is the header; empty rows and columns at the end are none."""
    sheet: Sheet = [
        [],
        [None, ""],
        ["tel1", None, "a", "", None],
        [],
        ["1", "x", "2"],
        ["3"],
        ["", None, ""],
        ["4", "", "", "", "5"],
        ["6", "", "7", ""],
    ]
    with patch.object(excel, "_ROWS_AT_ONCE", size):
        part = open_excel(stored(workbook({"S": sheet})))
    assert (part.names, part.rows, part.remarks) == (("tel1", "", "a"), 4, ())
    assert rows_of(part) == [
        ["1", "x", "2"],
        ["3", "", ""],
        (["4", "", "", "", "5"], "too many fields: 5 of 3"),
        ["6", "", "7"],
    ]


def test_errors_and_formulas() -> None:
    """A cell with an error is empty; one with a formula has its last result."""
    xml = (
        '<row r="1"><c r="A1" t="str"><f>x</f><v>tel1</v></c><c r="B1" t="str"><v>b</v></c></row>'
        '<row r="2"><c r="A2"><f>x</f><v>12</v></c><c r="B2" t="e"><v>#N/A</v></c></row>'
    )
    assert rows_of(open_excel(stored(workbook({"S": xml})))) == [["12", ""]]


def test_which_sheet() -> None:
    """The first that shows and is not empty, unless one is named."""
    sheets: dict[str, Sheet | str] = {"0": [["x"]], "A": [], "B": [["b"], ["1"]], "C": [["c"]]}
    content = workbook(sheets, hidden=["0"])
    part = open_excel(stored(content))
    assert part.names == ("b",)
    assert part.remarks == ('list.xlsx: the sheet "B" is read; its sheets are "0", "A", "B", "C"',)
    for name, names in (("0", ("x",)), ("C", ("c",))):
        part = open_excel(stored(content), name)
        assert (part.names, part.remarks) == (names, ())
    with pytest.raises(ListError, match='has no sheet "D"; its sheets are "0", "A", "B", "C"'):
        open_excel(stored(content), "D")
    with pytest.raises(ListError, match=r'list\.xlsx: the sheet "A" is empty'):
        open_excel(stored(content), "A")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (workbook({"A": []}), r"list\.xlsx has no visible sheet that anything is written in"),
        (workbook({"A": [["x"]]}, hidden=["A"]), "has no visible sheet"),
        (workbook({"A": [["", None]]}), 'the sheet "A" is empty'),
        (workbook({"A": '<row r="1"><c r="A1"><v>'}), "can't be read as an Excel workbook"),
        (workbook({"A": [["x"]]})[:-30], "can't be read as an Excel workbook"),
        (b"PK\x03\x04" + bytes(1000), "can't be read as an Excel workbook"),
    ],
)
def test_what_can_not_be_read(content: bytes, sentence: str) -> None:
    """Each has a sentence."""
    with pytest.raises(ListError, match=sentence):
        open_excel(stored(content))


def test_the_extra_may_not_be_installed() -> None:
    """It is said what to install."""
    with (
        patch.dict(sys.modules, {"python_calamine": None}),
        pytest.raises(ListError, match=r"to read it: pip install 'phonon-bulk\[excel\]'"),
    ):
        open_excel(stored(workbook({"A": [["x"]]})))
