"""Finds out which format a list is in, and opens it.

The name of a file says nothing: its first bytes do. What is packed is unpacked first.
"""

import codecs
import csv
import io
import re
from dataclasses import dataclass, replace

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import unpack
from phonon_bulk.source.formats.csv_rows import CsvPart, open_csv
from phonon_bulk.source.formats.csv_scan import DELIMITERS, LoneReturnError
from phonon_bulk.source.formats.encoding import NotUtf8Error, decoded, guessed, with_line_feeds
from phonon_bulk.source.formats.excel import open_excel
from phonon_bulk.source.formats.json_rows import open_json
from phonon_bulk.source.formats.parquet import open_parquet
from phonon_bulk.source.formats.stored import Stored
from phonon_bulk.source.formats.tables import Part, TablePart
from phonon_bulk.spreadsheet import is_ours

_HEAD = 4096
_MOST_LAYERS = 2
_GZIP, _ZSTD, _ZIP, _PARQUET, _TEXT = "gzip", "zstd", "zip", "parquet", "text"
_BEGINNINGS = {
    b"\x1f\x8b": _GZIP,
    b"\x28\xb5\x2f\xfd": _ZSTD,
    b"PK\x03\x04": _ZIP,
    b"PK\x05\x06": _ZIP,
    b"PAR1": _PARQUET,
}
_SQLITE = b"SQLite format 3\0"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_CSV_ENDINGS = (".csv", ".tsv", ".txt")
_MARKUP = re.compile(rb"<(!doctype|html|head|body|table|meta|\?xml)\b", re.IGNORECASE)
_PACKED_ENDINGS = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Options:
    """How a list is to be read, where it does not say so itself."""

    delimiter: str | None = None
    """Of CSV; None is what the header has most of."""
    encoding: str | None = None
    """Of text: "utf-8", "utf-16" or "windows-1252"; None finds it out."""
    quote: str = '"'
    """Of CSV; with "" quotes mean nothing."""
    sheet: str | None = None
    """Of a workbook; None is the first one that is not empty."""


def open_part(stored: Stored, options: Options) -> Part:
    """Look over a file of any format and return its rows.

    Raises ListError, saying where and what to do, if it can't be read as a list. It may have no
    rows.
    """
    try:
        return _open(stored, stored.name, options, 0)
    except OSError as error:
        raise ListError(f"{stored.name} can't be read on: {error.strerror}") from None
    except ListError:
        stored.check_unchanged()  # a file that is still being written looks damaged
        raise


def _open(stored: Stored, called: str, options: Options, layers: int) -> Part:
    """Open what is `called` by its own name, within so many layers of packing."""
    head = _head(stored)
    kind = next((kind for begin, kind in _BEGINNINGS.items() if head.startswith(begin)), _TEXT)
    if kind == _PARQUET:
        return open_parquet(stored)
    if kind == _TEXT:
        return _open_text(stored, head, called, options)
    files = unpack.files_in(stored) if kind == _ZIP else ()
    if _is_workbook(stored.name, files):
        return open_excel(stored, options.sheet)
    if layers == _MOST_LAYERS:
        raise ListError(f"{stored.name} is packed more than twice: unpack it first")
    if kind == _ZIP:
        called = unpack.only_list(stored.name, files)
        return _open(unpack.extracted(stored, called), called, options, layers + 1)
    return _open(unpack.decompressed(stored, kind), called, options, layers + 1)


def _head(stored: Stored) -> bytes:
    with stored.open() as file:
        head = file.read(_HEAD)
    if not head:
        raise ListError(f"{stored.name} is empty")
    if head.startswith(_SQLITE):
        raise ListError(
            f"{stored.name} is an SQLite database: name it as source.database"
            f' ("sqlite:///{stored.name}"), and which rows of it are the list as source.query'
        )
    if head.startswith(_OLD_EXCEL):
        raise ListError(
            f"{stored.name} is an old Excel workbook (.xls), or one with a password: save it as"
            " .xlsx without one"
        )
    return head


def _is_workbook(name: str, files: tuple[str, ...]) -> bool:
    if "content.xml" in files and "mimetype" in files:
        raise ListError(f"{name} is an OpenDocument file (.ods): save it as .xlsx")
    return any(file.startswith("xl/workbook") for file in files)


def _open_text(stored: Stored, head: bytes, called: str, options: Options) -> Part:
    options = _as_exported(head) or options
    text = decoded(stored, head, options.encoding)
    try:
        return _open_rows(text, called, options)
    except NotUtf8Error as error:
        if options.encoding is not None:
            raise
        text, remark = guessed(stored, error.line)
    part = _open_rows(text, called, options)
    return replace(part, remarks=(*part.remarks, remark))


def _open_rows(text: Stored, called: str, options: Options) -> CsvPart | TablePart:
    head = _head(text).removeprefix(codecs.BOM_UTF8).lstrip()
    if _MARKUP.match(head):
        raise ListError(
            f"{text.name} is HTML or XML, which some programs call .xls: open it in Excel, and save"
            " it as .xlsx or 'CSV UTF-8'"
        )
    begin = head[:1]
    if begin in {b"[", b"{"} and not _is_called_csv(called):
        return open_json(text)
    try:
        return open_csv(text, options.delimiter, options.quote)
    except LoneReturnError:
        mended = with_line_feeds(text, options.quote)
        if mended is None:
            raise
        return open_csv(mended, options.delimiter, options.quote)


def _as_exported(head: bytes) -> Options | None:
    """Return how a file of rejected rows is read, which is not how the campaign's list is.

    It is in UTF-8, with its mark, and with whatever delimiter a spreadsheet has given it since.
    """
    if not head.startswith(codecs.BOM_UTF8):
        return None
    text = head.removeprefix(codecs.BOM_UTF8).decode(errors="replace")
    for delimiter in DELIMITERS:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if is_ours(names):
            return Options(delimiter)
    return None


def _is_called_csv(called: str) -> bool:
    name = called.lower()
    for ending in _PACKED_ENDINGS:
        name = name.removesuffix(ending)
    return name.endswith(_CSV_ENDINGS)
