"""How many workers a run has, where the settings leave it open. Pure: the time is passed in.

Little's law says how many requests are under way on the average: those that are answered in a
second, times the seconds each takes. 30,000 a minute at 20 ms are 10; at 500 ms they are 250. How
long the provider takes is not known, and changes. So a run begins with a few workers, and while it
is they that are short, it tries twice as many, and keeps them if they bring more. While less than
half are needed, half of them go: under a limit too many only wait for slots, but if the provider
hangs, all that are there hang with it, and their batches are in doubt.
"""

from dataclasses import dataclass
from typing import NamedTuple

from phonon_bulk.config import FIRST_WORKERS

_PERIOD = 1.0
"""Seconds that are looked at together, at the least; two requests of each worker, too."""

_ALL_POST = 3 / 4
"""If so many of the workers are under way on the average, it is they that are short ..."""

_FEW_WAIT = 1 / 8
"""... unless more than so many wait for slots: then it is the limit."""

_MORE = 1.25
"""Twice as many workers are to bring so many times the requests: where latency is what holds,
they bring twice as many, and where the processor or the provider holds, none."""

_FEW_POST = 3 / 8
"""If no more of them are under way, half are enough: of these it is less than `_ALL_POST`."""

_TRY_AGAIN = 60.0
"""Seconds until more are tried again, if they brought nothing."""


class Seen(NamedTuple):
    """What the requests of a run have come to by a moment."""

    at: float
    """Seconds, of the event loop's time."""
    answered: int = 0
    """Requests; those that got no answer are neither here nor in `posting`."""
    posting: float = 0.0
    """Seconds that they were under way, all together."""
    waiting: float = 0.0
    """Seconds that workers have waited for slots, all together."""


@dataclass(frozen=True, slots=True)
class _Fewer:
    """How it went with fewer workers, before these were tried."""

    workers: int
    rate: float
    """Answers a second."""


class Concurrency:
    """Finds how many workers a run needs, from what is seen of its requests."""

    def __init__(self, seen: Seen, workers: int = FIRST_WORKERS, most: int = FIRST_WORKERS) -> None:
        """Begin with `workers`, which are the least, of at most `most`."""
        self.workers = self._first = workers
        self._most = most
        self._since = seen
        self._fewer: _Fewer | None = None
        self._not_before = 0.0

    def look(self, seen: Seen) -> int:
        """Take note of what is seen; return how many workers there are to be."""
        seconds, answered = seen.at - self._since.at, seen.answered - self._since.answered
        if seconds < _PERIOD or answered < 2 * self.workers:
            return self.workers
        posting = (seen.posting - self._since.posting) / seconds
        waiting = (seen.waiting - self._since.waiting) / seconds
        rate, fewer = answered / seconds, self._fewer
        self._since, self._fewer = seen, None
        if posting < _FEW_POST * self.workers:
            self.workers = max(self.workers // 2, self._first)
            return self.workers
        if posting < _ALL_POST * self.workers or waiting > _FEW_WAIT * self.workers:
            return self.workers
        if fewer is not None and rate < _MORE * fewer.rate:
            self._not_before = seen.at + _TRY_AGAIN
            self.workers = fewer.workers
        elif seen.at >= self._not_before and self.workers < self._most:
            self._fewer = _Fewer(self.workers, rate)
            self.workers = min(2 * self.workers, self._most)
        return self.workers
