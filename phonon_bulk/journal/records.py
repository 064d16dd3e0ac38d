"""What the journal takes and hands out: runs, claims, settlements, counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from phonon_bulk.batch import State
from phonon_bulk.journal.clock import Moment
from phonon_bulk.journal.frozen import FrozenBatch
from phonon_bulk.schedule import Ask, Limits


class Control(StrEnum):
    """What is to happen with a run."""

    GO = "go"
    PAUSED = "paused"
    """By a person."""
    STOPPED = "stopped"
    """By the program, because the provider would refuse everything."""
    CANCELLED = "cancelled"
    """By a person, for good."""


class Kind(StrEnum):
    """Where the rows of a run come from."""

    LIST = "list"
    INTAKE = "intake"
    """Single calls, as they come in over a day; there is no list."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run as it is opened, before any row of its list was read."""

    campaign: str
    account: str
    endpoint: str
    flow_id: str
    definition: str
    """The campaign as JSON, so that a resumed run needs no campaign file."""
    list: str
    """JSON: the paths of the list's files and the number of their bytes."""
    list_sha256: str
    identity: str
    """By which the same campaign with the same list is recognised; see `identity_of`."""
    not_after: float | None
    """Seconds since the epoch after which nothing of it is sent; None is no end."""
    kind: Kind = field(default=Kind.LIST, kw_only=True)


def identity_of(
    campaign: str, account: str, endpoint: str, list_sha256: str, day: str | None = None
) -> str:
    """Return what makes a run the same as another: who sends which list under which name.

    With a `day` (YYYY-MM-DD) it is another run on another day. Neither the flow nor the mapping is
    part of it: a flow id that was mended after a failure must not begin the list anew.
    """
    parts = [campaign, account, endpoint, list_sha256, *([day] if day else [])]
    return sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Opened:
    """The run of a campaign and list: begun just now, or found."""

    run: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Run(NewRun):
    """A run as the journal knows it."""

    id: int
    variant: int
    """The variant that its bodies begin with: 1 for the second run of the same list, and so on."""
    created_at: float
    read_at: float | None
    """When the last row of the list was in the journal; None while rows are to come."""
    whole: int
    """0 if the rest of the list was given up, so that rows are missing for good."""
    control: Control
    reason: str | None
    rows: int
    """Rows of the list accounted for so far; reading goes on after this one."""
    rejected: int
    suppressed: int
    duplicates: int
    calls: int
    cancelled_at: float | None = field(default=None, kw_only=True)
    pruned_at: float | None = field(default=None, kw_only=True)
    """When its contact data was deleted; counts and request-ids are still there."""
    remains: str | None = field(default=None, kw_only=True)
    """What of that is left in the file: `data` while it is being deleted, then `traces` until the
    file was written anew; None if nothing is, or if it was not pruned."""


@dataclass(frozen=True, slots=True, repr=False)
class Claim:
    """A batch that this process holds under a lease, with all that is needed to send it."""

    batch: int
    run: int
    first_row: int
    calls: int
    start_date: str
    """The earliest start date among the calls, YYYY-MM-DD at +05:30."""
    sha256: bytes
    variant: int
    head_sha256: bytes | None
    attempts: int
    doubted: Moment | None
    """When these bytes first left and may have arrived; None if they surely did not."""
    denied: bool
    """An earlier attempt with these bytes was answered with a clear no."""
    came_at: float | None = None
    """Of single calls, when they came in; seconds since the epoch."""
    whole: bool = True
    """It is no part of a batch that was split."""
    body: bytes = field(default=b"")
    rows: bytes | None = None
    replay: bool = False
    """It is in doubt, and not held: `Journal.replay` takes it."""

    def __repr__(self) -> str:
        """Show nothing of the calls."""
        return f"Claim(batch={self.batch}, run={self.run}, calls={self.calls})"


@dataclass(frozen=True, slots=True, repr=False)
class NewOrder:
    """What a client of the intake wants to be sent, frozen."""

    id: str
    run: int
    batch: FrozenBatch
    """Its rows are numbered when it is kept."""
    key: bytes | None
    """SHA-256 of its Idempotency-Key."""
    request_sha256: bytes

    def __repr__(self) -> str:
        """Show nothing of the calls."""
        return f"NewOrder(run={self.run}, calls={self.batch.calls})"


@dataclass(frozen=True, slots=True)
class Order:
    """An order that was kept; `batch` holds the calls as they came in."""

    id: str
    run: int
    batch: int
    came_at: float
    """Seconds since the epoch."""
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class Dash:
    """How an order is sent in the same breath in which it is kept."""

    ask: Ask
    """For a slot; it wants one request with the order's calls."""
    owner: str
    digest: Callable[[int], bytes]
    """The SHA-256 of what stands before the calls, by the variant of the batch."""
    lease: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An order that is kept; with a `claim` it is marked as sending, and to be posted now."""

    order: Order
    is_new: bool
    """Whether it was kept just now; False if its key came before."""
    claim: Claim | None = None
    slot: float = 0.0
    """From when on it may leave, by the journal's own time, and for how many seconds."""
    life: float = 0.0
    marked_at: Moment | None = None


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run with something to do, and what is needed to do it."""

    run: int
    account: str
    endpoint: str
    flow_id: str
    definition: str
    not_after: float | None
    kind: str


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A run that the provider stopped."""

    run: int
    account: str
    flow_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AtWork:
    """A process that is at work on a run."""

    run: int
    owner: str
    """host:pid:random"""
    what: str
    """`reads` or `sends`."""
    since: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Why a batch is not sent whose very bytes went out before, from another batch.

    Neither `refused` nor to be halved, it was put off: what comes of the other is not known yet.
    """

    reason: str
    refused: bool = False
    """They were taken, or may have been: it is refused now."""
    halve: bool = False
    """They were refused as a whole and live on in parts: it is claimed still, and to be halved, so
    that its calls are looked at in the same parts."""


@dataclass(frozen=True, slots=True, repr=False)
class Settlement:
    """What became of one attempt: the batch's next state and what is to be remembered of it."""

    state: State
    verdict: str
    reason: str | None = None
    accepted: int = 0
    """Calls placed; only with ACCEPTED."""
    request_id: str | None = None
    answer: bytes | None = None
    """The provider's body, kept where it says more than a request-id."""
    not_before: float = 0.0
    """Of the journal's own time."""
    variant: int = 0
    denied: bool = False
    http_status: int | None = None
    code: int | None = None
    message: str | None = None

    def __repr__(self) -> str:
        """Show nothing of the answer."""
        return f"Settlement({self.state}, {self.verdict}, reason={self.reason!r})"


@dataclass(frozen=True, slots=True)
class NextWork:
    """Why nothing could be claimed, and when there may be something again."""

    control: Control
    reading: bool
    """Rows of the list are still to come."""
    not_before: float | None
    """The earliest moment at which a ready batch may be claimed; None if none is ready. This and
    the next two are of the journal's own time."""
    lease_until: float | None
    """When the first lease ends, whoever holds it; None if none is held."""
    replay_at: float | None = None
    """The earliest moment at which a doubt may be replayed; None if there is none."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The sums of a run's batches by state, and the requests made."""

    batches: dict[State, int]
    calls: dict[State, int]
    accepted: int
    requests: int
    settled_at: float | None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A batch in doubt, for whoever is to settle it."""

    batch: int
    first_row: int
    calls: int
    attempts: int
    sent_at: float
    """When its bytes left last."""
    doubted_at: float
    """When they left first."""
    verdict: str | None
    """What came back last: `lost`, `unclear`, …; None if the process ended before anything did."""
    reason: str | None


@dataclass(frozen=True, slots=True, repr=False)
class SettledBatch:
    """A batch with its calls, for the export; it may as well be on its way still."""

    batch: int
    state: State
    reason: str | None
    request_id: str | None
    accepted: int
    attempts: int
    settled_at: float | None
    rows: Sequence[int]
    calls: bytes | None
    """The calls joined by commas; None if they can't be read any more."""
    answer: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class Contact:
    """One line of the export: what became of one contact."""

    row: int
    client_identifier: str | None
    contact_numbers: tuple[str, ...]
    state: str
    reason: str | None
    request_id: str | None
    phonon_uuid: str | None
    batch: int | None
    attempts: int
    settled_at: float | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not settled yet of one account's endpoint.

    Doubts are those of all runs, the rest is of runs that are to go on.
    """

    account: str
    endpoint: str
    calls: dict[State, int]
    """Calls that are ready, claimed, sending or in doubt."""
    batches: dict[State, int]
    oldest_at: float | None
    """When the oldest of them came in, doubts apart (of a list: when its run was opened)."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """From when on which limits were in force."""

    account: str
    endpoint: str
    at: float
    """By the wall clock."""
    steady: float
    """By the journal's own time."""
    limits: Limits
    why: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `Journal.prune` did."""

    runs: tuple[int, ...] = ()
    """The runs whose contact data is gone now, by their numbers."""
    calls: int = 0
    bytes_freed: int = 0
    """What the contact data took in the journal; the file may have shrunk by more."""
    left: Mapping[int, str] = field(default_factory=dict)
    """The runs that are as old and have not ended, and why not, a few words each."""
