"""Bytes that can be read as often as needed.

A list is read at least twice: looked over first, and then read. A file of the user's is read where
it is; what can be read once only, or must be unpacked first, is copied to a `Spool`. A spool has no
name in any folder, so that contact data is gone with the process, however that ends.
"""

import io
import os
import tempfile
import weakref
from pathlib import Path
from typing import BinaryIO, Protocol

from phonon_bulk.errors import ListError
from phonon_bulk.source.files import Mark, mark_of

_COPIED_AT_ONCE = 1 << 20


class Stored(Protocol):
    """Bytes that can be read as often as needed."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def open(self) -> BinaryIO:
        """Return a stream of its own, at the first byte. Raises ListError if that can't be had."""

    def check_unchanged(self) -> None:
        """Raise ListError if the bytes may no longer be those that were there at first."""


class LocalFile:
    """A file of the user's."""

    def __init__(self, path: Path) -> None:
        """Take its mark. Raises ListError if it can't be opened."""
        self.path = path
        with self.open() as file:
            self.mark: Mark = mark_of(os.fstat(file.fileno()))

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def open(self) -> BinaryIO:
        """Open it by its path."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise ListError(f"{self.path} can't be read: {error.strerror}") from None

    def check_unchanged(self) -> None:
        """Raise ListError if there is another file at the path, or one that was written to."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise ListError(f"{self.path} is gone: {error.strerror}") from None
        size, written, _, inode = self.mark
        if (status.st_size, status.st_mtime_ns, status.st_ino) != (size, written, inode):
            raise changed(self.name)


class Spool:
    """A copy on disk without a name, readable by this process only."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """Begin an empty copy of what messages call `name`; None is the system's folder for such.

        Raises ListError if there is no room for it.
        """
        self._name = name
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this
        except OSError as error:
            raise self._no_room(error) from None
        weakref.finalize(self, self._file.close)

    @property
    def name(self) -> str:
        """What was copied."""
        return self._name

    @property
    def size(self) -> int:
        """Bytes written so far."""
        self._file.flush()
        return os.fstat(self._file.fileno()).st_size

    def write(self, data: bytes) -> int:
        """Append bytes. Raises ListError if the disk is full."""
        try:
            return self._file.write(data)
        except OSError as error:
            raise self._no_room(error) from None

    def open(self) -> BinaryIO:
        """Return a stream of its own over what was written."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._no_room(error) from None
        return io.BufferedReader(_At(self, self._file.fileno()), _COPIED_AT_ONCE)

    def check_unchanged(self) -> None:
        """Nobody else can write to it."""

    def copy_to(self, path: Path) -> None:
        """Write the bytes to a new file that only its owner can read (0600).

        Raises ListError if that can't be done.
        """
        try:
            with self.open() as source, open(path, "xb", opener=_private) as target:
                while block := source.read(_COPIED_AT_ONCE):
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> ListError:
        return ListError(f"no copy of {self._name} could be made on disk: {error.strerror}")


class _At(io.RawIOBase):
    """Reads a file that is open elsewhere, from a place of its own."""

    def __init__(self, owner: Spool, descriptor: int) -> None:
        self._owner = owner  # as long as it is there, the descriptor is of its file
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}
        size = os.fstat(self._descriptor).st_size
        self._at = base.get(whence, size) + offset
        return self._at

    def tell(self) -> int:
        return self._at


def changed(name: str) -> ListError:
    """Return the error for a file that is not what it was."""
    return ListError(f"{name} was changed while it was being read: start again when it is complete")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
