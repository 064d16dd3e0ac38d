"""The journal: what is to be sent, what was sent, and what became of it.

`submit` and `dispatch` never meet but here. `Journal` is the seam: the few verbs by which the
state of a run changes, each with its contract. `SqliteJournal` keeps it on one machine.

    records      what the verbs take and hand out
    clock        the journal's own time, by which leases and ages are counted
    frozen       how a batch's calls are kept
    sqlite       the verbs, in one SQLite file
    changes      what each verb does to its tables
    control      of these, what is to happen with runs, and who is at work
    single       of these, single calls of the intake
    pruning      of these, contact data that leaves, in steps
    buckets      the limit that all processes share, in its tables
    writer       one thread that writes, and commits in groups
    connection   opening the file; SQLite's errors in words
    alive        which processes are known to have ended
    books        reading while others write
    keys         whom a batch calls

Every verb is durable when it returns. Every change of a batch's state is guarded by the state it
comes from (and, where a lease is held, by its owner): if it moves no row, TransitionError is raised
and nothing has changed. A journal that can't be written raises JournalError, and what was asked
did not happen. The time is always passed in: as a `Moment` where something is counted by it, as
seconds since the epoch where it is only noted down.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.journal.clock import Moment
from phonon_bulk.journal.frozen import FrozenBatch
from phonon_bulk.journal.keys import Key
from phonon_bulk.journal.records import (
    Admitted,
    AtWork,
    Backlog,
    Claim,
    Contact,
    Control,
    Dash,
    Doubt,
    DueRun,
    Kind,
    LimitChange,
    NewOrder,
    NewRun,
    NextWork,
    Opened,
    Order,
    Pruned,
    Repeat,
    Run,
    RunCounts,
    SettledBatch,
    Settlement,
    StoppedRun,
    identity_of,
)
from phonon_bulk.schedule import Ask, Lease, Limits, Rate
from phonon_bulk.throttle import BackOff, No, Throttle

__all__ = [
    "Admitted",
    "AtWork",
    "Backlog",
    "Books",
    "Claim",
    "Contact",
    "Control",
    "Dash",
    "Doubt",
    "DueRun",
    "FrozenBatch",
    "Journal",
    "Key",
    "Kind",
    "LimitChange",
    "Moment",
    "NewOrder",
    "NewRun",
    "NextWork",
    "Opened",
    "Order",
    "Pruned",
    "Repeat",
    "Run",
    "RunCounts",
    "SettledBatch",
    "Settlement",
    "StoppedRun",
    "identity_of",
]


class Journal(Protocol):
    """The verbs by which submit and dispatch change a run."""

    @property
    def owner(self) -> str:
        """The name under which this process holds leases; no other has or had it."""

    def now(self) -> Moment:
        """Return this moment; its `steady` side is the same for all who use this journal."""

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
        left_out: Sequence[LeftOutRow],
        *,
        after_row: int,
        last_row: int,
        notes: Sequence[tuple[str, int, int]] = (),
    ) -> None:
        """Add what rows `after_row` + 1 to `last_row` of the list became, all or nothing.

        `notes` are (what was changed in calls of these rows, how many, the first of the rows);
        they are added up with those that the run has.

        Raises ReadElsewhereError if the run does not stand at `after_row` or is read to its end.
        """

    async def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """Say that the last row is in the journal, or with `whole` False, the last there will be.

        Nothing can be appended after it. Raises ReadElsewhereError if that was said before.
        """

    async def read_so_far(self, run: int) -> int | None:
        """Return up to which row a list is in the journal; None if it was read to its end."""

    async def claim(
        self, run: int, *, owner: str, limit: int, now: Moment, lease: float
    ) -> list[Claim]:
        """Move up to `limit` ready batches of a run that is to go on to claimed, oldest first.

        They are held for `lease` seconds.
        """

    async def renew(self, owner: str, now: Moment, lease: float) -> None:
        """Let the leases of everything `owner` holds end `lease` seconds from now."""

    async def release(self, batches: Sequence[int], owner: str) -> None:
        """Give claimed batches back; they are ready again."""

    async def send(
        self, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int | Repeat:
        """Move a claimed batch to sending, before its first byte leaves; return the attempt.

        It is held for `lease` seconds from now. What was answered to it with another head is
        forgotten: those were other bytes. If another batch with the same bytes went out before,
        this one is not to be sent, and a `Repeat` is returned: it was refused, or is ready again a
        little later because the other is under way, or is to be halved.

        Raises RunHeldError if the run was paused, stopped or taken back meanwhile; it is claimed
        still.
        """

    async def refuse(self, batch: int, owner: str, now: float, reason: str) -> None:
        """Move a claimed batch to refused: it can't be sent as it is. Not a byte has left."""

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
        sending, and this is what came back; without, it was claimed. A part of single calls came
        in when the first of them did.
        """

    async def doubts(
        self, run: int, *, limit: int, now: Moment, within: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """Return doubts that may be replayed now; nothing changes.

        Nothing of a run that is not to go on. Their bytes first left less than `within` seconds
        ago, by either clock; their start date is not before `today`, and they are none of `but`.
        """

    async def replay(self, claim: Claim, owner: str, now: Moment, lease: float) -> int:
        """Move a batch from in_doubt to sending, before its bytes leave again; return the attempt.

        It is held for `lease` seconds from now.

        Raises TransitionError if it is no longer as `claim` has it, RunHeldError as `send` does.
        """

    async def resolve(
        self, run: int, batches: Sequence[int], outcome: State, *, who: str, now: Moment
    ) -> None:
        """Settle doubts as a person says: accepted, ready (sent again) or abandoned. All or none.

        Raises RunError if one of them is not a batch of the run that is in doubt.
        """

    async def expire(self, batch: int, owner: str, now: float, reason: str) -> None:
        """Move a claimed batch to expired: it is too late to send it."""

    async def cancel(self, run: int, now: float, reason: str) -> int:
        """Take a run back for good: what is ready is cancelled; return how many calls that were.

        What is claimed, or being sent, or still to be read, is cancelled as soon as it is ready
        (again). Raises RunError if that was done before, or if there is no such run.
        """

    async def recover(self, now: Moment, replay_after: float = 0.0) -> tuple[int, int]:
        """Take back leases that ended, and those of processes that are known to have ended.

        What was claimed becomes ready, what was being sent becomes in_doubt, to be replayed
        `replay_after` seconds from now at the earliest. Returns how many of each.
        """

    async def control(
        self, run: int, control: Control, allowed: Sequence[Control], reason: str | None = None
    ) -> None:
        """Change what is to happen with a run that is in one of `allowed`.

        From then on no batch of a run that is not to go on is marked as sending. To take it back
        for good is `cancel`. Raises RunError if it is in none of them, or was taken back.
        """

    async def begin_work(self, run: int, what: str, now: float) -> None:
        """Take note that this process is at work on a run: it `reads` its list, or `sends` it."""

    async def end_work(self, run: int, what: str) -> None:
        """Take note that it is not any more."""

    async def beat(self, now: float) -> None:
        """Write something, for no other reason than to know whether it can be written."""

    async def due(
        self, *, now: Moment, within: float, today: str
    ) -> tuple[list[DueRun], float | None]:
        """Return the runs with something to send now, and when the next of the others has.

        The moment is of the journal's own time; the rest is as in `doubts`.
        """

    async def admit(
        self, new: NewOrder, dash: Dash | None, clock: Callable[[], Moment]
    ) -> Admitted:
        """Keep an order of single calls, or return the one that was kept with its key before.

        With `dash`, and if no other batch of its run is ready and a slot can be had, its batch is
        marked as sending in the same breath. Raises RunHeldError if the run is paused or stopped,
        RunError if it takes no calls any more: its day is over, or it was taken back.
        """

    async def gather(
        self,
        members: Sequence[Claim],
        whole: FrozenBatch,
        owner: str,
        now: Moment,
        lease: float,
    ) -> Claim:
        """Put claimed batches that were never sent into one, which is claimed in their place."""

    async def arrivals(self, claim: Claim) -> list[float]:
        """Return when each call of a batch of single calls came in, in the order of their rows.

        In seconds since the epoch. Calls that were gathered came at different times.
        """

    async def amend(self, run: int, flow_id: str, not_after: float | None) -> None:
        """Send what is still to be sent of a run to this flow, and until this moment."""

    async def next_work(
        self, run: int, *, now: Moment, within: float, today: str, but: Sequence[int] = ()
    ) -> "NextWork":
        """Say what a run without ready batches waits for; the rest is as in `doubts`."""

    async def wait(self, run: int, seconds: float) -> None:
        """Return when this process has appended something to a run, or after `seconds`."""

    async def lease(self, ask: Ask, clock: Callable[[], Moment]) -> Lease:
        """Grant slots of an endpoint to who asks: one schedule for all that use this journal.

        No slot is granted twice, and what was granted stays so if the process ends; see
        `schedule.grant`. The clock is looked at when its turn has come, and not before: a change
        may wait for those of other processes.
        """

    async def said_no(
        self, account: str, endpoint: str, no: No, back_off: BackOff, now: Moment
    ) -> Throttle:
        """Take note that an endpoint said "too many"; return how it is held back for all."""

    async def leave(self, account: str, endpoint: str, owner: str) -> None:
        """Take note that a process asks for no more slots."""

    async def order_limits(
        self,
        account: str,
        endpoint: str,
        limits: Limits,
        *,
        settings: Limits,
        who: str,
        now: Moment,
    ) -> None:
        """Put limits in force over those that the settings have, for all; empty ones lift them.

        `settings` are those, as far as is known here; what holds from now on is recorded.
        """

    async def prune(self, before: float, now: float, *, run: int | None = None) -> Pruned:
        """Delete the contact data of runs that ended before a moment (of `run` alone, if given).

        A run has ended when nothing of it is to be sent or in doubt, its list is read (or it was
        taken back) and nobody is at work on it; when that was, is when the last thing happened,
        or the end of the day at +05:30 on which its last calls were to be made. Counts, states,
        reasons, request-ids and tries stay. It is done in steps of about 10 ms, between which
        others write; what was begun is ended by the next call, if this one is cancelled or dies.
        """

    async def compact(self) -> str | None:
        """Write the file anew if pieces of what was deleted may be in unused parts of it.

        Nobody can write meanwhile (about two seconds for 100 MB), so it is not done while a
        process reads a list or has something to send, or has the file locked. Returns why it
        could not be done, a few words; None if it was, or if there was nothing to do.
        """

    async def close(self) -> None:
        """Write what is outstanding and close. What is still held is taken back by `recover`."""


class Books(Protocol):
    """What can be read in a journal while others write to it."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Make all that is read within agree: as if it were read at one moment."""

    def run(self, run: int) -> Run:
        """Return one run; raises RunError if there is none of that number."""

    def runs_of(self, campaign: str, account: str, endpoint: str) -> list[Run]:
        """Return the runs of a campaign, newest first, a few dozen at most."""

    def runs_of_file(self, campaign: str, account: str, endpoint: str, path: str) -> list[Run]:
        """Return the runs of a campaign whose list is one file, and had this absolute path.

        Newest first, a few dozen at most.
        """

    def find(self, identity: str) -> int | None:
        """Return the number of the newest run of a campaign and list, None if there is none."""

    def runs(self, limit: int) -> list[Run]:
        """Return the newest runs, newest first."""

    def counts(self, run: int) -> RunCounts:
        """Return the sums of a run's batches."""

    def reasons(self, run: int, limit: int) -> list[tuple[str, str, int]]:
        """Return (state, reason, calls) for calls not placed, most frequent first."""

    def left_out_reasons(self, run: int, limit: int) -> list[tuple[LeftOut, str, int, int]]:
        """Return (state, reason, rows, the first row's number), most frequent first.

        They are `limit` of each state at most.
        """

    def notes(self, run: int, limit: int) -> list[tuple[str, int, int]]:
        """Return (what was changed in calls, how many, the first row), most frequent first."""

    def doubts(self, run: int) -> list[Doubt]:
        """Return a run's batches in doubt, by their first row."""

    def batches(self, run: int) -> Iterator[SettledBatch]:
        """Yield a run's batches, but for those that were split, by their first row."""

    def left_out(self, run: int) -> Iterator[LeftOutRow]:
        """Yield the rows that became no call, by row number."""

    def placed(
        self, campaign: str, account: str, *, since: float, by: Key, but_not: int | None = None
    ) -> Iterator[list[str]]:
        """Yield the keys of calls that were placed, may have been, or are still to be sent.

        They are those of all runs of a campaign and account that were opened at `since` (seconds
        since the epoch) or later, but for the run `but_not`; a batch at a time, in any order.

        Raises DamagedBodyError if a batch can't be read any more.
        """

    def placed_in(self, run: int, by: Key) -> Iterator[list[str]]:
        """Yield the keys of all calls that a run has made of its list, whatever became of them.

        The rest is as in `placed`.
        """

    def at_work(self) -> list[AtWork]:
        """Return which living processes are at work on which runs."""

    def order(self, number: str) -> Order | None:
        """Return the order of single calls with this id, None if there is none."""

    def order_of_key(self, key: bytes) -> Order | None:
        """Return the order of single calls that was kept with this key, None if there is none."""

    def pruned_since(
        self, campaign: str, account: str, since: float, but_not: int | None = None
    ) -> list[Run]:
        """Return the runs that `placed` would have looked at, if their calls were still there."""

    def leaves(self, batches: Sequence[int]) -> Iterator[tuple[int, range, SettledBatch]]:
        """Yield for each batch those that hold its calls now, as (batch, its rows, what became).

        Where calls were gathered, such a batch has rows of others too.
        """

    def stopped(self, today: str) -> list[StoppedRun]:
        """Return the runs that are stopped of which something could be sent today or later.

        That is told from the first and the last hundred of their batches.
        """

    def waiting(self, runs: Sequence[int]) -> int:
        """Return how many calls of some runs are not answered yet, doubts apart."""

    def open_intakes(self) -> list[Run]:
        """Return the runs that take single calls."""

    def settled(self, batches: Sequence[int]) -> list[int]:
        """Return those of some batches whose calls all have come to an end, or are in doubt."""

    def version(self) -> int:
        """Return a number that is another one as soon as something has changed.

        Raises JournalError if another file, or none, is where the journal was opened: what is
        written would be lost with it.
        """

    def backlog(self) -> list[Backlog]:
        """Return what is not settled yet, by account and endpoint."""

    def rate(self, account: str, endpoint: str) -> Rate | None:
        """Return how fast an endpoint may be used just now; None if nothing was sent to it."""

    def tokens(self, account: str, endpoint: str) -> int | None:
        """Return how many requests could leave now without waiting; None if nothing was sent to it.

        See `schedule.tokens`.
        """

    def is_used(self, account: str, endpoint: str) -> bool:
        """Say whether somebody sends to an endpoint, or did within the last minute."""

    def limit_changes(self) -> list[LimitChange]:
        """Return which limits were in force from when on, in that order."""
