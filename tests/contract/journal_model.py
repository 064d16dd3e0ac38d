"""A journal in plain Python, written from the contracts in `phonon_bulk.journal`: see the test.

Its verbs are those of `Journal`, but for `async`. Each raises what a journal must raise before it
has changed anything. What a contract leaves open (the words of a reason) is left open here.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from builders import DAY, make_data

from phonon_bulk.batch import MAX_VARIANT, TRANSITIONS, Batch, State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import ReadElsewhereError, RunError, RunHeldError, TransitionError
from phonon_bulk.journal import (
    Admitted,
    Claim,
    Control,
    Dash,
    Doubt,
    FrozenBatch,
    Kind,
    Moment,
    NewOrder,
    NewRun,
    NextWork,
    Opened,
    Order,
    Repeat,
    Run,
    RunCounts,
    Settlement,
)
from phonon_bulk.journal.frozen import freeze

Rows = tuple[int, ...]

SETTLED = {State.ACCEPTED, State.REFUSED, State.EXPIRED, State.CANCELLED, State.ABANDONED}
HELD = {State.CLAIMED, State.SENDING}


@cache
def frozen(rows: Rows) -> FrozenBatch:
    """Return the batch of these rows of any list; the dates in a list alternate, two rows each."""
    days = [DAY + timedelta(days=(row - 1) // 2 % 2) for row in rows]
    calls = [make_data([row], day) for row, day in zip(rows, days, strict=True)]
    batch = freeze(Batch(b",".join(calls), rows, min(days)))
    _ROWS[batch.sha256] = rows
    return batch


_ROWS: dict[bytes, Rows] = {}


class Anything:
    """Equal to all there is: what a contract leaves to the journal."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


ANY: Any = Anything()


class Saying(str):
    """Equal to any text in which these words stand: how a journal puts it is its own affair."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in str(other)

    __hash__ = str.__hash__


@dataclass
class Tried:
    """One time that a batch's bytes were handed to the network."""

    head: bytes
    at: Moment
    ended_at: float | None = None
    verdict: str | None = None

    def row(self, batch: int, n: int) -> dict[str, Any]:
        """Return it as the table `attempt` has it."""
        return {
            "batch": batch,
            "n": n,
            "sent_at": self.at.wall,
            "steady_at": self.at.steady,
            "head_sha256": self.head,
            "ended_at": self.ended_at,
            "verdict": self.verdict,
        }


@dataclass
class Kept:
    """A batch as it should be."""

    id: int
    run: int
    frozen: FrozenBatch
    variant: int
    parent: int | None = None
    state: State = State.READY
    owner: str | None = None
    lease_until: float | None = None
    not_before: float = 0.0
    tried: list[Tried] = field(default_factory=list)
    doubted: Moment | None = None
    denied: bool = False
    accepted: int = 0
    request_id: str | None = None
    answer: bytes | None = None
    reason: str | None = None
    settled_at: float | None = None
    came_at: float | None = None
    gathered_into: int | None = None

    @property
    def rows(self) -> Rows:
        """The rows of its calls."""
        return _ROWS[self.frozen.sha256]

    @property
    def head(self) -> bytes | None:
        """What stood before the calls when they went out last."""
        return self.tried[-1].head if self.tried else None

    def went_out(self, head: bytes) -> bool:
        """Say whether its calls went out under a head, and were taken or may have been."""
        arrived = any(one.head == head and one.verdict not in CLEAR_NO for one in self.tried)
        waits = self.state in {State.READY, State.CLAIMED}
        return arrived and (self.state in GONE or (waits and self.doubted is not None))

    def claim(self, *, replay: bool = False) -> Claim:
        """Return it as it is handed out."""
        return Claim(
            batch=self.id,
            run=self.run,
            first_row=self.frozen.first_row,
            calls=self.frozen.calls,
            start_date=self.frozen.start_date,
            sha256=self.frozen.sha256,
            variant=self.variant,
            head_sha256=self.head,
            attempts=len(self.tried),
            doubted=self.doubted,
            denied=self.denied,
            came_at=self.came_at,
            whole=self.parent is None,
            body=self.frozen.body,
            rows=self.frozen.rows,
            replay=replay,
        )

    def row(self) -> dict[str, Any]:
        """Return it as the table `batch` has it."""
        claim = self.claim()
        shared = set(Claim.__slots__) - {"batch", "body", "rows", "replay", "doubted", "whole"}
        return {
            **{name: getattr(claim, name) for name in shared},
            "id": self.id,
            "parent": self.parent,
            "size": self.frozen.size,
            "state": self.state,
            "owner": self.owner,
            "lease_until": self.lease_until,
            "not_before": self.not_before,
            "doubted_at": self.doubted.wall if self.doubted else None,
            "doubted_steady": self.doubted.steady if self.doubted else None,
            "accepted": self.accepted,
            "request_id": self.request_id,
            "reason": self.reason,
            "settled_at": self.settled_at,
            "gathered_into": self.gathered_into,
        }

    def doubt(self) -> Doubt:
        """Return it as a person is shown it."""
        return Doubt(
            batch=self.id,
            first_row=self.frozen.first_row,
            calls=self.frozen.calls,
            attempts=len(self.tried),
            sent_at=self.tried[-1].at.wall,
            doubted_at=self.doubted.wall if self.doubted else 0.0,
            verdict=self.tried[-1].verdict,
            reason=self.reason,
        )

    def hold(self, state: State, owner: str, lease_until: float) -> None:
        """Move it to a state in which somebody holds it."""
        self.state, self.owner, self.lease_until = state, owner, lease_until

    def let_go(self, state: State, reason: str | None, settled_at: float | None = None) -> None:
        """Move it to a state in which nobody does."""
        self.state, self.owner, self.lease_until = state, None, None
        self.reason, self.settled_at = reason, settled_at


@dataclass
class Begun:
    """A run as it should be."""

    id: int
    new: NewRun
    variant: int
    created_at: float
    read_at: float | None = None
    whole: int = 1
    control: Control = Control.GO
    reason: str | None = None
    cancelled_at: float | None = None
    rows: int = 0
    calls: int = 0
    left_out: list[LeftOutRow] = field(default_factory=list)
    notes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What was changed: in how many calls, and the first of their rows."""

    def run(self) -> Run:
        """Return it as the books have it."""
        names = set(self.__dataclass_fields__) - {"new", "left_out", "notes"}
        states = Counter(row.state for row in self.left_out)
        return Run(
            **asdict(self.new),
            **{name: getattr(self, name) for name in names},
            rejected=states[LeftOut.REJECTED],
            suppressed=states[LeftOut.SUPPRESSED],
            duplicates=states[LeftOut.DUPLICATE],
        )


CLEAR_NO = {"throttled", "setup", "account", "not_sent", "held_back"}
"""Verdicts after which surely nothing was placed."""
GONE = {State.SENDING, State.IN_DOUBT, State.ACCEPTED, State.SPLIT, State.ABANDONED}
PLACED = {*HELD, State.READY, State.IN_DOUBT, State.ACCEPTED, State.ABANDONED}
"""States in which calls were placed, may have been, or will be."""
PUT_OFF = 2.0
"""Seconds for which a batch waits while another with its bytes is under way."""


class Model:
    """The verbs of `Journal`, and some of `Books`, over plain objects."""

    def __init__(self) -> None:
        self.runs: dict[int, Begun] = {}
        self.batches: dict[int, Kept] = {}
        self.dead: set[str] = set()
        """Processes that left a sign by which it is known that they have ended."""
        self.orders: dict[bytes, Order] = {}
        """Orders of single calls by their keys."""
        self.came: dict[tuple[int, int], float] = {}
        """When single calls came in, by run and row."""

    def of(self, run: int, *states: State) -> list[Kept]:
        """Return a run's batches in these states, in the list's order."""
        found = [one for one in self.batches.values() if one.run == run and one.state in states]
        return sorted(found, key=lambda one: (one.frozen.first_row, one.id))

    def within(self, *states: State) -> list[int]:
        """Return the numbers of all batches in these states."""
        return [one.id for one in self.batches.values() if one.state in states]

    def _born(self, run: int, batch: FrozenBatch, parent: int | None = None) -> Kept:
        one = Kept(len(self.batches) + 1, run, batch, self.runs[run].variant, parent)
        one.came_at = self.came.get((run, batch.first_row))
        self.batches[one.id] = one
        return one

    def _held(self, batch: int, owner: str, state: State) -> Kept:
        one = self.batches.get(batch)
        if one is None or one.state is not state or one.owner != owner:
            raise TransitionError
        return one

    # ---- runs and their lists

    def open_run(self, new: NewRun, now: float, *, again: bool = False) -> Opened:
        """See `Journal`."""
        same = [run.id for run in self.runs.values() if run.new.identity == new.identity]
        if same and not again:
            return Opened(max(same), is_new=False)
        used = [self.runs[run].variant for run in same]
        used += [one.variant for one in self.batches.values() if one.run in same]
        variant = max([len(same), *(number + 1 for number in used)]) if same else 0
        if variant > MAX_VARIANT:
            raise RunError
        run = len(self.runs) + 1
        self.runs[run] = Begun(run, new, variant, now)
        return Opened(run, is_new=True)

    def append(
        self,
        run: int,
        batches: Sequence[FrozenBatch],
        left_out: Sequence[LeftOutRow],
        *,
        after_row: int,
        last_row: int,
        notes: Sequence[tuple[str, int, int]] = (),
    ) -> None:
        """See `Journal`."""
        one = self.runs.get(run)
        if one is None or one.rows != after_row or one.read_at is not None:
            raise ReadElsewhereError
        calls = sum(batch.calls for batch in batches)
        if last_row - after_row != calls + len(left_out):
            raise sqlite3.IntegrityError
        one.rows, one.calls = last_row, one.calls + calls
        one.left_out += left_out
        for note, contacts, row in notes:
            before, first = one.notes.get(note, (0, row))
            one.notes[note] = (before + contacts, min(first, row))
        for batch in batches:
            self._born(run, batch)

    def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """See `Journal`."""
        one = self.runs.get(run)
        if one is None or one.read_at is not None:
            raise ReadElsewhereError
        one.read_at, one.whole = now, int(whole)

    def control(
        self, run: int, control: Control, allowed: Sequence[Control], reason: str | None = None
    ) -> None:
        """See `Journal`."""
        if run not in self.runs or self.runs[run].control not in allowed:
            raise RunError
        if Control.CANCELLED in {control, self.runs[run].control}:
            raise RunError
        self.runs[run].control, self.runs[run].reason = control, reason

    def amend(self, run: int, flow_id: str, not_after: float | None) -> None:
        """See `Journal`."""
        if run not in self.runs:
            raise TransitionError
        self.runs[run].new = replace(self.runs[run].new, flow_id=flow_id, not_after=not_after)

    def cancel(self, run: int, now: float, reason: str) -> int:
        """See `Journal`."""
        if run not in self.runs or self.runs[run].control is Control.CANCELLED:
            raise RunError
        begun = self.runs[run]
        begun.control, begun.reason, begun.cancelled_at = Control.CANCELLED, reason, now
        return sum(one.frozen.calls for one in self.sweep())

    def sweep(self) -> list[Kept]:
        """Cancel what is ready in runs that were taken back, however it became so."""
        back = {run.id: run for run in self.runs.values() if run.control is Control.CANCELLED}
        ready = [one for run in back for one in self.of(run, State.READY)]
        for one in ready:
            one.let_go(State.CANCELLED, back[one.run].reason, back[one.run].cancelled_at)
            one.not_before = 0.0
        return ready

    # ---- single calls

    def admit(self, new: NewOrder, dash: Dash | None, clock: Callable[[], Moment]) -> Admitted:
        """See `Journal`; when a slot can be had is its affair, but without a limit it can."""
        if new.key is not None and new.key in self.orders:
            return Admitted(self.orders[new.key], is_new=False)
        begun, now = self.runs.get(new.run), clock()
        if begun is None or begun.new.kind is not Kind.INTAKE or begun.read_at is not None:
            raise RunError
        if begun.control is not Control.GO:
            raise RunError if begun.control is Control.CANCELLED else RunHeldError
        frozen = replace(new.batch, first_row=begun.rows + 1)
        for row in range(begun.rows + 1, begun.rows + 1 + frozen.calls):
            self.came[new.run, row] = now.wall
        begun.rows, begun.calls = begun.rows + frozen.calls, begun.calls + frozen.calls
        one = self._born(new.run, frozen)
        order = Order(new.id, new.run, one.id, now.wall, new.request_sha256)
        if new.key is not None:
            self.orders[new.key] = order
        return self._dashed(Admitted(order, is_new=True), one, dash, now)

    def _dashed(self, kept: Admitted, one: Kept, dash: Dash | None, now: Moment) -> Admitted:
        if dash is None or self.of(one.run, State.READY) != [one]:
            return kept
        one.hold(State.CLAIMED, dash.owner, now.steady + dash.lease)
        claim = one.claim()
        sent = self.send(claim, dash.digest(one.variant), dash.owner, now, dash.lease)
        if isinstance(sent, int):
            return replace(kept, claim=claim, slot=ANY, life=ANY, marked_at=now)
        if sent.halve:
            one.let_go(State.READY, one.reason)
        return kept

    def gather(
        self,
        members: Sequence[Claim],
        whole: FrozenBatch,
        owner: str,
        now: Moment,
        lease: float,
    ) -> Claim:
        """See `Journal`."""
        if whole.calls != sum(member.calls for member in members):
            raise TransitionError
        ones = [self._held(member.batch, owner, State.CLAIMED) for member in members]
        if any(one.tried or one.parent is not None for one in ones):
            raise TransitionError
        # Of one that was gathered before, the earliest: the clock may have been set back since.
        came = [one.came_at or now.wall for one in ones]
        into = self._born(ones[0].run, whole)
        into.hold(State.CLAIMED, owner, now.steady + lease)
        into.came_at = min(came)
        for one in ones:
            one.let_go(State.SPLIT, Saying("gathered"), now.wall)
            one.gathered_into = into.id
        return into.claim()

    def arrivals(self, claim: Claim) -> list[float]:
        """See `Journal`."""
        return [self.came[claim.run, row] for row in self.batches[claim.batch].rows]

    # ---- batches

    def claim(self, run: int, *, owner: str, limit: int, now: Moment, lease: float) -> list[Claim]:
        """See `Journal`."""
        if run not in self.runs or self.runs[run].control is not Control.GO:
            return []
        ready = [one for one in self.of(run, State.READY) if one.not_before <= now.steady][:limit]
        for one in ready:
            one.hold(State.CLAIMED, owner, now.steady + lease)
        return [one.claim() for one in ready]

    def renew(self, owner: str, now: Moment, lease: float) -> None:
        """See `Journal`."""
        for one in self.batches.values():
            if one.owner == owner:
                one.lease_until = now.steady + lease

    def release(self, batches: Sequence[int], owner: str) -> None:
        """See `Journal`."""
        if len(set(batches)) < len(batches):
            raise TransitionError
        for one in [self._held(batch, owner, State.CLAIMED) for batch in batches]:
            one.let_go(State.READY, one.reason)

    def send(
        self, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int | Repeat:
        """See `Journal`."""
        if self.runs[claim.run].control is not Control.GO:
            raise RunHeldError
        one = self._held(claim.batch, owner, State.CLAIMED)
        repeat = self._repeat_of(one, head_sha256, now, lease)
        if repeat is not None:
            return repeat
        if len(one.tried) != claim.attempts:
            raise TransitionError(f"batch {claim.batch} was sent since it was claimed")
        if one.head != head_sha256:  # what was answered to other bytes is forgotten
            one.denied, one.doubted = False, None
        return self._goes_out(one, head_sha256, owner, now, lease)

    def _repeat_of(self, one: Kept, head: bytes, now: Moment, lease: float) -> Repeat | None:
        """Return why a batch is not sent whose very bytes went out before, from another."""
        twins = [
            other
            for other in self.batches.values()
            if other is not one
            and other.frozen.sha256 == one.frozen.sha256
            and other.went_out(head)
        ]
        if not twins:
            return None
        twin = min(twins, key=lambda other: other.id)
        if twin.state is State.SENDING:
            one.let_go(State.READY, one.reason)
            one.not_before = now.steady + PUT_OFF
            return Repeat(Saying("repeats"))
        if twin.state is State.SPLIT and one.frozen.calls > 1:
            one.lease_until = now.steady + lease
            return Repeat(Saying("repeats"), halve=True)
        one.let_go(State.REFUSED, Saying("repeats"), now.wall)
        return Repeat(Saying("repeats"), refused=True)

    def _goes_out(self, one: Kept, head: bytes, owner: str, now: Moment, lease: float) -> int:
        one.tried.append(Tried(head, now))
        one.hold(State.SENDING, owner, now.steady + lease)
        return len(one.tried)

    def refuse(self, batch: int, owner: str, now: float, reason: str) -> None:
        """See `Journal`."""
        self._held(batch, owner, State.CLAIMED).let_go(State.REFUSED, reason, now)

    def expire(self, batch: int, owner: str, now: float, reason: str) -> None:
        """See `Journal`."""
        self._held(batch, owner, State.CLAIMED).let_go(State.EXPIRED, reason, now)

    def settle(self, batch: int, settlement: Settlement, owner: str, now: float) -> None:
        """See `Journal`."""
        said = settlement
        if (State.SENDING, said.state) not in TRANSITIONS or said.state is State.SPLIT:
            raise TransitionError
        one = self._held(batch, owner, State.SENDING)
        if said.state is State.ACCEPTED and not 1 <= said.accepted <= one.frozen.calls:
            raise sqlite3.IntegrityError
        one.let_go(said.state, said.reason, now if said.state in SETTLED else None)
        one.denied = said.variant == one.variant and (one.denied or said.denied)
        one.variant, one.not_before = said.variant, said.not_before
        one.accepted, one.request_id = said.accepted, said.request_id
        last = one.tried[-1]
        if said.state is State.IN_DOUBT:
            one.doubted = one.doubted or last.at
        self._answered(one, said, now)

    def _answered(self, one: Kept, said: Settlement, now: float) -> None:
        one.tried[-1].ended_at, one.tried[-1].verdict = now, said.verdict
        one.answer = said.answer or one.answer

    def split(
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
        """See `Journal`."""
        one = self._held(claim.batch, owner, State.SENDING if answered else State.CLAIMED)
        if one.frozen.calls != sum(
            part.calls for part in (*parts, *([expired] if expired else []))
        ):
            raise TransitionError
        one.let_go(State.SPLIT, reason, now)
        if answered:
            self._answered(one, answered, now)
        for part in parts:
            self._born(one.run, part, one.id)
        if expired:
            self._born(one.run, expired, one.id).let_go(State.EXPIRED, reason, now)

    # ---- doubts, and leases that are lost

    def _replayable(
        self, run: int, now: Moment, within: float, today: str, but: Sequence[int]
    ) -> list[Kept]:
        return [
            one
            for one in self.of(run, State.IN_DOUBT)
            if one.doubted is not None
            and one.doubted.wall > now.wall - within
            and one.doubted.steady > now.steady - within
            and one.frozen.start_date >= today
            and one.id not in but
        ]

    def doubts(
        self, run: int, *, limit: int, now: Moment, within: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """See `Journal`; in which order they come is the journal's affair."""
        if self.runs[run].control is not Control.GO:
            return []
        doubts = self._replayable(run, now, within, today, but)
        due = [one.claim(replay=True) for one in doubts if one.not_before <= now.steady]
        return due[:limit]

    def next_work(
        self, run: int, *, now: Moment, within: float, today: str, but: Sequence[int] = ()
    ) -> NextWork:
        """See `Journal`."""
        ready, held = self.of(run, State.READY), self.of(run, *HELD)
        doubts = self._replayable(run, now, within, today, but)
        leases = [one.lease_until for one in held if one.lease_until is not None]
        return NextWork(
            control=self.runs[run].control,
            reading=self.runs[run].read_at is None,
            not_before=min((one.not_before for one in ready), default=None),
            lease_until=min(leases, default=None),
            replay_at=min((one.not_before for one in doubts), default=None),
        )

    def replay(self, claim: Claim, owner: str, now: Moment, lease: float) -> int:
        """See `Journal`."""
        one = self.batches[claim.batch]
        if self.runs[one.run].control is not Control.GO:
            raise RunHeldError
        if one.state is not State.IN_DOUBT or len(one.tried) != claim.attempts:
            raise TransitionError
        return self._goes_out(one, one.tried[-1].head, owner, now, lease)

    def resolve(
        self, run: int, batches: Sequence[int], outcome: State, *, who: str, now: Moment
    ) -> None:
        """See `Journal`."""
        if (State.IN_DOUBT, outcome) not in TRANSITIONS or outcome is State.SENDING:
            raise TransitionError
        doubts = {one.id: one for one in self.of(run, State.IN_DOUBT)}
        if not set(batches) <= set(doubts) or len(set(batches)) < len(batches):
            raise RunError
        for one in (doubts[batch] for batch in batches):
            one.not_before = 0.0
            if outcome is State.READY:
                one.let_go(outcome, None)
                one.doubted = now  # what comes of it is replayed like any new doubt
                continue
            one.let_go(outcome, Saying(who), now.wall)
            one.accepted = one.frozen.calls if outcome is State.ACCEPTED else 0

    def recover(self, now: Moment, replay_after: float = 0.0) -> tuple[int, int]:
        """See `Journal`."""
        lost = [
            one
            for one in self.batches.values()
            if one.lease_until is not None
            and (one.lease_until <= now.steady or one.owner in self.dead)
        ]
        self.dead.clear()  # they hold nothing any more, so their signs are swept away
        sent = [one.id for one in lost if one.state is State.SENDING]
        for one in lost:
            if one.id in sent:
                one.let_go(State.IN_DOUBT, Saying("ended before"))
                one.doubted = one.doubted or one.tried[-1].at
                one.not_before = now.steady + replay_after
            else:
                one.let_go(State.READY, one.reason)
        return len(lost) - len(sent), len(sent)

    # ---- the books

    def counts(self, run: int) -> RunCounts:
        """See `Books`."""
        ours = self.of(run, *State)
        calls: Counter[State] = Counter()
        for one in ours:
            calls[one.state] += one.frozen.calls
        settled = [one.settled_at for one in ours if one.settled_at is not None]
        return RunCounts(
            batches=Counter(one.state for one in ours),
            calls=calls,
            accepted=sum(one.accepted for one in ours),
            requests=sum(len(one.tried) for one in ours),
            settled_at=max(settled, default=None),
        )

    def notes(self, run: int) -> list[tuple[str, int, int]]:
        """See `Books`; in no order."""
        notes = self.runs[run].notes.items()
        return [(note, contacts, row) for note, (contacts, row) in notes]

    def called(self, run: int) -> list[int]:
        """Return the rows of a run that became calls."""
        ours = self.of(run, *set(State) - {State.SPLIT})
        return sorted(row for one in ours for row in one.rows)

    def placed(self, *, but_not: int | None = None) -> list[int]:
        """Return the rows of calls that were placed, or perhaps, or will be; of all runs."""
        rows: list[int] = []
        for run in set(self.runs) - {but_not}:
            rows += [row for one in self.of(run, *PLACED) for row in one.rows]
        return sorted(rows)
