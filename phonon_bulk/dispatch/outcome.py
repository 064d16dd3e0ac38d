"""How sending is cut, how it goes, and how it ended."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from phonon_bulk.batch import State
from phonon_bulk.config import FIRST_WORKERS
from phonon_bulk.response import Verdict
from phonon_bulk.retry import Policy


class Ending(StrEnum):
    """Why the dispatcher stopped."""

    FINISHED = "finished"
    """Nothing is left that could be sent."""
    TOLD = "told"
    """By a signal, or because the run was paused or cancelled."""
    BLOCKED = "blocked"
    """The provider would refuse everything."""
    GIVEN_UP = "given_up"
    """There was no clear answer for too long."""
    LIST_BROKEN = "list_broken"
    """The list could not be read to its end (`runner.py`)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the dispatcher ended, and for the last two, why."""

    ending: Ending
    reason: str | None = None


@dataclass(slots=True)
class Tally:
    """What this process has done so far; for the progress bar, not for the books."""

    accepted: int = 0
    """Calls."""
    refused: int = 0
    """Calls."""
    in_doubt: int = 0
    """Calls."""
    expired: int = 0
    """Calls."""
    requests: int = 0
    resting: str | None = None
    """Why the endpoint was left alone last."""
    resting_until: float = 0.0
    """Until when, by the event loop's time."""


@dataclass(frozen=True, slots=True)
class Posted:
    """One request that was answered, or got none: for metrics and traces. No contact data."""

    run: int
    batch: int
    account: str
    endpoint: str
    calls: int
    sent_at: float
    """When its bytes left, seconds since the epoch."""
    seconds: float
    """From then to the end of the answer."""
    verdict: Verdict
    state: State
    """What the batch became of it."""
    accepted: int
    """Calls that were placed."""
    replay: bool
    http_status: int | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Manner:
    """In which manner a run is sent; what is left out is that of a list."""

    waits_for_list: bool = True
    """A run is not over while its list is being read."""
    stays: bool = False
    """It is never over: calls may come at any time."""
    gathers: bool = False
    """Batches that wait for a slot go out together, up to 500 calls in a request."""
    fresh_for: float = math.inf
    """Seconds from coming in, after which a single call is not sent any more."""


def unseen(_posted: Posted) -> None:
    """Let nobody see it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the work is cut: workers, and in seconds the lengths of leases, stops and replays."""

    workers: int = FIRST_WORKERS
    """So many requests may be under way at once; to begin with, if more are allowed."""
    most_workers: int = 0
    """And so many if they bring more (`concurrency.py`)."""
    lease: float = 60.0
    drain_timeout: float = 35.0
    replay_after: float = 10.0
    """A doubt is replayed so long after it arose, twice as long after the next time, and so on."""
    replay_within: float = 600.0
    """Only so long after its bytes first left is a doubt replayed."""
    policy: Policy = field(default_factory=Policy)
