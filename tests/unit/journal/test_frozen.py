"""Freezing and thawing batches."""

from hashlib import sha256

import pytest
from builders import DAY, make_data
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import Batch
from phonon_bulk.errors import DamagedBodyError
from phonon_bulk.journal.frozen import compress, freeze, thaw, thaw_rows


@given(st.binary(max_size=5000))
def test_thawed_is_what_was_frozen(data: bytes) -> None:
    """Law: compression gives back every byte."""
    assert thaw(compress(data)) == data


@given(st.sets(st.integers(1, 10**12), min_size=1, max_size=500).map(sorted))
def test_rows_are_kept(rows: list[int]) -> None:
    """Law: row numbers come back, whether they follow one another or not."""
    frozen = freeze(Batch(b"x", rows, DAY))
    assert list(thaw_rows(frozen.first_row, frozen.calls, frozen.rows)) == rows


def test_rows_without_a_gap_cost_nothing() -> None:
    """The usual case keeps no list of rows."""
    assert freeze(Batch(b"x", range(7, 12), DAY)).rows is None


def test_the_hash_is_of_the_bytes_as_sent() -> None:
    """The SHA-256 is that of the calls, uncompressed, and the size is theirs."""
    data = make_data(range(1, 4))
    frozen = freeze(Batch(data, range(1, 4), DAY))
    assert (frozen.sha256, frozen.size) == (sha256(data).digest(), len(data))


def test_damage_is_noticed() -> None:
    """One flipped bit in a frozen body is an error, not other bytes to a customer."""
    frame = bytearray(compress(make_data(range(1, 400))))
    frame[len(frame) // 2] ^= 1
    with pytest.raises(DamagedBodyError, match="can't be read"):
        thaw(bytes(frame))


def test_a_size_that_can_not_be() -> None:
    """A flipped bit in a frame's head, where its size stands, is damage and no lack of memory."""
    data = make_data(range(1, 400))
    frame, noticed = compress(data), 0
    for bit in range(8):
        for byte in range(4, 10):
            harmed = bytearray(frame)
            harmed[byte] ^= 1 << bit
            try:
                assert thaw(bytes(harmed)) == data  # a bit that means nothing
            except DamagedBodyError:
                noticed += 1
    assert noticed > 30


def test_nothing_of_the_calls_in_its_repr() -> None:
    """A frozen batch shows no contact data."""
    frozen = freeze(Batch(make_data([1]), [1], DAY))
    assert repr(frozen) == "FrozenBatch(first_row=1, calls=1)"
