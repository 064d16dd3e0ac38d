"""What is packed is unpacked, or there is a sentence."""

import gzip
import io
import zipfile
from unittest.mock import patch

import pytest
import zstandard

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Spool, Stored
from phonon_bulk.source.formats.unpack import decompressed, extracted, files_in, only_list

TEXT = b"tel1,a\n" + b"919812345678,x\n" * 500


def stored(content: bytes) -> Spool:
    """Return a file."""
    file = Spool("list.packed")
    file.write(content)
    return file


def content_of(file: Stored) -> bytes:
    """Return all bytes of a file."""
    with file.open() as stream:
        return stream.read()


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(TEXT),
}


@pytest.mark.parametrize("codec", PACKED)
def test_compressed_texts(codec: str) -> None:
    """One after the other, as log rotation or parallel compressors leave them, are one."""
    packed = PACKED[codec]
    assert content_of(decompressed(stored(packed), codec)) == TEXT
    assert content_of(decompressed(stored(packed * 2), codec)) == TEXT * 2


@pytest.mark.parametrize("codec", PACKED)
def test_damaged_compressed_texts(codec: str) -> None:
    """Cut off anywhere, or with anything changed, they are refused."""
    packed = PACKED[codec]
    for end in (5, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ListError, match=rf"list\.packed was cut off: .* with {codec}"):
            decompressed(stored(packed[:end]), codec)
    middle = len(packed) // 2
    for broken in (packed + b"xxxx", packed[:middle] + bytes(4) + packed[middle + 4 :]):
        with pytest.raises(ListError, match=r"list\.packed (is damaged|was cut off)"):
            decompressed(stored(broken), codec)


def test_trouble_with_the_disk_is_not_taken_for_damage() -> None:
    """The error goes on as it is: the list may be whole."""
    file = stored(PACKED["gzip"])
    with (
        patch("phonon_bulk.source.formats.stored.os.preadv", side_effect=OSError(5, "I/O error")),
        pytest.raises(OSError, match="I/O error"),
    ):
        decompressed(file, "gzip")


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_zip(how: int) -> None:
    """Whatever it was packed with, and whatever Finder put beside it."""
    file = stored(
        zipped(
            {"a/": b"", "a/list.csv": TEXT, "__MACOSX/a/._list.csv": b"x", ".DS_Store": b"x"}, how
        )
    )
    files = files_in(file)
    assert only_list("list.zip", files) == "a/list.csv"
    assert content_of(extracted(file, "a/list.csv")) == TEXT


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), r"list\.zip is a ZIP archive with no files: it must have one"),
        ((".hidden", "__MACOSX/a.csv"), "with no files"),
        (("a.csv", "b.csv"), "with 2 files"),
    ],
)
def test_which_file_of_an_archive_is_the_list(files: tuple[str, ...], sentence: str) -> None:
    """There must be one; nothing is guessed."""
    with pytest.raises(ListError, match=sentence):
        only_list("list.zip", files)


def test_damaged_zip() -> None:
    """Cut off, or with other bytes in it than it was made of."""
    packed = zipped({"list.csv": TEXT})
    with pytest.raises(ListError, match=r"list\.packed is damaged or was cut off"):
        files_in(stored(packed[:-30]))
    broken = packed[:45] + bytes(4) + packed[49:]
    with pytest.raises(ListError, match=r"list\.packed is damaged or was cut off"):
        extracted(stored(broken), "list.csv")


def test_zip_with_a_password() -> None:
    """It can't be asked for."""
    packed = bytearray(zipped({"list.csv": TEXT}))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ListError, match="is a ZIP archive with a password: unpack it first"):
        extracted(stored(bytes(packed)), "list.csv")


def test_zip_of_a_kind_that_is_not_known() -> None:
    """Such as that of another compressor."""
    packed = bytearray(zipped({"list.csv": TEXT}))
    packed[8] = packed[packed.index(b"PK\x01\x02") + 10] = 98
    with pytest.raises(ListError, match="of a kind that can't be read: unpack it first"):
        extracted(stored(bytes(packed)), "list.csv")
