"""Unpacks gzip, Zstandard and ZIP, as copies on disk."""

import lzma
import zipfile
import zlib
from typing import IO, Protocol

import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Spool, Stored

_BLOCK = 1 << 20
_ENCRYPTED = 1
"""A bit of the flags of a file in a ZIP archive."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def decompressed(stored: Stored, codec: str) -> Spool:
    """Return what is compressed, with "gzip" or "zstd".

    Raises ListError if it is damaged or was cut off.
    """
    copy = Spool(stored.name)
    try:
        with stored.open() as file, pa.PythonFile(file, mode="r") as source:
            _copy(pa.CompressedInputStream(source, codec), copy)
    except OSError as error:
        if error.errno:  # the disk's trouble, not the data's
            raise
        cut_off = "runcated" in str(error)
        raise ListError(
            f"{stored.name} {'was cut off' if cut_off else 'is damaged'}: it can't be unpacked with"
            f" {codec}; copy it again"
        ) from None
    stored.check_unchanged()
    return copy


def files_in(stored: Stored) -> tuple[str, ...]:
    """Return the names of the files in a ZIP archive. Raises ListError if it is damaged."""
    try:
        with stored.open() as file, zipfile.ZipFile(file) as archive:
            return tuple(info.filename for info in archive.infolist() if not info.is_dir())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError):  # a name is empty
        raise _damaged_zip(stored.name) from None


def only_list(name: str, files: tuple[str, ...]) -> str:
    """Return the one list among the files in an archive; hidden files and folders are none.

    Raises ListError if there is another number of them.
    """
    lists = [file for file in files if not _is_hidden(file)]
    if len(lists) != 1:
        raise ListError(
            f"{name} is a ZIP archive with {len(lists) or 'no'} files: it must have one, the list;"
            " unpack it, and name the files that are meant"
        )
    return lists[0]


def extracted(stored: Stored, file: str) -> Spool:
    """Return a file in a ZIP archive. Raises ListError if it is damaged or has a password."""
    copy = Spool(stored.name)
    try:
        with stored.open() as source, zipfile.ZipFile(source) as archive:
            if archive.getinfo(file).flag_bits & _ENCRYPTED:
                raise ListError(f"{stored.name} is a ZIP archive with a password: unpack it first")
            with archive.open(file) as member:
                _copy(member, copy)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError):
        raise _damaged_zip(stored.name) from None
    except OSError as error:
        if error.errno:  # the disk's trouble, not that of bzip2
            raise
        raise _damaged_zip(stored.name) from None
    except NotImplementedError:
        raise ListError(
            f"{stored.name} is a ZIP archive of a kind that can't be read: unpack it first"
        ) from None
    stored.check_unchanged()
    return copy


def _copy(source: _Readable | IO[bytes], copy: Spool) -> None:
    while block := source.read(_BLOCK):
        copy.write(block)


def _is_hidden(file: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in file.split("/"))


def _damaged_zip(name: str) -> ListError:
    return ListError(f"{name} is damaged or was cut off: it is no whole ZIP; copy it again")
