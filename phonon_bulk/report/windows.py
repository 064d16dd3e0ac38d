"""The worst 60 seconds of each endpoint, recomputed from the times at which requests were sent."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from phonon_bulk.journal import LimitChange
from phonon_bulk.journal.evidence import Post
from phonon_bulk.schedule import Limits
from phonon_bulk.throttle import WINDOW

KNOWN = 1.0
"""Seconds within which all processes know of a limit that was changed."""

SettingsLimits = Callable[[str], Limits]
"""The limits that are set now, by endpoint."""


@dataclass(frozen=True, slots=True)
class Window:
    """The worst 60 seconds of one endpoint in one unit."""

    account: str
    endpoint: str
    unit: str
    """"requests" or "calls"."""
    most: int
    begins: float
    """Seconds since the epoch."""
    limit: int | None
    """The highest that was in force within it; None is no limit."""

    @property
    def over(self) -> bool:
        """Whether it holds more than the limit."""
        return self.limit is not None and self.most > self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        begins = datetime.fromtimestamp(self.begins).astimezone()
        return {**asdict(self), "begins": begins.isoformat(), "over": self.over}


def worst_windows(
    posts: Iterable[Post], changes: Sequence[LimitChange], settings: SettingsLimits
) -> list[Window]:
    """Return the worst 60 seconds of each endpoint and unit; `posts` are in the order of time.

    The worst is the one that exceeds its limit most, and if none does, the fullest. The limit of a
    window is the highest that was in force within it, or up to a second before: so long it may take
    until all processes know of a change. Where the journal does not know which limits were in
    force, those of the settings stand for them.
    """
    found: dict[tuple[str, str], _Endpoint] = {}
    for post in posts:
        key = (post.account, post.endpoint)
        if key not in found:
            of_it = [change for change in changes if (change.account, change.endpoint) == key]
            found[key] = _Endpoint(post.account, post.endpoint, of_it, settings(post.endpoint))
        found[key].add(post)
    return [window for key in sorted(found) for window in found[key].windows()]


class _SinceChange:
    """What was sent in the 60 seconds that begin when a change of the limit was known to all."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.first: Post | None = None
        self.sums = {"requests": 0, "calls": 0}

    def add(self, post: Post) -> None:
        """Count one more request."""
        self.first = self.first or post
        self.sums["requests"] += 1
        self.sums["calls"] += post.calls


class _Endpoint:
    """One endpoint's posts, as a window of 60 seconds slides over them."""

    def __init__(
        self, account: str, endpoint: str, changes: Sequence[LimitChange], settings: Limits
    ) -> None:
        self._account, self._endpoint = account, endpoint
        self._moments = [change.steady for change in changes]
        self._limits = [settings if not changes else changes[0].limits]
        self._limits += [change.limits for change in changes]
        self._posts: deque[Post] = deque()
        self._sums = {"requests": 0, "calls": 0}
        # Windows that begin when a change is known to all: the posts before them are not theirs.
        self._later = [_SinceChange(moment + KNOWN) for moment in self._moments[1:]]
        self._least = {
            unit: min((n for n in self._all(unit) if n is not None), default=math.inf)
            for unit in self._sums
        }
        self._worst: dict[str, Window] = {}

    def _all(self, unit: str) -> list[int | None]:
        return [getattr(limits, unit) for limits in self._limits]

    def add(self, post: Post) -> None:
        """Count one more request, and what is in the 60 seconds that end with it."""
        self._posts.append(post)
        self._count(post, 1)
        while post.at - self._posts[0].at >= WINDOW:
            self._count(self._posts.popleft(), -1)
        for unit, most in self._sums.items():
            worst = self._worst.get(unit)
            if worst is None or most > worst.most or most > self._least[unit]:
                self._compare(unit, most, self._posts[0], post.at)
        self._later = [since for since in self._later if post.at < since.begin + WINDOW]
        for since in self._later:
            if post.at >= since.begin:
                since.add(post)
                for unit, most in since.sums.items():
                    self._compare(unit, most, since.first or post, post.at)

    def _count(self, post: Post, sign: int) -> None:
        self._sums["requests"] += sign
        self._sums["calls"] += sign * post.calls

    def _compare(self, unit: str, most: int, first: Post, until: float) -> None:
        limit = self._in_force(unit, first.at - KNOWN, until)
        window = Window(self._account, self._endpoint, unit, most, first.wall, limit)
        worst = self._worst.get(unit)
        if worst is None or _badness(window) > _badness(worst):
            self._worst[unit] = window

    def _in_force(self, unit: str, begin: float, end: float) -> int | None:
        """Return the highest limit of a unit that was in force between two moments."""
        before = bisect_right(self._moments, begin)
        after = bisect_right(self._moments, end)
        limits = self._all(unit)[before : after + 1]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    def windows(self) -> list[Window]:
        """Return the worst window of each unit."""
        return [self._worst[unit] for unit in self._sums]


def _badness(window: Window) -> tuple[int, int]:
    """Return by what two windows are compared: how far over the limit, then how full."""
    over = 0 if window.limit is None else max(0, window.most - window.limit)
    return over, window.most


def to_text(windows: Sequence[Window]) -> str:
    """Return the windows as an operator reads them, a line each."""
    if not windows:
        return "nothing was sent"
    lines = []
    for window in windows:
        begins = datetime.fromtimestamp(window.begins).astimezone()
        mark = "BROKEN" if window.over else "holds "
        limit = "(no limit)" if window.limit is None else f"of {window.limit:,}"
        used = "" if not window.limit else f" ({window.most / window.limit:.1%})"
        lines.append(
            f"{mark}  {window.endpoint} ({window.account}): at most {window.most:,} {window.unit} "
            f"{limit}{used} in 60 seconds, from {begins.isoformat(sep=' ', timespec='seconds')}"
        )
    return "\n".join(lines)
