"""Until when a batch may be sent: the end of its run, its start date, its age."""

import math
from collections.abc import Callable

from phonon_bulk.call import today_in_india
from phonon_bulk.dispatch.outcome import Manner, Pace
from phonon_bulk.journal import Claim, Moment


class Span:
    """The time in which the batches of one run may be sent."""

    def __init__(
        self, clock: Callable[[], Moment], not_after: float | None, pace: Pace, manner: Manner
    ) -> None:
        """Nothing of it is sent after `not_after`, seconds since the epoch."""
        self.clock = clock
        self.not_after = math.inf if not_after is None else not_after
        self._replay_within = pace.replay_within
        self._fresh_for = manner.fresh_for

    def wall(self) -> float:
        """Return the present moment in seconds since the epoch."""
        return self.clock().wall

    def left(self) -> float:
        """Return the seconds until nothing of this run may be sent any more."""
        return self.not_after - self.wall()

    def today(self) -> str:
        """Return the provider's date, YYYY-MM-DD."""
        return _date(self.clock())

    def is_past(self, claim: Claim) -> bool:
        """Say whether it is too late to send a batch, or to send it again."""
        now = self.clock()
        if claim.replay and claim.doubted is not None and not self._young(claim.doubted, now):
            return True
        if now.wall >= self.not_after or self._is_stale(claim.came_at, now):
            return True
        return claim.start_date < _date(now)

    def is_stale(self, came_at: float | None) -> bool:
        """Say whether a single call that came in then has waited for too long; a list's has not."""
        return self._is_stale(came_at, self.clock())

    def _is_stale(self, came_at: float | None, now: Moment) -> bool:
        return came_at is not None and now.wall - came_at > self._fresh_for

    def _young(self, doubted: Moment, now: Moment) -> bool:
        within = self._replay_within
        return now.wall - doubted.wall < within and now.steady - doubted.steady < within


def _date(now: Moment) -> str:
    return today_in_india(now.wall).isoformat()
