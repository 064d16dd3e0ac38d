"""Reads Excel workbooks (.xlsx), with python-calamine, which is an extra."""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, time
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Stored
from phonon_bulk.source.formats.tables import TablePart, TableWriter
from phonon_bulk.source.formats.values import text_of

if TYPE_CHECKING:  # it may not be installed
    from python_calamine import CalamineSheet, CalamineWorkbook

_ROWS_AT_ONCE = 2_000
_MOST_CELLS = 100_000_000
_MOST_ROWS, _MOST_COLUMNS = 1 << 20, 1 << 14
_CELL = re.compile(rb'<c [^>]{0,80}?r="([A-Z]{1,20})([0-9]{1,20})"')
_MIDNIGHT = time()


def open_excel(stored: Stored, sheet: str | None = None) -> TablePart:
    """Copy the rows of a sheet; without its name, of the first one that shows and is not empty.

    The first row with anything in it is the header, and empty rows are none. The workbook is read
    into memory: about 1 GB for a million rows of seven columns. Raises ListError if there is no
    such sheet, if it is empty or damaged, or if python-calamine is not installed.
    """
    try:
        import python_calamine as calamine
    except ImportError:
        raise ListError(
            f"{stored.name} is an Excel workbook; to read it: pip install 'phonon-bulk[excel]'"
        ) from None
    _refuse_vast(stored)
    try:
        with stored.open() as file, calamine.load_workbook(file) as workbook:
            part = _copied(stored.name, *_sheet(stored.name, workbook, sheet))
    except calamine.CalamineError:  # its message may quote a cell
        raise ListError(
            f"{stored.name} can't be read as an Excel workbook: open it in Excel and save it anew"
        ) from None
    stored.check_unchanged()
    return part


def _refuse_vast(stored: Stored) -> None:
    """Raise ListError if a cell lies so far away that all before it don't fit into memory.

    Calamine wants memory for each cell up to the last one, and aborts if there is not enough.
    """
    unreadable = (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError)
    with contextlib.suppress(*unreadable), stored.open() as file, zipfile.ZipFile(file) as archive:
        for part in archive.namelist():
            if not part.startswith("xl/") or not part.endswith(".xml"):
                continue
            with archive.open(part) as sheet:
                far = _far_away(sheet)
            if far is not None:
                raise ListError(
                    f"{stored.name}: a cell far away from the others, {far}, makes a sheet too"
                    " large: delete the rows and columns after the list, and save it"
                )


def _far_away(sheet: IO[bytes]) -> str | None:
    """Return the cell at which a sheet has become too large."""
    rows = columns = 1
    before = b""
    while block := sheet.read(1 << 20):
        for cell in _CELL.finditer(before + block):
            column = 0
            for letter in cell[1]:
                column = column * 26 + letter - 64
            rows, columns = max(rows, int(cell[2])), max(columns, column)
            if rows * columns > _MOST_CELLS or rows > _MOST_ROWS or columns > _MOST_COLUMNS:
                return (cell[1] + cell[2]).decode()
        before = block[-100:]
    return None


def _sheet(
    name: str, workbook: "CalamineWorkbook", wanted: str | None
) -> tuple["CalamineSheet", tuple[str, ...]]:
    """Return the sheet that is meant, and remarks."""
    if wanted is not None:
        if wanted not in workbook.sheet_names:
            raise ListError(f'{name} has no sheet "{wanted}"; its sheets are {_listed(workbook)}')
        return workbook.get_sheet_by_name(wanted), ()
    filled = [sheet for sheet in _shown(workbook) if sheet.end is not None]
    if not filled:
        raise ListError(f"{name} has no visible sheet that anything is written in")
    first = filled[0]
    if len(filled) == 1:
        return first, ()
    remark = f'{name}: the sheet "{first.name}" is read; its sheets are {_listed(workbook)}'
    return first, (remark,)


def _shown(workbook: "CalamineWorkbook") -> Iterator["CalamineSheet"]:
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    for sheet in workbook.sheets_metadata:
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible:
            yield workbook.get_sheet_by_name(sheet.name)


def _listed(workbook: "CalamineWorkbook") -> str:
    return ", ".join(f'"{name}"' for name in workbook.sheet_names)


def _copied(name: str, sheet: "CalamineSheet", remarks: tuple[str, ...]) -> TablePart:
    rows = (cells for row in sheet.iter_rows() if (cells := _cells(row)))
    names = next(rows, None)
    if names is None:
        raise ListError(f'{name}: the sheet "{sheet.name}" is empty')
    writer = TableWriter(name, names)
    waiting: list[list[str]] = []
    for cells in rows:
        if len(cells) <= len(names):
            waiting.append(cells + [""] * (len(names) - len(cells)))
        if waiting and (len(cells) > len(names) or len(waiting) >= _ROWS_AT_ONCE):
            writer.add(_columns(waiting))
            waiting.clear()
        if len(cells) > len(names):
            writer.add_broken(cells, f"too many fields: {len(cells)} of {len(names)}")
    if waiting:
        writer.add(_columns(waiting))
    return replace(writer.finish(), remarks=remarks)


def _cells(row: Sequence[object]) -> list[str]:
    """Return the texts in a row up to the last one; a row without any is empty."""
    texts = [text_of(_plain(value)) for value in row]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _plain(value: object) -> object:
    """Return a midnight as its date: Excel has one type for both."""
    if isinstance(value, datetime) and value.time() == _MIDNIGHT:
        return value.date()
    return value


def _columns(rows: list[list[str]]) -> list[pa.Array]:
    return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
