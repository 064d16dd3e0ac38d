"""Which keys came before: duplicates are found in the order of the list, as it is read.

Sorted runs, each at least twice as long as the next one, as log-structured merge trees have them:
a key costs 8 bytes (a number) or 16 (the hash of a client-identifier). Almost all keys are new, and
that is mostly told by their last bits, as in `suppression`.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from phonon_bulk.source.suppression import among

Keys = npt.NDArray[np.generic]
"""Of one kind in a list: 64-bit whole numbers, or texts of 16 bytes (`S16`)."""

_BITS = 24
_MASK = np.int64((1 << _BITS) - 1)


class Seen:
    """The keys of all rows so far; 16 MB, and what the keys cost."""

    def __init__(self, before: Iterable[Keys] = ()) -> None:
        """Begin with keys that count as seen."""
        self._runs: list[Keys] = []
        self._ends = np.zeros(1 << _BITS, np.bool_)
        for keys in before:
            self._add(np.sort(keys))

    def again(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Say of each key whether it was seen before, be it among these; all are seen then."""
        repeated = np.ones(len(keys), np.bool_)
        distinct, first = np.unique(keys, return_index=True)
        repeated[first] = False
        known: npt.NDArray[np.bool_] = self._ends[_last_bits(distinct)]
        perhaps = distinct[known]
        known[known] = self._among(perhaps)
        repeated[first[known]] = True
        self._add(distinct[~known])
        return repeated

    def _among(self, keys: Keys) -> npt.NDArray[np.bool_]:
        known = np.zeros(len(keys), np.bool_)
        for run in self._runs:
            known |= among(run, keys)
        return known

    def _add(self, keys: Keys) -> None:
        """Add sorted keys; a run that is not twice as long as those after it takes them in."""
        self._ends[_last_bits(keys)] = True
        while self._runs and len(self._runs[-1]) < 2 * len(keys):
            merged = np.concatenate([self._runs.pop(), keys])
            merged.sort(kind="stable")  # two sorted runs: one pass
            keys = merged
        if len(keys):
            self._runs.append(keys)


def _last_bits(keys: Keys) -> npt.NDArray[np.int64]:
    """Return the last bits of each key; of a hash, those of its first half."""
    is_number = keys.dtype == np.int64
    numbers: npt.NDArray[np.int64] = np.ascontiguousarray(keys).view(np.int64)
    return (numbers if is_number else numbers[::2]) & _MASK
