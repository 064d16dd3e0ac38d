"""How a batch is frozen for the journal, and thawed.

A body is kept as it will be sent, compressed with zstd at level 1, whose frames carry a checksum of
their own, so a damaged one is noticed when it is read.
"""

import sys
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import zstandard

from phonon_bulk.batch import Batch
from phonon_bulk.errors import DamagedBodyError

_LEVEL = 1
_of_thread = threading.local()
"""Holds each thread's compressor and decompressor: to set one up takes a third as long as to
compress a body, and ten times as long as to decompress a single call."""
_LARGEST = 8_000_000
"""Bytes; answers of up to 4 MB are kept, and a damaged frame may name any size."""


@dataclass(frozen=True, slots=True, repr=False)
class FrozenBatch:
    """A batch as the journal keeps it."""

    first_row: int
    calls: int
    size: int
    """Length of the calls as they are sent, commas between them included."""
    start_date: str
    sha256: bytes
    body: bytes
    rows: bytes | None

    def __repr__(self) -> str:
        """Show nothing of the calls."""
        return f"FrozenBatch(first_row={self.first_row}, calls={self.calls})"


def freeze(batch: Batch) -> FrozenBatch:
    """Compress and hash a batch. About 0.3 ms for 160 KB; both let other threads run."""
    return FrozenBatch(
        first_row=batch.rows[0],
        calls=batch.calls,
        size=len(batch.data),
        start_date=batch.start_date.isoformat(),
        sha256=sha256(batch.data).digest(),
        body=compress(batch.data),
        rows=_pack_rows(batch.rows),
    )


def compress(data: bytes) -> bytes:
    """Return `data` as one zstd frame with a checksum."""
    compressor: zstandard.ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        _of_thread.compressor = compressor
    return compressor.compress(data)


def thaw(frame: bytes) -> bytes:
    """Return what `compress` was given.

    Raises DamagedBodyError if the frame is damaged.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if size <= _LARGEST:
            return _decompressor().decompress(frame)
        why = f"it says that it is of {size} bytes"
    except zstandard.ZstdError as error:
        why = str(error)
    raise DamagedBodyError(f"it can't be read from the journal any more ({why})")


def _decompressor() -> zstandard.ZstdDecompressor:
    decompressor: zstandard.ZstdDecompressor | None = getattr(_of_thread, "decompressor", None)
    if decompressor is None:
        decompressor = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return decompressor


def _pack_rows(rows: Sequence[int]) -> bytes | None:
    if rows[-1] - rows[0] + 1 == len(rows):
        return None
    return compress(_swapped(array("q", rows)).tobytes())


def thaw_rows(first_row: int, calls: int, frame: bytes | None) -> Sequence[int]:
    """Return the row numbers of a batch's calls, in order."""
    if frame is None:
        return range(first_row, first_row + calls)
    return _swapped(array("q", thaw(frame)))


def _swapped(rows: "array[int]") -> "array[int]":
    """Return numbers with the lowest byte first, as they are kept, or back again."""
    if sys.byteorder == "big":
        rows.byteswap()
    return rows
