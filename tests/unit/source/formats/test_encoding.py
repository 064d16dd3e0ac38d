"""Which encoding a text is in, and that it becomes UTF-8."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import encoding
from phonon_bulk.source.formats.encoding import (
    NotUtf8Error,
    byte_order,
    check_utf8,
    decoded,
    guessed,
    with_line_feeds,
)
from phonon_bulk.source.formats.stored import Spool, Stored


def stored(content: bytes) -> Spool:
    """Return a file."""
    file = Spool("list.csv")
    file.write(content)
    return file


def content_of(file: Stored | None) -> bytes:
    """Return all bytes of a file."""
    assert file
    with file.open() as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("tel1,é\n".encode("utf-16-le"), "utf-16-le"),
        ("tel1,é\n".encode("utf-16-be"), "utf-16-be"),
        ("नाम,tel1\n१".encode("utf-16-le"), "utf-16-le"),
        (b"\xff\xfe", "utf-16-le"),
        ("\ufeffनाम".encode("utf-16-be"), "utf-16-be"),
        (b"tel1,a\n", None),
        ("\ufeffनाम,é\n".encode(), None),
        (b"tel1,a\n1,\0\n\0", None),
        (b"tel1,long name\0,b\n", None),
        (b"\n\0", None),
        (b"a\0\0\0b\0\0\0\n", None),
        (b"", None),
    ],
)
def test_byte_order(head: bytes, order: str | None) -> None:
    """By the mark, or by the NULs in the first line; a NUL here and there is none."""
    assert byte_order(head) == order


def test_the_line_that_is_not_utf8_is_named() -> None:
    """Counted from where the block begins."""
    check_utf8("list.csv", "é".encode(), 5)
    with pytest.raises(NotUtf8Error, match=r"list\.csv is not UTF-8 text \(line 7\)") as caught:
        check_utf8("list.csv", b"a\n\n\xe9", 5)
    assert caught.value.line == 7


_TRICKY = (
    b"\xc0\x80",  # longer than need be
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",  # past the last character there is
    b"\xf5",
    b"\x80",
    b"\xe2\x82",
    "é€👍".encode(),
    b"a" * 40,
    b"\n",
)


@given(st.lists(st.sampled_from(_TRICKY) | st.binary(max_size=3), max_size=12).map(b"".join))
def test_utf8_is_what_python_takes_for_it(block: bytes) -> None:
    """Arrow, which is asked first, and Python agree on every block."""
    try:
        block.decode()
    except UnicodeDecodeError:
        with pytest.raises(NotUtf8Error):
            check_utf8("list.csv", block, 1)
    else:
        check_utf8("list.csv", block, 1)


@pytest.mark.parametrize("said", [None, "utf-8"])
def test_what_begins_as_utf8_is_left_alone(said: str | None) -> None:
    """It is not even read: the scan tells whether it goes on like that."""
    file = stored(b"tel1\n\xff")
    assert decoded(file, b"tel1\n", said) is file


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["le", "be"]), st.booleans()
)
def test_utf16_becomes_utf8(text: str, order: str, marked: bool) -> None:
    """Whatever stands where its blocks end."""
    text = "tel1\n" + text
    content = ("\ufeff" * marked + text).encode(f"utf-16-{order}")
    with patch.object(encoding, "_BLOCK", 3):
        assert content_of(decoded(stored(content), content[:9], None)).decode() == text


@pytest.mark.parametrize(
    ("content", "said", "sentence"),
    [
        ("tel1\n".encode("utf-16") + b"a", None, "ends in the middle of a character"),
        ("tel1\n".encode("utf-16-le") + b"\x3d\xd8", None, "ends in the middle of a character"),
        ("tel1\n1\n".encode("utf-16-le") + b"\x3d\xd8a\0", None, r"damaged UTF-16 text \(line 3\)"),
        ("tel1\n1\n".encode("utf-16-be") + b"\xdc\x3d\0a", None, r"damaged UTF-16 text \(line 3\)"),
        (b"tel1\n123", "utf-16", None),
        (b"tel1\n12", "utf-16", "ends in the middle of a character"),
        (b"tel1\n\n\x81", "windows-1252", r"list\.csv is not Windows-1252 text \(line 3\)"),
        (b"tel1", "latin-1", "can't be in 'latin-1': name one of utf-8, utf-16, windows-1252"),
    ],
)
@pytest.mark.parametrize("size", [3, 100])
def test_what_is_not_as_it_should_be(
    content: bytes, said: str | None, sentence: str | None, size: int
) -> None:
    """The line is named, wherever the blocks end."""
    with patch.object(encoding, "_BLOCK", size):
        if sentence is None:
            assert content_of(decoded(stored(content), content, said)).decode()
            return
        with pytest.raises(ListError, match=sentence):
            decoded(stored(content), content, said)


def test_what_is_said_to_be_windows_text_is_read_as_such() -> None:
    """Even if it could be UTF-8; but the mark of UTF-8 is no text."""
    assert (
        content_of(decoded(stored(b"tel1\n\xc3\xa9\x80"), b"", "windows-1252"))
        == "tel1\nÃ©€".encode()
    )
    assert content_of(decoded(stored(b"\xef\xbb\xbftel1\n"), b"", "windows-1252")) == b"tel1\n"


def test_windows_text_is_guessed() -> None:
    """With a remark, because it may be another encoding of one byte a character."""
    copy, remark = guessed(stored(b"tel1,a\n1,Zo\xeb \x80\n" * 3), 2)
    assert content_of(copy).decode() == "tel1,a\n1,Zoë €\n" * 3
    assert remark == (
        "list.csv is read as Windows-1252 text; if names look wrong, set source.encoding"
    )


@pytest.mark.parametrize(
    "content",
    [
        "é\n".encode() + b"\xe9\n",
        b"\xe9\n" + "अ\n".encode(),
        b"\xe9\n\xed\xa0\x80\n",
        b"\xe9\n\x81\n",
        b"\xe9\n\x9d\n",
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_damaged_utf8_is_not_guessed_at(content: bytes, size: int) -> None:
    """Where anything looks like UTF-8, the rest is damage."""
    with (
        patch.object(encoding, "_BLOCK", size),
        pytest.raises(ListError, match=r"not UTF-8 text \(line 9\), .* mend that line, or set"),
    ):
        guessed(stored(content), 9)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\rb\r\rc", b"a\nb\n\nc"),
        (b'a,"x\ry\n"\r"\r\n""\r"\r', b'a,"x\ry\n"\n"\r\n""\r"\n'),
        (b"a\rb\n", None),
        (b"a\r\nb\r", None),
        (b'"x\n"\n\r', None),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lone_carriage_returns_become_line_feeds(
    content: bytes, expected: bytes | None, size: int
) -> None:
    """If nothing else ends a line; what is in quotes stays."""
    with patch.object(encoding, "_BLOCK", size):
        copy = with_line_feeds(stored(content), '"')
        assert (content_of(copy) if copy else None) == expected


def test_without_quotes_all_of_them_do() -> None:
    """A quote means nothing then."""
    assert content_of(with_line_feeds(stored(b'a"\rb\r'), "")) == b'a"\nb\n'
