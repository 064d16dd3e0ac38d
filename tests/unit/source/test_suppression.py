"""Numbers that are not to be called, against plain sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.source.suppression import Suppressed, among

# Few different ones, so that they meet; and the ends of what a number can be.
NUMBERS = st.integers(10_000_000, 10_000_020) | st.sampled_from([919812345678, 999999999999999])


@given(st.lists(st.lists(NUMBERS, max_size=12), max_size=5), st.lists(NUMBERS, max_size=20))
def test_a_number_is_one_of_them_or_not(lists: list[list[int]], asked: list[int]) -> None:
    """Law: one by one and many at once, whatever the lists and their order."""
    suppressed = Suppressed(np.array(numbers, np.int64) for numbers in lists)
    known = {number for numbers in lists for number in numbers}
    expected = [number in known for number in asked]
    assert [suppressed.has(str(number)) for number in asked] == expected
    assert suppressed.among(np.array(asked, np.int64)).tolist() == expected
    assert len(suppressed) == sum(map(len, lists))


@given(st.sets(st.binary(max_size=16)), st.lists(st.binary(max_size=16), max_size=20))
def test_hashes_are_looked_up_alike(known: set[bytes], asked: list[bytes]) -> None:
    """Law: texts of 16 bytes as well; zeros at their end count for nothing."""
    found = among(np.sort(np.array(list(known), "S16")), np.array(asked, "S16"))
    bare = {text.rstrip(b"\0") for text in known}
    assert found.tolist() == [text.rstrip(b"\0") in bare for text in asked]


def test_nothing_is_suppressed_by_nothing() -> None:
    """No lists, or empty ones."""
    for lists in ([], [np.zeros(0, np.int64)]):
        suppressed = Suppressed(lists)
        assert not suppressed.has("919812345678")
        assert not suppressed.among(np.array([919812345678], np.int64)).any()
        assert len(suppressed) == 0
