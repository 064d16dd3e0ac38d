"""Text that is not UTF-8 with line feeds, copied as such.

Plain UTF-8 costs nothing here: who reads a text takes it for that, and asks for more only where a
`NotUtf8Error` says that it is something else.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Spool, Stored

UTF_8, UTF_16, WINDOWS_1252 = ENCODINGS = ("utf-8", "utf-16", "windows-1252")

_BLOCK: Final = 1 << 20
_BYTE_ORDERS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LIKE_UTF_8 = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
"""A character of several bytes. Halves of surrogate pairs are such too: no Windows text has one."""


class NotUtf8Error(ListError):
    """A text is not UTF-8; `line` is the first line that is not."""

    def __init__(self, name: str, line: int) -> None:
        super().__init__(
            f"{name} is not UTF-8 text (line {line}): save it as 'CSV UTF-8', or set"
            " source.encoding to what it is"
        )
        self.line = line


def check_utf8(name: str, block: bytes, line: int) -> None:
    """Raise NotUtf8Error if a block, which begins in this line, is not UTF-8."""
    if _is_utf8(block):
        return
    try:
        block.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8Error(name, line + block.count(b"\n", 0, error.start)) from None


def _is_utf8(block: bytes) -> bool:
    """Say whether bytes are UTF-8. Arrow makes no text of them, which takes 30 times as long."""
    ends = pa.py_buffer((0).to_bytes(8, sys.byteorder) + len(block).to_bytes(8, sys.byteorder))
    try:
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(block)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def text_blocks(stored: Stored, longest: int = _BLOCK) -> Iterator[bytes]:
    """Yield the bytes in blocks of about 1 MiB.

    They end where a line does, unless that is longer than `longest` bytes.
    """
    with stored.open() as file:
        while block := file.read(_BLOCK):
            yield block if block.endswith(b"\n") else block + file.readline(longest)


def decoded(stored: Stored, head: bytes, encoding: str | None) -> Stored:
    """Return the text as UTF-8, given its first bytes and what it is said to be.

    It is the same if it is UTF-8, or if nothing was said and it does not begin like UTF-16.
    Raises ListError, naming the line, if it is not what it was said to be.
    """
    if encoding not in {None, *ENCODINGS}:
        raise ListError(f"a list can't be in {encoding!r}: name one of {', '.join(ENCODINGS)}")
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ListError(f"{stored.name} is UTF-32 text: save it as 'CSV UTF-8'")
    order = byte_order(head)
    if encoding == UTF_16 or (encoding is None and order):
        return _from_utf_16(stored, order or "utf-16-le", marked=head[:2] in _BYTE_ORDERS)
    if encoding == WINDOWS_1252:
        return _from_windows_1252(stored)
    return stored


def byte_order(head: bytes) -> str | None:
    """Return which UTF-16 a text is in, given its first bytes; None is neither.

    There is a byte order mark, or the ASCII characters in the first line show it: one byte of each
    is NUL, always the first or always the second.
    """
    if head[:2] in _BYTE_ORDERS:
        return _BYTE_ORDERS[head[:2]]
    line = head.partition(b"\n")[0]
    first, second = line[::2].count(0), line[1::2].count(0)
    few, many = sorted((first, second))
    if not many or many * 8 < len(line) or few * 8 > many:
        return None
    return "utf-16-le" if second > first else "utf-16-be"


def guessed(stored: Stored, line: int) -> tuple[Stored, str]:
    """Return a text that is not UTF-8 in this line as what it is likely to be, and a remark.

    That is Windows-1252, if nothing in it looks like UTF-8. Raises ListError if something does, or
    if it can't be Windows-1252 either.
    """
    name = stored.name
    copy = Spool(name)
    for block in text_blocks(stored):
        if b"\0" in block:
            raise ListError(f"{name} is no text, and in no other format that can be read")
        if not block.isascii() and _LIKE_UTF_8.search(block):
            raise _damaged(name, line)
        try:
            copy.write(block.decode("cp1252").encode())
        except UnicodeDecodeError:
            raise _damaged(name, line) from None
    stored.check_unchanged()
    remark = f"{name} is read as Windows-1252 text; if names look wrong, set source.encoding"
    return copy, remark


def with_line_feeds(stored: Stored, quote: str) -> Stored | None:
    """Return a text whose lines end with lone carriage returns as one with line feeds instead.

    None if it has line feeds as well: then it does not say where its lines end. What is in quotes
    is left as it is.
    """
    copy, inside = Spool(stored.name), False
    for block in text_blocks(stored):
        parts = block.split(quote.encode()) if quote else [block]
        for i, part in enumerate(parts):
            inside ^= i > 0
            if not inside and b"\n" in part:
                return None
            parts[i] = part if inside else part.replace(b"\r", b"\n")
        copy.write(quote.encode().join(parts))
    stored.check_unchanged()
    return copy


def _from_utf_16(stored: Stored, order: str, *, marked: bool) -> Stored:
    copy, line = Spool(stored.name), 1
    decoder = codecs.getincrementaldecoder(order)()
    try:
        with stored.open() as file:
            file.seek(2 if marked else 0)
            while block := file.read(_BLOCK):
                text = decoder.decode(block)
                copy.write(text.encode())
                line += text.count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _no_utf_16(stored.name, line, error) from None
    stored.check_unchanged()
    return copy


def _from_windows_1252(stored: Stored) -> Stored:
    copy, line = Spool(stored.name), 1
    for block in text_blocks(stored):
        # The mark of UTF-8 is no text, whatever the rest is said to be.
        part = block.removeprefix(codecs.BOM_UTF8) if line == 1 else block
        try:
            copy.write(part.decode("cp1252").encode())
        except UnicodeDecodeError as error:
            line += part.count(b"\n", 0, error.start)
            raise ListError(
                f"{stored.name} is not Windows-1252 text (line {line}): leave source.encoding out,"
                " or save it as 'CSV UTF-8'"
            ) from None
        line += block.count(b"\n")
    stored.check_unchanged()
    return copy


def _no_utf_16(name: str, line: int, error: UnicodeDecodeError) -> ListError:
    if "truncated" in error.reason or "end of data" in error.reason:
        return ListError(
            f"{name} ends in the middle of a character: it was cut off, or is not UTF-16"
            " text; copy it again, or leave source.encoding out"
        )
    before: bytes = error.object[: error.start]
    line += before.decode(error.encoding, "replace").count("\n")
    return ListError(
        f"{name} is damaged UTF-16 text (line {line}): mend that line, or save it as 'CSV UTF-8'"
    )


def _damaged(name: str, line: int) -> ListError:
    return ListError(
        f"{name} is not UTF-8 text (line {line}), but parts of it are: mend that line, or set"
        ' source.encoding = "windows-1252" if all of it is Windows text'
    )
