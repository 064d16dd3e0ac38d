"""Small awkward files, each read as Python's csv reads it, or refused with a sentence.

`awkward/README.md` says where the kinds come from.
"""

from pathlib import Path

import pytest
from awkward import Bench, Checked, Rows, bench, name, number, rows_by_csv

__all__ = ["bench"]

FOLDER = Path(__file__).parent / "awkward"

ACCEPTED: dict[str, tuple[str, str]] = {
    "all-quoted.csv": (",", "utf-8"),
    "apostrophe-quotes.csv": (",", "utf-8"),
    "backslash-in-quotes.csv": (",", "utf-8"),
    "blank-lines.csv": (",", "utf-8"),
    "bom-in-the-middle.csv": (",", "utf-8-sig"),
    "bom-quoted-header.csv": (",", "utf-8-sig"),
    "bom.csv": (",", "utf-8-sig"),
    "carriage-return-in-quotes.csv": (",", "utf-8"),
    "comma-in-quotes.csv": (",", "utf-8"),
    "comment-lines-within.csv": (",", "utf-8"),
    "crlf.csv": (",", "utf-8"),
    "ctrl-z-at-the-end.csv": (",", "utf-8"),
    "ctrl-z-in-a-field.csv": (",", "utf-8"),
    "delimiters-for-blank-lines.csv": (",", "utf-8"),
    "footnotes.csv": (",", "utf-8"),
    "header-in-other-delimiter.csv": (";", "utf-8"),
    "header-name-missing.csv": (",", "utf-8"),
    "header-name-very-long.csv": (",", "utf-8"),
    "header-names-odd.csv": (",", "utf-8"),
    "header-repeated.csv": (",", "utf-8"),
    "header-with-spaces.csv": (",", "utf-8"),
    "json-in-a-field.csv": (",", "utf-8"),
    "latin-1.csv": (",", "cp1252"),
    "mixed-line-ends.csv": (",", "utf-8"),
    "newlines-crlf-in-quotes.csv": (",", "utf-8"),
    "no-final-newline.csv": (",", "utf-8"),
    "nul-in-an-unused-field.csv": (",", "utf-8"),
    "nul-in-fields.csv": (",", "utf-8"),
    "one-column-blank-and-empty.csv": (",", "utf-8"),
    "one-column.csv": (",", "utf-8"),
    "other-line-breaks-in-fields.csv": (",", "utf-8"),
    "pipes.csv": ("|", "utf-8"),
    "quoted-empty-fields.csv": (",", "utf-8"),
    "quotes-and-newlines.csv": (",", "utf-8"),
    "quotes-doubled.csv": (",", "utf-8"),
    "quotes-in-the-middle.csv": (",", "utf-8"),
    "row-in-other-delimiter.csv": (",", "utf-8"),
    "semicolons-comma-in-header.csv": (";", "utf-8"),
    "semicolons-decimal-comma.csv": (";", "utf-8"),
    "simple.csv": (",", "utf-8"),
    "spaces-around-quotes.csv": (",", "utf-8"),
    "spaces-for-blank-lines.csv": (",", "utf-8"),
    "tabs.tsv": ("\t", "utf-8"),
    "too-few-and-too-many-crlf.csv": (",", "utf-8"),
    "too-few-and-too-many.csv": (",", "utf-8"),
    "trailing-delimiter-in-header.csv": (",", "utf-8"),
    "trailing-delimiter-in-rows.csv": (",", "utf-8"),
    "trailing-delimiter.csv": (",", "utf-8"),
    "two-tables.csv": (",", "utf-8"),
    "typographic-quotes.csv": (",", "utf-8"),
    "utf-16-be-bom.csv": (",", "utf-16"),
    "utf-16-be.csv": (",", "utf-16-be"),
    "utf-16-le-bom.csv": (",", "utf-16"),
    "utf-16-le.csv": (",", "utf-16-le"),
    "utf-8.csv": (",", "utf-8"),
    "windows-1252.csv": (",", "cp1252"),
}
"""Files that are read, with their delimiter and encoding, in which nothing has to be told."""

REFUSED: dict[str, tuple[str, ...]] = {
    "backslash-escaped-quote.csv": ("line 2", "quotes of a field don't close", '""'),
    "blank-lines-first.csv": ("first line is blank", "name the columns"),
    "blank-lines-only.csv": ("first line is blank",),
    "carets.csv": ("no column", "mobile"),
    "comment-lines-first.csv": ("no column", "# exported on Monday"),
    "cr-cr-lf.csv": ("line 2", "carriage return", "Windows or Unix line ends"),
    "delimiters-only.csv": ("no column", "(column 1)"),
    "empty.csv": ("is empty",),
    "header-name-twice.csv": ("more than one column", '"note"', "rename"),
    "header-only-no-newline.csv": ("no rows after the header",),
    "header-only.csv": ("no rows after the header",),
    "latin-1-in-one-line.csv": ("not UTF-8 text (line 3)", "parts of it are"),
    "lone-surrogate.csv": ("not UTF-8 text (line 3)",),
    "one-cr-among-lf.csv": ("line 3", "carriage return"),
    "preamble.csv": ("no column", "Campaign report"),
    "space-after-quotes.csv": ("line 2", "quotes of a field don't close"),
    "spaces.csv": ("no column", "mobile"),
    "text-after-quotes.csv": ("line 2", "quotes of a field don't close"),
    "text.txt": ("no column", "Dear all"),
    "unclosed-quote-closed-later.csv": ("quotes of a field don't close",),
    "unclosed-quote-in-header.csv": ("line 1", "quotes of a field don't close"),
    "unclosed-quote-in-the-middle.csv": ("line 3", "quotes of a field don't close"),
    "unclosed-quote-last-line.csv": ("line 3", "quotes of a field don't close"),
    "utf-16-cut-off.csv": ("ends in the middle of a character",),
    "utf-16-lone-surrogate.csv": ("damaged UTF-16", "line 3"),
}
"""Files that are refused, with words of the sentence."""

ELSEWHERE = {
    "bom-only.csv",
    "bom-twice.csv",
    "cr-only.csv",
    "gbk.csv",
    "header-in-capitals.csv",
    "header-of-several-lines.csv",
    "html.xls",
    "lf-cr.csv",
    "missing-values.csv",
    "nul-in-header.csv",
    "overlong-utf-8.csv",
    "picture.csv",
    "sep-caret.csv",
    "sep-comma-crlf.csv",
    "sep-only.csv",
    "sep-pipe-utf-16.csv",
    "sep-quoted.csv",
    "sep-semicolon.csv",
    "sep-tab-bom.csv",
    "shift-jis-not-windows.csv",
    "shift-jis.csv",
    "utf-32-be.csv",
    "utf-32-le.csv",
    "xml-2003.xls",
}
"""Files that have a test of their own."""


def checked(bench: Bench, file: str, **more: str) -> Checked:
    """Have one of the files checked."""
    return bench.check((FOLDER / file).read_bytes(), file=file, **more)


def refused(bench: Bench, file: str, *words: str) -> str:
    """Have one of the files checked that is refused; return the sentence."""
    return bench.refused(*words, content=(FOLDER / file).read_bytes(), file=file)


def rows_in(file: str, delimiter: str = ",", encoding: str = "utf-8") -> Rows:
    """Return what Python's csv reads in one of the files."""
    return rows_by_csv(
        (FOLDER / file).read_bytes().decode(encoding).removeprefix("\ufeff"), delimiter
    )


def test_every_file_has_a_test() -> None:
    """No file lies there for nothing."""
    there = {path.name for path in FOLDER.iterdir()} - {"README.md", ".gitattributes"}
    assert there == {*ACCEPTED, *REFUSED, *ELSEWHERE}
    assert len(there) == len(ACCEPTED) + len(REFUSED) + len(ELSEWHERE)


@pytest.mark.parametrize("file", ACCEPTED)
def test_it_is_read_as_python_reads_it(bench: Bench, file: str) -> None:
    """Every row is there, unshifted; one that does not fit the header is rejected by itself."""
    checked(bench, file).agrees_with(rows_in(file, *ACCEPTED[file]))


@pytest.mark.parametrize("file", REFUSED)
def test_it_is_refused_with_a_sentence(bench: Bench, file: str) -> None:
    """Nothing is sent, and the operator knows the place and what to do."""
    refused(bench, file, *REFUSED[file])


# --- one by one -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["latin-1.csv", "windows-1252.csv", "shift-jis.csv"])
def test_a_guess_is_said(bench: Bench, file: str) -> None:
    """That a text was taken for Windows-1252 is seen by whoever looks."""
    assert "Windows-1252" in checked(bench, file).remarks


def test_lines_that_end_in_carriage_returns(bench: Bench) -> None:
    """Old Mac line ends are line ends; those within quotes stay."""
    read = checked(bench, "cr-only.csv")
    assert read.exit == 0
    assert [read.numbers(row) for row in (1, 2, 3)] == [[number(1)], [number(2)], [number(3)]]
    assert [read.values(row)[1] for row in (1, 2, 3)] == ["x", "12, Main Road", "a\rb"]


def test_line_feeds_before_carriage_returns(bench: Bench) -> None:
    """The wrong way round: a sentence, for nobody can tell where a row ends."""
    refused(bench, "lf-cr.csv", "carriage return")


def test_a_header_in_capitals(bench: Bench) -> None:
    """Capitals make no difference to the mapping."""
    assert checked(bench, "header-in-capitals.csv").values(1) == [name(1), "x"]


def test_a_header_of_several_lines(bench: Bench) -> None:
    """A column's name may have a line break in it; the mapping must have it too."""
    read = checked(
        bench,
        "header-of-several-lines.csv",
        rest='[mapping]\ncontact_numbers = "mobile"\nkeys = { Note = "note\\n(free text)" }\n',
    )
    assert (read.exit, read.values(1)) == (0, ["x"])


def test_words_for_no_number(bench: Bench) -> None:
    """What programs write where there is nothing is an empty field, each row by itself."""
    read = checked(bench, "missing-values.csv")
    assert (read.rows, read.calls) == (11, {})
    assert set(read.reasons.values()) == {"no usable number: mobile is empty"}


def test_a_byte_order_mark_alone(bench: Bench) -> None:
    """Nothing but a mark: nothing that names the columns."""
    refused(bench, "bom-only.csv", "bom-only.csv")


def test_bytes_that_are_no_utf_8_any_more(bench: Bench) -> None:
    """Two bytes for a slash, which UTF-8 forbids, are characters of Windows, and it is said."""
    assert "Windows-1252" in checked(bench, "overlong-utf-8.csv").remarks


@pytest.mark.parametrize("file", ["gbk.csv", "shift-jis-not-windows.csv"])
def test_east_asian_text(bench: Bench, file: str) -> None:
    """What can't be Windows text is refused."""
    refused(bench, file, "not UTF-8", "line 2")


def test_excel_2003_xml(bench: Bench) -> None:
    """XML that is called .xls is refused."""
    refused(bench, "xml-2003.xls")


# --- what a spreadsheet's first line says of the delimiter ----------------------------------------


@pytest.mark.parametrize(
    ("file", "delimiter", "encoding"),
    [
        ("sep-semicolon.csv", ";", "utf-8"),
        ("sep-comma-crlf.csv", ",", "utf-8"),
        ("sep-tab-bom.csv", "\t", "utf-8-sig"),
        ("sep-caret.csv", "^", "utf-8"),
        ("sep-quoted.csv", ";", "utf-8"),
        ("sep-pipe-utf-16.csv", "|", "utf-16"),
    ],
)
def test_sep_in_the_first_line(bench: Bench, file: str, delimiter: str, encoding: str) -> None:
    """`sep=;` tells Excel the delimiter, and is no header: the next line is."""
    read = checked(bench, file)
    assert read.exit == 0, read.err
    _sep, *rows = rows_in(file, delimiter, encoding)
    read.agrees_with(rows)


def test_sep_and_nothing_else(bench: Bench) -> None:
    """`sep=;` alone is a list without a header."""
    refused(bench, "sep-only.csv")


# --- faults ---------------------------------------------------------------------------------------


def test_a_doubled_byte_order_mark(bench: Bench) -> None:
    """A second mark, as when a program adds one to a file that has one, is no part of a name."""
    read = checked(bench, "bom-twice.csv")
    assert read.exit == 0, read.err
    assert read.values(1) == [name(1), "x"]


@pytest.mark.parametrize("file", ["utf-32-le.csv", "utf-32-be.csv"])
def test_utf_32(bench: Bench, file: str) -> None:
    """Not read, and said so."""
    sentence = refused(bench, file, "UTF-8")
    assert "\0" not in sentence


def test_a_nul_in_the_header(bench: Bench) -> None:
    """A NUL can't go into a variable's name, as it can't go into its value."""
    assert "NUL" in refused(bench, "nul-in-header.csv")


def test_a_web_page_called_xls(bench: Bench) -> None:
    """Many portals export HTML under that name: it is said what it is."""
    refused(bench, "html.xls", "HTML")


def test_a_picture(bench: Bench) -> None:
    """A file of another kind altogether is refused as what it is."""
    assert "mend that line" not in refused(bench, "picture.csv")
