"""What a text is refused for, and that its pieces are whole rows."""

import csv
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import csv_scan
from phonon_bulk.source.formats.csv_scan import (
    Dialect,
    Header,
    LoneReturnError,
    Piece,
    Scanned,
    read_header,
    scan,
    well_quoted,
)
from phonon_bulk.source.formats.encoding import NotUtf8Error
from phonon_bulk.source.formats.stored import LocalFile, Spool

Make = Callable[[bytes], LocalFile]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a file."""

    def write(content: bytes) -> LocalFile:
        path = tmp_path / "list.csv"
        path.write_bytes(content)
        return LocalFile(path)

    return write


def scanned(file: LocalFile, quote: str = '"') -> Scanned:
    """Look a file over."""
    return scan(file, read_header(file, None, quote), lambda _data: None)


@pytest.mark.parametrize(
    ("content", "names", "delimiter"),
    [
        (b"tel1,a\n", ("tel1", "a"), ","),
        (b"tel1;a;b,c\n1,2,3;4\n", ("tel1", "a", "b,c"), ";"),
        (b"tel1\ta\r\n", ("tel1", "a"), "\t"),
        (b"tel1|a", ("tel1", "a"), "|"),
        (b'tel1;"a,b,c"\n', ("tel1", "a,b,c"), ";"),
        (b"tel1\n1,2\n", ("tel1",), ","),
        (b"\xef\xbb\xbftel1,\xc3\xa9\n", ("tel1", "é"), ","),
        (b'"tel1";"a\nb";c\n1;2;3\n', ("tel1", "a\nb", "c"), ";"),
        (b'5",a\nb",c\n', ('5"', "a"), ","),
    ],
)
def test_header_and_delimiter(
    make: Make, content: bytes, names: tuple[str, ...], delimiter: str
) -> None:
    """The delimiter is what the header has most of, outside quotes."""
    header = read_header(make(content))
    assert (header.names, header.dialect.delimiter) == (names, delimiter)


def test_a_given_delimiter_is_kept(make: Make) -> None:
    """Even where the header has more of another one."""
    assert read_header(make(b"a,b,c:d\n"), ":").names == ("a,b,c", "d")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "a", "5", "\0", "é"])
def test_a_delimiter_that_is_none_is_refused(make: Make, delimiter: str) -> None:
    """Quotes, line ends, letters, digits, and more than one character."""
    with pytest.raises(ListError, match="can't be the delimiter"):
        read_header(make(b"tel1,a\n"), delimiter)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", 0),
        (b"1\n", 1),
        (b"1", 1),
        (b"1\n\n\n2\n\n", 2),
        (b"\r\n1\r\n\r\n2", 2),
        (b"\n\n", 0),
        (b" \n", 1),
        (b'"1\n2"\n3\n', 2),
        (b'"1\r\n\n2",x\r\n\r\n3\r\n', 2),
        (b'""\n', 1),
        (b'5" x\n6" "y"\n', 2),
        ("१\n२\n".encode(), 2),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_rows_are_counted_as_they_are_numbered(
    make: Make, content: bytes, rows: int, size: int
) -> None:
    """Blank lines are no rows; line ends in quotes end none; the pieces are the whole file."""
    with patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size):
        file = scanned(make(b"tel1,b\r\n" + content))
    assert file.rows == rows
    assert file.begin == 8
    assert sum(piece.size for piece in file.pieces) == len(content)


def test_pieces_are_small_where_rows_are(make: Make) -> None:
    """Each has about `PIECE_ROWS` rows at most, or else about `PIECE_BYTES`."""
    with patch.multiple(csv_scan, FIRST_BLOCK=10, PIECE_BYTES=100, PIECE_ROWS=20):
        narrow = scanned(make(b"a\n" + b"1\n" * 60)).pieces
        wide = scanned(make(b"a\n" + b"1234567\n" * 60)).pieces
    assert narrow == (Piece(10, 5), Piece(40, 20), Piece(40, 20), Piece(30, 15))
    assert [piece.size for piece in wide] == [16, 104, 104, 104, 104, 48]


def test_the_fingerprint_is_of_the_length_and_every_byte(make: Make) -> None:
    """Which is what makes the same list known again."""
    content = b"\xef\xbb\xbftel1,a\r\n1,2\r\n\r\n3,4"
    file, digest = make(content), hashlib.sha256()
    scan(file, read_header(file), digest.update)
    expected = hashlib.sha256(len(content).to_bytes(8, "big") + content)
    assert digest.digest() == expected.digest()


UTF8 = r"is not UTF-8 text \(line {}\): save it as 'CSV UTF-8', or set source.encoding"
QUOTES = "line {}: the quotes of a field don't close properly"
RETURN = "line {}: a carriage return stands without a line feed"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "list.csv is empty"),
        (b"\ntel1\n1\n", "the first line is blank"),
        (b"\xef\xbb\xbf\r\n", "the first line is blank"),
        (b"\xef\xbb\xbf", "the first line is blank"),
        (b"tel1,a\n1,\xe9\n", UTF8.format(2)),
        (b"tel1,\xe9\n1,2\n", UTF8.format(1)),
        (b"tel1,a\n\n1,x\n2,\xed\xa0\x80\n", UTF8.format(4)),
        (b'tel1,a\n1,"x\n\ny"\n2,\xc3\n', UTF8.format(5)),
        (b'tel1,a\n1,"x"y\n2,z\n', QUOTES.format(2)),
        (b'tel1,a\n1,x\n2,"x" \n3,z\n', QUOTES.format(3)),
        (b'tel1,a\n1,x\n2,"y\n3,z\n', QUOTES.format(3)),
        (b'tel1,a\n1,x\n\n2,"y""', QUOTES.format(4)),
        (b'tel1,"a\n1,x\n', QUOTES.format(1)),
        (b"tel1,a\r1,2\r3,4\r", RETURN.format(1)),
        (b"tel1,a\n1,2\n3,4\r5,6\r\n", RETURN.format(3)),
        (b'tel1,a\n"1",2\n3,4\r5,6\n7,8\n', RETURN.format(3)),
        (b"tel1,a\n1,2\r\r\n", RETURN.format(2)),
        (b'tel1,a\n"1",2\r\r\n', RETURN.format(2)),
        (b'tel1,a\n"1",2\r', RETURN.format(2)),
        (b'tel1,a\n"1",2\n3\r4,5\n', RETURN.format(3)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_damage_is_refused_by_line(make: Make, content: bytes, sentence: str, size: int) -> None:
    """Wherever the pieces end, the first damaged line is named, and what to do."""
    with (
        patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size),
        pytest.raises(ListError, match=sentence),
    ):
        scanned(make(content))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,2\n" + b"x" * 100 + b"\n", "line 3: a row of more than"),
        (b"a,b\n1,2\n" + b"x" * 100, "line 3: a row of more than"),
        (b'a,b\n1,"' + b"x\n" * 50 + b'"\n', "line 2: a row of more than"),
        (b"a,b\n1,2\r" + b"3,4\r" * 30, "line 2: a carriage return stands without"),
    ],
)
def test_a_row_without_end_is_refused(make: Make, content: bytes, sentence: str) -> None:
    """A file without line ends, or a quote that never closes, is not read into memory whole."""
    header = Header(("a", "b"), size=4, lines=1, dialect=Dialect(","))
    with (
        patch.multiple(csv_scan, FIRST_BLOCK=50, PIECE_BYTES=60, LONGEST_ROW=60),
        pytest.raises(ListError, match=sentence),
    ):
        scan(make(content), header, lambda _data: None)


def test_a_header_without_end_is_refused(make: Make) -> None:
    """What was read of it is not taken for the whole."""
    with (
        patch.multiple(csv_scan, LONGEST_ROW=60),
        pytest.raises(ListError, match="line 1: a row of more than"),
    ):
        read_header(make(b"a,b," * 50))


def test_a_field_without_end_is_refused(make: Make) -> None:
    """A quote that is opened and never closed is found long before the end of the file."""
    content = b'tel1,a\n1,"' + b"9,xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * 20_000
    with pytest.raises(ListError, match="line 2: a field of more than 131,072 characters"):
        scanned(make(content))


def test_a_file_that_may_not_be_read_is_refused(make: Make) -> None:
    """The operating system's word for it is passed on."""
    file = make(b"tel1\n1\n")
    with (
        patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(ListError, match=r"list\.csv can't be read: Permission denied"),
    ):
        read_header(file)


def test_a_file_that_grows_meanwhile_is_refused(make: Make) -> None:
    """A list that is still being written is not a list."""
    file = make(b"tel1\n1\n")
    header = read_header(file)

    def grow(_data: bytes) -> None:
        with file.path.open("ab") as more:
            more.write(b"2\n")

    with pytest.raises(ListError, match="was changed while it was being read"):
        scan(file, header, grow)


def test_a_file_that_is_replaced_meanwhile_is_refused(make: Make) -> None:
    """Even by one of the same length."""
    file = make(b"tel1\n1\n")
    header = read_header(file)

    def replace(_data: bytes) -> None:
        other = file.path.with_name("other.csv")
        other.write_bytes(b"tel1\n2\n")
        other.replace(file.path)

    with pytest.raises(ListError, match="was changed while it was being read"):
        scan(file, header, replace)


def test_what_is_wrong_with_the_text_can_be_told_apart(make: Make) -> None:
    """Another encoding and lone carriage returns can be seen to, so each is an error of its own."""
    with pytest.raises(NotUtf8Error) as caught:
        scanned(make(b'tel1,a\n"1\n",\xe9\n'))
    assert caught.value.line == 3
    for content in (b"tel1,a\r1,2\r", b"tel1\n1\r2\n", b'tel1\n"1"\r2\n', b"tel1\n1\r"):
        with pytest.raises(LoneReturnError):
            scanned(make(content))


@pytest.mark.parametrize("quote", ["''", "a", "\n", ",", ";", "é", "\0"])
def test_a_quote_that_is_none_is_refused(make: Make, quote: str) -> None:
    """More than one character, letters, line ends, delimiters."""
    with pytest.raises(ListError, match="can't be the quote"):
        read_header(make(b"tel1,a\n"), None, quote)


def test_other_quotes_and_none(make: Make) -> None:
    """What is in the quotes that were named is in quotes; without any, quotes mean nothing."""
    content = b"tel1,'a;;;'\n1,'x\n,y'\n2,\"z\n"
    assert read_header(make(content), None, "'").names == ("tel1", "a;;;")
    assert scanned(make(content), "'").rows == 2
    assert scanned(make(content), "").rows == 3
    assert read_header(make(b'"tel1;;",a\n'), None, "").names == ('"tel1', "", '",a')


# --- quotes, the quick way ------------------------------------------------------------------------

TEXTS = st.lists(
    st.sampled_from(["a", ",", '"', '""', "\n", "\r\n", "\r", "\n\n", "é"]), max_size=24
)


def by_csv(text: str) -> Piece | None:
    """Return the whole rows as csv has them, or None if there is anything wrong."""
    lines = io.StringIO(text, newline="\n").readlines()
    reader = csv.reader(lines, strict=True)
    rows = used = 0
    try:
        for record in reader:
            rows += bool(record)
            used = reader.line_num
    except csv.Error as error:
        if "end of data" not in str(error):
            return None
    return Piece(sum(len(line.encode()) for line in lines[:used]), rows)


@given(TEXTS.map("".join))
@example('a,"b"\r\n\r\n"c\n""",\n"')
@example('"a\r"\n\r\n""')
@example('"a"\r')
def test_rows_found_by_quotes_are_those_of_csv(text: str) -> None:
    """The quick way either has the same rows in the same bytes, or leaves it to csv."""
    found = well_quoted(text.encode(), Dialect(","))
    assert found is None or found == by_csv(text)


@given(st.lists(st.lists(st.text(st.sampled_from('a,"\n\r'), max_size=4), min_size=1), max_size=6))
def test_what_csv_writes_goes_the_quick_way(rows: list[list[str]]) -> None:
    """Otherwise it would be right, and slow."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    assert well_quoted(text.getvalue().encode(), Dialect(",")) == by_csv(text.getvalue())


@pytest.mark.parametrize("text", ['5" x\n', 'a\n"b"c\n', '"a"\r"b"\n', f'"{"a" * 200_000}"\n'])
def test_what_the_quick_way_leaves_to_csv(text: str) -> None:
    """Quotes within fields, lone carriage returns, and rows that may hold too long a field."""
    assert well_quoted(text.encode(), Dialect(",")) is None


@given(TEXTS.map("".join), st.integers(1, 30))
def test_a_text_is_scanned_as_csv_reads_it(text: str, size: int) -> None:
    """Cut anywhere, it has the rows of csv, or is refused where csv refuses it."""
    file = Spool("list.csv")
    file.write(f"tel1\n{text}".encode())
    expected = by_csv(text)
    try:
        with patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size):
            found = scan(file, read_header(file), lambda _data: None)
    except LoneReturnError:
        assert "\r" in text.replace("\r\n", "")
    except ListError:
        assert expected is None or expected.size < len(text.encode())
    else:
        assert expected == Piece(len(text.encode()), found.rows)
