"""Counts requests in windows of time, exactly. Moments are in seconds, in order."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

MINUTE = 60.0


def most(moments: Sequence[float], seconds: float) -> int:
    """Return how many there are in the fullest window of so many seconds, wherever it begins.

    A window has its beginning in it and its end not, so two that are exactly `seconds` apart share
    none.
    """
    fullest = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        fullest = max(fullest, last - first + 1)
    return fullest


def by_minute(moments: Sequence[float], begin: float, minutes: int) -> list[int]:
    """Return how many there are in each of the minutes that follow `begin`, one after the other."""
    bounds = [bisect_left(moments, begin + number * MINUTE) for number in range(minutes + 1)]
    return [stop - start for start, stop in pairwise(bounds)]


def sliding(moments: Sequence[float], begin: float, end: float) -> list[int]:
    """Return how many there are in the 60 seconds before each second from `begin` to `end`."""
    return [
        bisect_left(moments, second) - bisect_left(moments, second - MINUTE)
        for second in (begin + number for number in range(int(end - begin) + 1))
    ]
