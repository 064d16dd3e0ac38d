"""Excel workbooks written by hand, as small as they may be."""

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STYLES = ("General", "date", "moment", "length")

Cell = str | float | bool | datetime | None
Sheet = Sequence[Sequence[Cell]]


def workbook(sheets: dict[str, Sheet | str], hidden: Sequence[str] = ()) -> bytes:
    """Return a workbook; a sheet may be given as the XML of its rows."""
    states = {name: ' state="hidden"' if name in hidden else "" for name in sheets}
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" r:id="rId{i}"{states[name]}/>'
        for i, name in enumerate(sheets, start=1)
    )
    relations = "".join(
        f'<Relationship Id="rId{i}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    formats = "".join(f'<xf numFmtId="{i}" applyNumberFormat="1"/>' for i in (0, 14, 22, 46))
    files = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"/>',
        "_rels/.rels": (
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="w"'
            f' Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{PACKAGE}/relationships">{relations}'
            f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>'
        ),
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><cellXfs>{formats}</cellXfs></styleSheet>',
    }
    for i, sheet in enumerate(sheets.values(), start=1):
        rows = sheet if isinstance(sheet, str) else rows_xml(sheet)
        files[f"xl/worksheets/sheet{i}.xml"] = (
            f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, f'<?xml version="1.0"?>{text}')
    return content.getvalue()


def rows_xml(sheet: Sheet) -> str:
    """Return the rows of a sheet as XML."""
    rows = []
    for number, row in enumerate(sheet, start=1):
        cells = (cell_xml(f"{chr(65 + i)}{number}", cell) for i, cell in enumerate(row))
        rows.append(f'<row r="{number}">{"".join(cells)}</row>')
    return "".join(rows)


def cell_xml(place: str, cell: Cell) -> str:
    """Return a cell as XML; moments are the days since Excel's beginning."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return (
            f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
        )
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{cell:d}</v></c>'
    if isinstance(cell, datetime):
        days = (cell - datetime(1899, 12, 30)).total_seconds() / 86_400  # noqa: DTZ001 - as there
        return f'<c r="{place}" s="2"><v>{days!r}</v></c>'
    return f'<c r="{place}"><v>{cell!r}</v></c>'
