"""Numbers that are not to be called: read from lists or queries, and looked up many at once."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
"""Numbers as digits with country code; at most 15 digits, so 64 bits hold them."""


_LEAST_BITS, _MOST_BITS = 10, 25
_ROOM = 16


class Suppressed:
    """A set of numbers: 8 bytes each, and up to 32 MB more.

    Almost all that are asked for are not in it. That is mostly told by their last bits: a table
    says which last bits there are at all.
    """

    def __init__(self, numbers: Iterable[Numbers]) -> None:
        """Take all numbers there are."""
        self._sorted = np.concatenate([np.zeros(0, np.int64), *numbers])
        self._sorted.sort()
        bits = (len(self._sorted) * _ROOM).bit_length()
        size = 1 << min(max(bits, _LEAST_BITS), _MOST_BITS)
        self._mask = np.int64(size - 1)
        self._ends = np.zeros(size, np.bool_)
        self._ends[self._sorted & self._mask] = True

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, number: str) -> bool:
        """Say whether a number (digits with country code) is one of them."""
        wanted = int(number)
        place = self._sorted.searchsorted(wanted)
        return bool(place < len(self._sorted) and self._sorted[place] == wanted)

    def among(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Say of each number whether it is one of them."""
        found: npt.NDArray[np.bool_] = self._ends[numbers & self._mask]
        found[found] = among(self._sorted, numbers[found])
        return found


def among(known: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Say of each wanted value whether it is among the known ones, which are sorted.

    Wanted ones are looked up in their order, so that neighbours are found near each other.
    """
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    order = np.argsort(wanted, kind="stable")
    places = np.searchsorted(known, wanted[order])
    places[places == len(known)] = 0
    found = np.empty(len(wanted), np.bool_)
    found[order] = known[places] == wanted[order]
    return found
