"""The journal: what is to be sent, what was sent, and what became of it.

`submit` and `dispatch` never meet but here. `Journal` is the seam: the few verbs by which the
state of a run changes, each with its contract. `SqliteJournal` keeps it on one machine.

Every verb is durable when it returns. Every change of a batch's state is guarded by the state it
comes from (and, where a lease is held, by its owner): if it moves no row, TransitionError is raised
and nothing has changed. A journal that can't be written raises JournalError, and what was asked
did not happen. Moments are seconds since the epoch and are always passed in.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from phonon_bulk.batch import State
from phonon_bulk.call import RejectedRow
from phonon_bulk.journal.frozen import FrozenBatch

__all__ = [
    "Books",
    "Claim",
    "Contact",
    "Control",
    "Doubt",
    "FrozenBatch",
    "Journal",
    "NewRun",
    "NextWork",
    "Opened",
    "Run",
    "RunCounts",
    "SettledBatch",
    "Settlement",
    "identity_of",
]


class Control(StrEnum):
    """What is to happen with a run."""

    GO = "go"
    PAUSED = "paused"
    """By a person."""
    STOPPED = "stopped"
    """By the program, because the provider would refuse everything."""
    CANCELLED = "cancelled"
    """By a person, for good."""


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


def identity_of(campaign: str, account: str, endpoint: str, list_sha256: str) -> str:
    """Return what makes a run the same as another: who sends which list under which name.

    Neither the flow nor the mapping is part of it: a flow id that was mended after a failure must
    not begin the list anew.
    """
    text = f"{campaign}\0{account}\0{endpoint}\0{list_sha256}"
    return sha256(text.encode()).hexdigest()


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
    doubted_at: float | None
    """When these bytes first left and may have arrived; None if they surely did not."""
    denied: bool
    """An earlier attempt with these bytes was answered with a clear no."""
    body: bytes = field(default=b"")
    rows: bytes | None = None
    replay: bool = False
    """It is in doubt, and not held: `Journal.replay` takes it."""

    def __repr__(self) -> str:
        """Show nothing of the calls."""
        return f"Claim(batch={self.batch}, run={self.run}, calls={self.calls})"


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
    variant: int = 0
    denied: bool = False
    http_status: int | None = None
    code: int | None = None
    message: str | None = None

    def __repr__(self) -> str:
        """Show nothing of the answer."""
        return f"Settlement({self.state}, {self.verdict}, reason={self.reason!r})"


class Journal(Protocol):
    """The verbs by which submit and dispatch change a run."""

    @property
    def owner(self) -> str:
        """The name under which this process holds leases; no other has or had it."""

    async def open_run(self, new: NewRun, now: float, *, again: bool = False) -> Opened:
        """Open a run, or return the newest there is of the same identity.

        With `again` one is opened in any case, and its bodies differ from those of the runs before
        it. Numbers grow and are never used twice.

        Raises RunError if there were 17 of them: there is no further variant.
        """

    async def append(
        self,
        run: int,
        batches: Sequence[FrozenBatch],
        rejected: Sequence[RejectedRow],
        *,
        after_row: int,
        last_row: int,
    ) -> None:
        """Add what rows `after_row` + 1 to `last_row` of the list became, all or nothing.

        Raises ReadElsewhereError if the run does not stand at `after_row` or is read to its end.
        """

    async def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """Say that the last row is in the journal, or with `whole` False, the last there will be.

        Nothing can be appended after it.
        """

    async def claim(
        self, run: int, *, owner: str, limit: int, now: float, lease_until: float
    ) -> list[Claim]:
        """Move up to `limit` ready batches of a run that is to go on to claimed, oldest first."""

    async def renew(self, owner: str, lease_until: float) -> None:
        """Lengthen the leases of everything `owner` holds."""

    async def release(self, batches: Sequence[int], owner: str) -> None:
        """Give claimed batches back; they are ready again."""

    async def send(self, claim: Claim, head_sha256: bytes, owner: str, now: float) -> int:
        """Move a claimed batch to sending, before its first byte leaves; return the attempt."""

    async def settle(self, batch: int, settlement: Settlement, owner: str, now: float) -> None:
        """Move a sending batch to accepted, refused, in_doubt, or back to ready."""

    async def split(
        self,
        claim: Claim,
        parts: Sequence[FrozenBatch],
        owner: str,
        now: float,
        *,
        answered: Settlement | None = None,
        reason: str,
        expired: FrozenBatch | None = None,
    ) -> None:
        """Replace a batch by `parts`, which become ready, and `expired`, which is that.

        Every call of the batch must be in exactly one of them. With `answered` the batch was
        sending, and this is what came back; without, it was claimed.
        """

    async def doubts(
        self, run: int, *, limit: int, now: float, since: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """Return doubts that may be replayed now; nothing changes.

        Their bytes first left after `since` (and not in the future, by a clock that jumped),
        their start date is not before `today`, and they are none of `but`.
        """

    async def replay(self, claim: Claim, owner: str, now: float, lease_until: float) -> int:
        """Move a batch from in_doubt to sending, before its bytes leave again; return the attempt.

        Raises TransitionError if it is no longer as `claim` has it.
        """

    async def resolve(
        self, run: int, batches: Sequence[int], outcome: State, *, who: str, now: float
    ) -> None:
        """Settle doubts as a person says: accepted, ready (sent again) or abandoned. All or none.

        Raises RunError if one of them is not a batch of the run that is in doubt.
        """

    async def expire(self, batch: int, owner: str, now: float, reason: str) -> None:
        """Move a claimed batch to expired: its start date has passed."""

    async def cancel_ready(self, run: int, now: float, reason: str) -> int:
        """Move every ready batch of a run to cancelled; return how many."""

    async def recover(self, now: float, replay_after: float = 0.0) -> tuple[int, int]:
        """Take back leases that ended, and those of processes that are known to have ended.

        What was claimed becomes ready, what was being sent becomes in_doubt, to be replayed
        `replay_after` seconds from now at the earliest. Returns how many of each.
        """

    async def control(
        self, run: int, control: Control, allowed: Sequence[Control], reason: str | None = None
    ) -> None:
        """Change what is to happen with a run that is in one of `allowed`."""

    async def set_flow(self, run: int, flow_id: str) -> None:
        """Send what is still to be sent of a run to another flow."""

    async def next_work(
        self, run: int, *, now: float, since: float, today: str, but: Sequence[int] = ()
    ) -> "NextWork":
        """Say what a run without ready batches waits for; the rest is as in `doubts`."""

    async def wait(self, seconds: float) -> None:
        """Return when this process has appended something, or after `seconds`."""

    async def close(self) -> None:
        """Write what is outstanding and close."""


@dataclass(frozen=True, slots=True)
class NextWork:
    """Why nothing could be claimed, and when there may be something again."""

    control: Control
    reading: bool
    """Rows of the list are still to come."""
    not_before: float | None
    """The earliest moment at which a ready batch may be claimed; None if none is ready."""
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
    doubted_at: float
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
    calls: bytes
    """The calls joined by commas."""
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


class Books(Protocol):
    """What can be read in a journal while others write to it."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Make all that is read within agree: as if it were read at one moment."""

    def run(self, run: int) -> Run:
        """Return one run; raises RunError if there is none of that number."""

    def runs(self, limit: int) -> list[Run]:
        """Return the newest runs, newest first."""

    def counts(self, run: int) -> RunCounts:
        """Return the sums of a run's batches."""

    def reasons(self, run: int, limit: int) -> list[tuple[str, str, int]]:
        """Return (state, reason, calls) for calls not placed, most frequent first."""

    def rejected_reasons(self, run: int, limit: int) -> list[tuple[str, int, int]]:
        """Return (reason, rows, an example's row number), most frequent first."""

    def doubts(self, run: int) -> list[Doubt]:
        """Return a run's batches in doubt, by their first row."""

    def batches(self, run: int) -> Iterator[SettledBatch]:
        """Yield a run's batches, but for those that were split, by their first row."""

    def rejected(self, run: int) -> Iterator[RejectedRow]:
        """Yield a run's rejected rows by row number."""
