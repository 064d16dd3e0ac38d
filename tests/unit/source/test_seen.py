"""Which keys came before, against plain sets."""

from collections.abc import Callable, Sequence
from hashlib import md5
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.source.seen import Keys, Seen

KEYS = st.lists(st.lists(st.integers(0, 40), max_size=15), max_size=12)


def as_numbers(keys: Sequence[int]) -> Keys:
    """Return keys as numbers of contacts."""
    return np.array([919800000000 + key for key in keys], np.int64)


def as_hashes(keys: Sequence[int]) -> Keys:
    """Return keys as hashes of client-identifiers."""
    texts = [md5(b"%d" % key, usedforsecurity=False).digest() for key in keys]
    return np.array(texts, "S16")


Kind = Callable[[Sequence[int]], Keys]
KINDS = pytest.mark.parametrize("kind", [as_numbers, as_hashes])


def plainly(seen: set[int], keys: Sequence[int]) -> list[bool]:
    """Say of each key whether it was seen before, and see it."""
    found = []
    for key in keys:
        found.append(key in seen)
        seen.add(key)
    return found


@KINDS
@given(before=KEYS, chunks=KEYS)
def test_a_key_is_seen_again_or_not(
    kind: Kind, before: list[list[int]], chunks: list[list[int]]
) -> None:
    """Law: within a chunk, in chunks before it, and among those to begin with."""
    seen = Seen(kind(keys) for keys in before)
    known = {key for keys in before for key in keys}
    for keys in chunks:
        assert seen.again(kind(keys)).tolist() == plainly(known, keys)


@given(KEYS, st.integers(1, 20))
def test_chunks_of_any_size_find_the_same(chunks: list[list[int]], size: int) -> None:
    """Law: it is the order that counts, not how it is cut."""
    keys = [key for chunk in chunks for key in chunk]
    seen, others = Seen(), Seen()
    found = [seen.again(as_numbers(keys[at : at + size])) for at in range(0, len(keys), size)]
    whole = others.again(as_numbers(keys)).tolist()
    assert [is_again for chunk in found for is_again in chunk.tolist()] == whole


@given(KEYS)
def test_keys_are_kept_in_few_runs(chunks: list[list[int]]) -> None:
    """Law: each is sorted, no key is in two, and each is at least twice as long as the next."""
    seen = Seen()
    for keys in chunks:
        seen.again(as_numbers(keys))
    lengths = [len(run) for run in seen._runs]
    assert all(one >= 2 * other for one, other in pairwise(lengths))
    assert all((np.diff(run.astype(np.int64)) > 0).all() for run in seen._runs)
    assert sum(lengths) == len({key for keys in chunks for key in keys})
