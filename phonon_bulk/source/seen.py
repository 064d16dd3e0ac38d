"""Which keys came before: duplicates are found in the order of the list, as it is read.

Sorted runs, each at least twice as long as the next one, as log-structured merge trees have them:
a key costs 8 bytes (a number) or 16 (the hash of a client-identifier), and looking up is quick for
many at once.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from phonon_bulk.source.suppression import among

Keys = npt.NDArray[np.generic]
"""Of one kind in a list: 64-bit whole numbers, or texts of 16 bytes (`S16`)."""


class Seen:
    """The keys of all rows so far."""

    def __init__(self, before: Iterable[Keys] = ()) -> None:
        """Begin with keys that count as seen."""
        self._runs: list[Keys] = []
        for keys in before:
            self._add(np.sort(keys))

    def again(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Say of each key whether it was seen before, be it among these; all are seen then."""
        repeated = np.ones(len(keys), np.bool_)
        distinct, first = np.unique(keys, return_index=True)
        repeated[first] = False
        known = np.zeros(len(distinct), np.bool_)
        for run in self._runs:
            known |= among(run, distinct)
        repeated[first[known]] = True
        self._add(distinct[~known])
        return repeated

    def _add(self, keys: Keys) -> None:
        """Add sorted keys; a run that is not twice as long as those after it takes them in."""
        while self._runs and len(self._runs[-1]) < 2 * len(keys):
            merged = np.concatenate([self._runs.pop(), keys])
            merged.sort(kind="stable")  # two sorted runs: one pass
            keys = merged
        if len(keys):
            self._runs.append(keys)
