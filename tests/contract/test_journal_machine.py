"""The journal under any order of its verbs: crashes, lost leases and clocks set anyhow included.

Hypothesis drives two or three "processes" (each a `SqliteJournal` on the same file), and does the
same to a model in plain Python (`journal_model.py`). The model says beforehand what a verb returns
or raises. After every step the journal must be as the model is, column by column; what must hold
whatever was done is looked at apart from the model's verbs.

To search for long: PHONON_MACHINE_EXAMPLES=3000 pytest tests/contract/test_journal_machine.py
"""

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from builders import DAY, SECURITY_ID, make_call, make_left_out, make_run
from contract.journal_model import HELD, SETTLED, Kept, Model, Rows, frozen
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from phonon_bulk.batch import MAX_VARIANT, TRANSITIONS, Head, State
from phonon_bulk.call import Call as Sent
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import RunError, TransitionError
from phonon_bulk.journal import Claim, Control, Dash, Key, Kind, Moment, NewOrder, Settlement
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.frozen import compress
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.schedule import Ask, Limits

T = TypeVar("T")

EXAMPLES = int(os.environ.get("PHONON_MACHINE_EXAMPLES", "30"))
STEPS = 40

NOW = 1_795_400_000.0
HOUR = 3600.0
TICK = 1 / 1024  # adds up without a rounding error
REASON = "for a reason"
WHO = "asha@desk"
IDENTITIES = ("x", "y", "z", "calls of a day")
KINDS = {"calls of a day": Kind.INTAKE}
KEYS = (b"k" * 32, b"l" * 32)
FLOWS = ("QG8k000A", "QG8k000B")
LEFT_OUT = {State.REFUSED, State.EXPIRED, State.CANCELLED, State.ABANDONED, State.IN_DOUBT}

FITTING = {
    State.READY: ["claim"],
    State.CLAIMED: ["send"] * 8 + ["release", "refuse", "expire", "part"],
    State.SENDING: ["settle"] * 6 + ["halve"],
    State.IN_DOUBT: ["replay", "resolve"],
}
"""The verbs that move a batch on from a state, the usual ones more often."""

NO_ANSWER = [to for to in State if (State.SENDING, to) not in TRANSITIONS or to is State.SPLIT]
NO_RESOLUTION = [to for to in State if (State.IN_DOUBT, to) not in TRANSITIONS] + [State.SENDING]
"""The states to which a batch can't be settled, and those to which no person settles a doubt."""

NOTES = ["a number was left out", "start-time moved"]
"""What may have been changed in calls."""

KEY_OF: dict[Key, Callable[[Sent], str]] = {
    "number": lambda one: one.contact_numbers[0],
    "client_identifier": lambda one: one.client_identifier,
}
"""What calls are known by."""

Block = tuple[tuple[Rows, ...], Rows]
ONE_BATCH: Block = (((1, 2, 3, 4),), ())
BLOCKS = st.lists(
    st.sampled_from(
        [
            ONE_BATCH,
            (((1, 2), (3, 4)), ()),
            (((1,), (2, 3)), (4,)),
            (((1, 2, 4),), (3,)),
            ((), (1, 2, 3, 4)),
        ]
    ),
    min_size=1,
    max_size=2,
)
"""What four rows of a list become: batches, and rows left out. There are few of these, and a call
depends on its row alone, so many batches have the same bytes as one of another list; as have the
halves of one list's batches and whole batches of another's."""


class Call(NamedTuple):
    """A verb, to be done by the model and by the journal."""

    verb: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def by(self, who: object) -> Any:
        """Do it; a journal returns what is to be awaited."""
        return getattr(who, self.verb)(*self.arguments, **self.named)

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.named.items()]
        return f"{self.verb}({', '.join([*map(repr, self.arguments), *named])})"


class Done(NamedTuple):
    """A verb and what came of it, for the report of a failure; most are never shown."""

    what: Call
    outcome: Any

    def __repr__(self) -> str:
        return f"{self.what} -> {self.outcome!r}"


def call(verb: str, *arguments: Any, **named: Any) -> Call:
    """Return a verb with what it is to be done with."""
    return Call(verb, arguments, named)


@cache
def index_below(number: int) -> st.SearchStrategy[int]:
    """Return what chooses one of so many; made once, as there are thousands of choices."""
    return st.integers(0, number - 1)


def foretold(what: Call, model: Model) -> Any:
    """Return what a verb must return, or the class of what it must raise."""
    try:
        return what.by(model)
    except (TransitionError, RunError, sqlite3.IntegrityError) as error:
        return type(error)
    finally:
        model.sweep()


class JournalMachine(RuleBasedStateMachine):
    """Two or three processes at one journal, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-machine-"))
        self.path = self.folder / "journal.db"
        self.runner = asyncio.Runner()
        self.model = Model()
        self.steady, self.ahead = NOW, 0.0
        self.processes = [self._process(), self._process()]
        self.books = SqliteBooks(self.path)
        self.gone: set[str] = set()
        self.in_hand: list[tuple[str, Claim]] = []
        """Every claim that was handed out, and to whom: no process knows which of its own are
        over."""
        self.believed: dict[tuple[str, int], float] = {}
        """What living processes rightly believe to hold, and until when."""
        self.data: st.DataObject
        """Where choices are drawn from, from `begin` on."""
        self.fixed = False
        """Whether the first is taken wherever there is a choice."""
        self.final: dict[int, dict[str, Any]] = {}

    def _process(self) -> SqliteJournal:
        journal = SqliteJournal(self.path)
        # Nobody pulls the plug here, so what a commit costs on this disk need not be waited for.
        journal._writer._connection.execute("PRAGMA synchronous = OFF")
        return journal

    # ---- doing things, on both sides

    def _do(self, journal: SqliteJournal, *calls: Call) -> None:
        """Do verbs, all at once if there are several; each must end as the model says."""
        expected = [foretold(what, self.model) for what in calls]

        async def together() -> list[Any]:
            verbs = [what.by(journal) for what in calls]
            return await asyncio.gather(*verbs, return_exceptions=True)

        outcomes = self.runner.run(together())
        for what, outcome, foreseen in zip(calls, outcomes, expected, strict=True):
            note(Done(what, outcome))
            if isinstance(outcome, Exception):
                assert type(outcome) is foreseen, what
            else:
                assert outcome == foreseen, what
                self._learn(what, outcome)

    def _learn(self, what: Call, outcome: Any) -> None:
        """Keep in mind what the process that did a verb now holds, as far as it can know."""
        match what.verb, what.arguments:
            case "claim", _:
                owner, until = what.named["owner"], what.named["now"].steady + what.named["lease"]
                self.in_hand += [(owner, claim) for claim in outcome]
                self._believe(owner, until, *(claim.batch for claim in outcome))
            case "send", (claim, _, owner, now, lease) if isinstance(outcome, int) or outcome.halve:
                self._believe(owner, now.steady + lease, claim.batch)
            case "replay", (claim, owner, now, lease):
                self._believe(owner, now.steady + lease, claim.batch)
            case "renew", (owner, now, lease):  # lost ones too, so it lengthens no belief
                for key in [key for key in self.believed if key[0] == owner]:
                    self.believed[key] = min(self.believed[key], now.steady + lease)
            case "release", (batches, owner):
                self._believe(owner, 0.0, *batches)
            case (("send" | "split"), (claim, _, owner, *_)):
                self._believe(owner, 0.0, claim.batch)
            case "settle", (batch, _, owner, _):
                self._believe(owner, 0.0, batch)
            case (("refuse" | "expire"), (batch, owner, _, _)):
                self._believe(owner, 0.0, batch)
            case _:
                self._learn_of_single(what, outcome)

    def _learn_of_single(self, what: Call, outcome: Any) -> None:
        match what.verb, what.arguments:
            case "admit", (_, dash, _) if outcome.claim is not None:
                self.in_hand.append((dash.owner, outcome.claim))
                until = outcome.marked_at.steady + dash.lease
                self._believe(dash.owner, until, outcome.claim.batch)
            case "gather", (members, _, owner, now, lease):
                self.in_hand.append((owner, outcome))
                self._believe(owner, 0.0, *(member.batch for member in members))
                self._believe(owner, now.steady + lease, outcome.batch)

    def _believe(self, owner: str, until: float, *batches: int) -> None:
        if owner not in self.gone:
            self.believed |= {(owner, batch): until for batch in batches}

    def _now(self) -> Moment:
        """Return a moment that never comes again, on either clock."""
        self.steady += TICK
        return Moment(self.steady + self.ahead, self.steady)

    # ---- choosing

    def _pick(self, label: str, options: Sequence[T]) -> T:
        return options[0 if self.fixed else self.data.draw(index_below(len(options)), label=label)]

    def _who(self) -> SqliteJournal:
        return self.processes[self._pick("process", range(len(self.processes)))]

    def _run(self, *kinds: Kind) -> int:
        runs = self.model.runs.values()
        return self._pick("run", [run.id for run in runs if run.new.kind in (kinds or Kind)])

    def _batch(self, *states: State) -> Kept:
        return self.model.batches[self._pick("batch", self.model.within(*states))]

    def _lease(self) -> float:
        return self._pick("lease", [60.0, HOUR])

    def _claim(self, run: int, owner: str) -> Call:
        limit, lease = self._pick("limit, lease", [(1, 60.0), (2, HOUR), (9, 60.0), (9, HOUR)])
        return call("claim", run, owner=owner, limit=limit, now=self._now(), lease=lease)

    def _send(self, claim: Claim, owner: str) -> Call:
        ways = [(FLOWS[0], 60.0), (FLOWS[0], HOUR), (FLOWS[0], HOUR), (FLOWS[1], HOUR)]
        flow, lease = self._pick("flow, lease", ways)
        head = Head(SECURITY_ID, flow).digest(claim.variant)
        return call("send", claim, head, owner, self._now(), lease)

    def _settle(self, one: Kept, owner: str) -> Call:
        """Choose what may come of a batch that is being sent."""
        calls, later = one.frozen.calls, self.steady + 10
        answer = {
            "all": Settlement(State.ACCEPTED, "accepted", accepted=calls, request_id="r"),
            "some": Settlement(State.ACCEPTED, "partial", REASON, 1, "r", answer=b"{}"),
            "no": Settlement(State.REFUSED, "bad_data", REASON, code=205),
            "lost": Settlement(State.IN_DOUBT, "lost", REASON),
            "unclear": Settlement(State.IN_DOUBT, "unclear", REASON, not_before=later, answer=b"?"),
            "not sent": Settlement(State.READY, "not_sent", REASON),
            "not now": Settlement(State.READY, "throttled", REASON, not_before=later, denied=True),
            "repeated": Settlement(State.READY, "repeated", REASON),
        }
        name = self._pick("answer", [*answer, "lost", "not now"])
        variant = min(one.variant + (name == "repeated"), MAX_VARIANT)
        settlement = replace(answer[name], variant=variant)
        return call("settle", one.id, settlement, owner, self._now().wall)

    def _split(self, one: Kept, owner: str, *, answered: bool) -> Call:
        """Choose how to split a batch: halved after an answer, else what is too late set apart."""
        cut = max(1, one.frozen.calls // 2)
        lost = self._pick("calls lost", [0, 0, 0, 1])
        parts = [frozen(rows) for rows in (one.rows[:cut], one.rows[cut + lost :]) if rows]
        return call(
            "split",
            one.claim(),
            parts if answered else parts[1:],
            owner,
            self._now().wall,
            answered=Settlement(State.SPLIT, "bad_data", code=205) if answered else None,
            reason=REASON,
            expired=None if answered else parts[0],
        )

    def _resolve(self, run: int, batches: list[int]) -> Call:
        outcomes = [State.READY, State.READY, State.ACCEPTED, State.ABANDONED]
        outcome = self._pick("outcome", outcomes)
        return call("resolve", run, batches, outcome, who=WHO, now=self._now())

    def _verbs(
        self, one: Kept, owner: str, claim: Claim | None = None
    ) -> dict[str, Callable[[], Call]]:
        """Return all verbs by which a batch moves, whatever state that is in and whoever has it."""
        held = claim or one.claim()
        return {
            "claim": lambda: self._claim(one.run, owner),
            "send": lambda: self._send(held, owner),
            "release": lambda: call("release", [one.id], owner),
            "refuse": lambda: call("refuse", one.id, owner, self._now().wall, REASON),
            "expire": lambda: call("expire", one.id, owner, self._now().wall, REASON),
            "part": lambda: self._split(one, owner, answered=False),
            "settle": lambda: self._settle(one, owner),
            "halve": lambda: self._split(one, owner, answered=True),
            "replay": lambda: call("replay", held, owner, self._now(), self._lease()),
            "resolve": lambda: self._resolve(one.run, [one.id]),
        }

    def _next(self, one: Kept, journal: SqliteJournal) -> Call:
        """Choose a verb that moves a batch on from the state that it is in."""
        verbs = self._verbs(one, one.owner or journal.owner)
        return verbs[self._pick("verb", FITTING[one.state])]()

    # ---- rules: runs and their lists

    @initialize(data=st.data(), third=st.booleans(), steps=st.integers(0, 25), blocks=BLOCKS)
    def begin(self, data: st.DataObject, third: bool, steps: int, blocks: list[Block]) -> None:
        """Begin two runs whose lists are the same so far, and work at them for a while."""
        self.data = data
        if third:
            self.processes.append(self._process())
        for identity in IDENTITIES[:2]:
            self._open(identity, blocks)
        self._begin(IDENTITIES[-1])
        if self._pick("read to its end", [False, False, True]):
            self._do(self._who(), call("finish_reading", 1, self._now().wall))
        self.work(steps)
        self.look_around(limit=99)

    def _open_more(self) -> None:
        """See to it that there is something to work at."""
        open_runs = [
            run.id
            for run in self.model.runs.values()
            if run.read_at is None
            and run.control is not Control.CANCELLED
            and run.new.kind is Kind.LIST
        ]
        if open_runs:
            self._append(open_runs[-1], [ONE_BATCH])
        else:
            self._open(f"more {len(self.model.runs)}", [ONE_BATCH])

    def _open(self, identity: str, blocks: list[Block]) -> None:
        self._begin(identity)
        self._append(len(self.model.runs), blocks)

    def _begin(self, identity: str) -> None:
        new = make_run(identity=identity, kind=KINDS.get(identity, Kind.LIST))
        self._do(self.processes[0], call("open_run", new, self._now().wall))

    @rule(
        blocks=BLOCKS,
        fault=st.sampled_from(["", "", "", "no run", "elsewhere", "too many", "too few"]),
    )
    def append(self, blocks: list[Block], fault: str) -> None:
        """Read some rows of a list; with a row lost, or standing elsewhere, nothing happens."""
        self._append(self._run(Kind.LIST), blocks, fault)

    def _append(self, run: int, blocks: list[Block], fault: str = "") -> None:
        first = after = self.model.runs[run].rows + 4 * (fault == "elsewhere")
        batches: list[Rows] = []
        left_out: list[LeftOutRow] = []
        for calls, others in blocks:
            batches += [tuple(first + row for row in rows) for rows in calls]
            left_out += [self._left_out(first + row) for row in others]
            first += 4
        noted = [row for rows in batches for row in rows]
        notes = self._pick("notes", [[], NOTES[:1], NOTES[1:], NOTES]) if noted else []
        append = call(
            "append",
            run + 1000 * (fault == "no run"),
            [frozen(rows) for rows in batches],
            left_out,
            after_row=after,
            last_row=first + (fault == "too few") - (fault == "too many"),
            notes=[(note, len(noted), noted[0]) for note in notes],
        )
        self._do(self._who(), append)

    def _left_out(self, row: int) -> LeftOutRow:
        return make_left_out(row, self._pick("state", list(LeftOut)))

    def _oversee(self) -> None:
        """Do what is done to a run as a whole."""
        run, now, yes = self._run(), self._now().wall, self._pick("yes", [False, True])
        control, current = self._pick("control", list(Control)), self.model.runs[run].control
        identity = self._pick("identity", IDENTITIES)
        new = make_run(identity=identity, kind=KINDS.get(identity, Kind.LIST))
        verbs = [
            call("open_run", new, now, again=yes),
            call("open_run", new, now, again=True),
            call("finish_reading", run, now, whole=yes),
            call("amend", run, FLOWS[yes], now if yes else None),
            call("control", run, control, [current], REASON if yes else None),
            call("control", run, Control.GO, [current]),
            call("cancel", run, now, REASON),
        ]
        self._do(self._who(), self._pick("verb", verbs))

    # ---- rules: single calls

    @rule(calls=st.lists(st.integers(1, 3), min_size=1, max_size=4), to_list=st.booleans())
    def admit(self, calls: list[int], to_list: bool) -> None:
        """Keep orders of single calls, some with a key, some sent in the same breath."""
        for number in calls:
            kinds = Kind if to_list and number == 1 else [Kind.INTAKE]
            self._do(self._who(), self._admit(self._run(*kinds), number))

    def _admit(self, run: int, calls: int) -> Call:
        journal, now, first = self._who(), self._now(), self.model.runs[run].rows + 1
        ask = Ask(
            "default", "bulk", journal.owner, run, 1.0, Limits(), headroom=0.5, ramp=0.0,
            wants=(calls,),
        )  # fmt: skip
        dash = Dash(ask, journal.owner, Head(SECURITY_ID, FLOWS[0]).digest, self._lease())
        new = NewOrder(
            f"order {self.steady}",
            run,
            frozen(tuple(range(first, first + calls))),
            self._pick("key", [None, None, None, *KEYS]),
            b"r" * 32,
        )
        return call("admit", new, self._pick("dash", [None, dash]), lambda: now)

    @precondition(lambda self: self._single(State.CLAIMED, State.READY))
    @rule(fault=st.sampled_from(["", "", "", "a call lost", "sent before", "another's"]))
    def gather(self, fault: str) -> None:
        """Claim what is ready of single calls, and put together what somebody holds of a run."""
        run, journal = (
            self.model.batches[self._single(State.CLAIMED, State.READY)[0]].run,
            self._who(),
        )
        self._do(journal, self._claim(run, journal.owner))
        held = [self.model.batches[number] for number in self._single(State.CLAIMED)]
        members = [one for one in held if one.run == run]
        if fault != "another's":
            members = [one for one in members if one.owner == journal.owner]
        if fault != "sent before":
            members = [one for one in members if not one.tried and one.parent is None]
        if not members:
            return
        rows = tuple(sorted(row for one in members for row in one.rows))
        whole = frozen(rows[: len(rows) - (fault == "a call lost" and len(rows) > 1)])
        claims = [one.claim() for one in members]
        self._do(journal, call("gather", claims, whole, journal.owner, self._now(), self._lease()))

    def _single(self, *states: State) -> list[int]:
        """Return the numbers of all batches of single calls in these states."""
        batches = [self.model.batches[number] for number in self.model.within(*states)]
        return [one.id for one in batches if one.came_at is not None]

    @precondition(lambda self: self._single(*State))
    @rule()
    def ask_when_calls_came(self) -> None:
        """Each has a moment of its own, whatever batch it is in by now."""
        one = self.model.batches[self._pick("batch", self._single(*State))]
        self._do(self._who(), call("arrivals", one.claim()))

    # ---- rules: batches

    @rule(steps=st.integers(3, 15))
    def work(self, steps: int) -> None:
        """Let all go as it should for a while: batches move on, each by whoever has it."""
        for _ in range(steps):
            if not self.model.within(*FITTING):
                self._open_more()
            self._move_on(self._batch(*FITTING))

    @precondition(lambda self: self.model.within(*FITTING))
    @rule(steps=st.integers(3, 15))
    def carry_on(self, steps: int) -> None:
        """Let one batch move on and on."""
        one = self._batch(*FITTING)
        for _ in range(steps):
            if one.state in FITTING:
                self._move_on(one)

    def _move_on(self, one: Kept) -> None:
        journal = self._who()
        meanwhile = self._pick("meanwhile", [""] * 6 + ["set the clock", "lose leases"])
        if meanwhile == "set the clock":
            self._pass_time(0, self._pick("hours", [-3, 2]))
        elif meanwhile == "lose leases":
            self._pass_time(61, 0)
            self._do(journal, call("recover", self._now(), 5.0))
        if one.state in FITTING:  # lost by a run that was taken back, it is at its end
            self._do(journal, self._next(one, journal))

    @precondition(lambda self: self.model.within(*HELD))
    @rule()
    def do_it_twice(self) -> None:
        """Move a batch on, and try the very same again, as another process perhaps."""
        what = self._next(self._batch(*HELD), self.processes[0])
        for _ in range(2):
            self._do(self._who(), what)

    @precondition(lambda self: self.model.within(*HELD))
    @rule(size=st.integers(2, 8))
    def do_much_at_once(self, size: int) -> None:
        """Do many things in one process at once, which commits them together: each for itself."""
        journal, calls = self._who(), []
        for _ in range(size):
            one = self._batch(*HELD)
            verbs = self._verbs(one, str(one.owner))
            calls.append(verbs[self._pick("verb", [*verbs, *FITTING[one.state]])]())
        self._do(journal, *calls)

    @precondition(lambda self: self.in_hand)
    @rule()
    def wake_up_late(self) -> None:
        """Do anything with a claim that was handed out once, as whoever got it."""
        owner, claim = self.in_hand[self._pick("claim", range(len(self.in_hand)))]
        verbs = self._verbs(self.model.batches[claim.batch], owner, claim)
        self._do(self._who(), verbs[self._pick("verb", list(verbs))]())

    @rule(limit=st.sampled_from([1, 99]))
    def look_around(self, limit: int) -> None:
        """Ask what there is to ask of a run, and try all that must not be done: nothing changes."""
        doubts, settled = self.model.within(State.IN_DOUBT), self.model.within(*State)[-1:]
        asked = sorted({self.model.batches[number].run for number in doubts})
        run = self._pick("run", asked or list(self.model.runs))
        before = [one.row() for one in self.model.batches.values()]
        self.fixed = True
        self._ask(run, limit)
        self._read_the_books(run)
        calls = self._not_with_run(run)
        for number in {*self.model.within(*FITTING), *settled}:
            calls += self._not_with_batch(self.model.batches[number])
        self._do(self._who(), *calls)
        self.fixed = False
        assert before == [one.row() for one in self.model.batches.values()]

    def _not_with_run(self, run: int) -> list[Call]:
        """Return what must not be done with a run as it is, and what of it must not be had."""
        begun, now, none = self.model.runs[run], self._now(), 1000
        others = [control for control in Control if control is not begun.control]
        elsewhere = begun.rows if begun.read_at else begun.rows + 1
        claim = {"owner": self.processes[0].owner, "limit": 9, "now": now, "lease": HOUR}
        return [
            call("control", run, Control.GO, others),
            call("control", none, Control.GO, list(Control)),
            call("amend", none, FLOWS[0], None),
            call("finish_reading", run if begun.read_at else none, now.wall),
            call("append", run, [], [], after_row=elsewhere, last_row=elsewhere),
            call("claim", none, **claim),
            call("cancel", none, now.wall, REASON),
            call("open_run", begun.new, now.wall),
            call("renew", "nobody", now, HOUR),
            call("control", run, Control.PAUSED, list(Control)),
            call("claim", run, **claim),
            call("doubts", run, limit=9, now=now, within=40 * 24 * HOUR, today=str(DAY), but=[]),
            call("control", run, begun.control, list(Control), begun.reason),
        ]

    def _not_with_batch(self, one: Kept) -> list[Call]:
        """Return what must not be done with a batch as it is, by its holder and by a stranger."""
        stranger = next(who.owner for who in self.processes if who.owner != one.owner)
        holder, now, claim = one.owner or stranger, self._now(), one.claim()
        calls = []
        for owner in dict.fromkeys((holder, stranger)):
            fits = FITTING.get(one.state, []) if owner == holder or one.state not in HELD else []
            verbs = self._verbs(one, owner)
            calls += [verbs[verb]() for verb in verbs if verb not in {"claim", *fits}]
        less = [frozen(one.rows[1:])] if one.frozen.calls > 1 else []
        if one.state is State.CLAIMED:
            calls += [call("release", [one.id, other], holder) for other in (one.id, 0)]
            calls.append(call("split", claim, less, holder, now.wall, reason=REASON))
        if one.state is State.SENDING:
            said = [Settlement(state, "?", REASON) for state in NO_ANSWER]
            said += [Settlement(State.ACCEPTED, "?", REASON, accepted) for accepted in (0, 501)]
            calls += [call("settle", one.id, settlement, holder, now.wall) for settlement in said]
            no = Settlement(State.SPLIT, "bad_data")
            calls.append(call("split", claim, less, holder, now.wall, answered=no, reason=REASON))
        if one.state is State.IN_DOUBT:
            claims = [replace(claim, attempts=claim.attempts + more) for more in (-1, 1)]
            calls += [call("replay", claim, stranger, now, HOUR) for claim in claims]
            who: dict[str, Any] = {"who": WHO, "now": now}
            other = one.run % len(self.model.runs) + 1
            calls += [call("resolve", one.run, [one.id], state, **who) for state in NO_RESOLUTION]
            calls += [
                call("resolve", one.run, [one.id, n], State.READY, **who) for n in (one.id, 0)
            ]
            calls.append(call("resolve", other, [one.id], State.READY, **who))
        return calls

    # ---- rules: doubts

    def _ask(self, run: int, limit: int) -> None:
        """Ask what a run waits for and which doubts may be replayed, by windows of all kinds."""
        journal, now = self._who(), self._now()
        dates = [str(DAY + timedelta(days=days)) for days in (0, 1, 2)]
        windows: list[tuple[float, str, list[int]]] = [(600.0, dates[0], [])]
        for one in self.model.of(run, State.IN_DOUBT)[:1]:
            first = one.doubted or now
            for age in (now.wall - first.wall, now.steady - first.steady):
                # By either clock it is just too old, or just young enough.
                windows += [(age, dates[0], []), (age + TICK, dates[0], [])]
            windows += [(40 * 24 * HOUR, today, []) for today in dates]
            windows.append((40 * 24 * HOUR, dates[0], [one.id]))
        for within, today, but in windows:
            which: dict[str, Any] = {"now": now, "within": within, "today": today, "but": but}
            self._do(journal, call("next_work", run, **which))
            expected = {claim.batch: claim for claim in self.model.doubts(run, limit=1000, **which)}
            found = self.runner.run(journal.doubts(run, limit=limit, **which))
            assert len({claim.batch for claim in found}) == min(limit, len(expected))
            assert found == [expected.get(claim.batch) for claim in found]
            self.in_hand += [(journal.owner, claim) for claim in found]

    def _read_the_books(self, run: int) -> None:
        """See that a run's books hold every row once, in a living batch or left out."""
        batches, left_out = list(self.books.batches(run)), list(self.books.left_out(run))
        for batch in batches:
            one = self.model.batches[batch.batch]
            assert (batch.state, tuple(batch.rows)) == (one.state, one.rows)
            assert compress(batch.calls or b"") == one.frozen.body
            assert (batch.answer, batch.request_id) == (one.answer, one.request_id)
        assert left_out == self.model.runs[run].left_out
        rows = [row for batch in batches for row in batch.rows] + [one.row for one in left_out]
        assert sorted(rows) == list(range(1, self.model.runs[run].rows + 1))
        self._read_keys(run)

    def _read_keys(self, run: int) -> None:
        """See whom the books say a run has called, and all others."""
        new = self.model.runs[run].new
        called = [make_call(row) for row in self.model.called(run)]
        others = [make_call(row) for row in self.model.placed(but_not=run)]
        for by, key_of in KEY_OF.items():
            found = self.books.placed_in(run, by)
            assert sorted(chain(*found)) == [key_of(one) for one in called]
            found = self.books.placed(new.campaign, new.account, since=0.0, by=by, but_not=run)
            assert sorted(chain(*found)) == [key_of(one) for one in others]

    @precondition(lambda self: any(claim.replay for _, claim in self.in_hand))
    @rule(times=st.integers(1, 2))
    def replay(self, times: int) -> None:
        """Replay a doubt that was offered once, to whomever, as one process or two."""
        claim = self._pick("offer", [claim for _, claim in self.in_hand if claim.replay])
        for _ in range(times):
            journal = self._who()
            self._do(journal, call("replay", claim, journal.owner, self._now(), HOUR))

    # ---- rules: what else happens

    @rule(event=st.sampled_from(["time", "oversight", "oversight", "renewal", "end", "crash"]))
    def happen(self, event: str) -> None:
        """Let something happen that is no work at a batch."""
        if event == "time":
            seconds = self._pick("seconds", [20.0, 61.0, 700.0, 2 * HOUR])
            self._pass_time(seconds, self._pick("hours", [0, 0, -720, -3, 2]))
        elif event == "oversight":
            self._oversee()
        elif event == "renewal":
            journal = self._who()
            self._do(journal, call("renew", journal.owner, self._now(), self._lease()))
        else:
            self._end(well=event == "end")

    def _pass_time(self, seconds: float, hours: int) -> None:
        """Let time pass, and somebody set the clock."""
        self.steady += seconds
        self.ahead += hours * HOUR

    @rule()
    def recover(self) -> None:
        """Take back what was lost and claim, at the very moment perhaps at which one can."""
        batches = self.model.batches.values()
        times = {time for one in batches for time in (one.lease_until, one.not_before) if time}
        moments = [self.steady + TICK, *sorted(time for time in times if time > self.steady + TICK)]
        self.steady = self._pick("moment", moments) - TICK
        journal, now = self._who(), self._now()
        self._do(journal, call("recover", now, self._pick("replay after", [0.0, 5.0])))
        for run in self.model.runs:
            self._do(journal, call("claim", run, owner=journal.owner, limit=1, now=now, lease=60.0))

    def _end(self, *, well: bool) -> None:
        """End a process, well or without a word; another takes its place, and recovers perhaps."""
        holders = {one.owner for one in self.model.batches.values()}
        numbers = range(len(self.processes))
        holding = [number for number in numbers if self.processes[number].owner in holders]
        number = self._pick("process", holding or numbers)
        journal = self.processes[number]
        if well:
            self.runner.run(journal.close())
        else:
            journal._sign.leave()  # what the system does when a process ends
            self.runner.run(journal._writer.close())
        if journal.owner in holders or not well:  # one that holds nothing takes its sign away
            self.model.dead.add(journal.owner)
        self.gone.add(journal.owner)
        self.processes[number] = self._process()
        self.believed = {k: until for k, until in self.believed.items() if k[0] != journal.owner}
        if self._pick("recover", [True, False]):
            self._do(self.processes[number], call("recover", self._now(), 5.0))

    # ---- what must hold after every step

    def _table(self, statement: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.books._connection.execute(statement)]

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """Compare every batch, attempt and run, and the sums."""
        batches = self.model.batches.values()
        assert self._table("SELECT * FROM batch ORDER BY id") == [one.row() for one in batches]
        attempts = self._table(
            "SELECT batch, n, sent_at, steady_at, head_sha256, ended_at, verdict"
            "  FROM attempt ORDER BY batch, n"
        )
        tried = [tried.row(one.id, n) for one in batches for n, tried in enumerate(one.tried, 1)]
        assert attempts == tried
        # How a run that is opened anew is told from the one before it is the journal's affair.
        runs = [replace(run, identity="") for run in self.books.runs(1000)]
        begun = [replace(run.run(), identity="") for run in self.model.runs.values()]
        assert runs == begun[::-1]
        for run in self.model.runs:
            assert self.books.counts(run) == self.model.counts(run)
            doubts = sorted(self.books.doubts(run), key=lambda doubt: doubt.batch)
            in_doubt = [one for one in batches if (one.run, one.state) == (run, State.IN_DOUBT)]
            assert doubts == [one.doubt() for one in in_doubt]
            assert sorted(self.books.notes(run, 99)) == sorted(self.model.notes(run))

    @invariant()
    def promises_are_kept(self) -> None:
        """See that no row is lost or doubled, what has ended stays so, no bytes go out twice."""
        batches = self._table("SELECT * FROM batch")
        for run in self._table("SELECT * FROM run"):
            alive = [b for b in batches if b["run"] == run["id"] and b["state"] != State.SPLIT]
            left_out = run["rejected"] + run["suppressed"] + run["duplicates"]
            assert run["rows"] == left_out + run["calls"]
            assert run["calls"] == sum(batch["calls"] for batch in alive)
            rows = [row for batch in alive for row in self.model.batches[batch["id"]].rows]
            rows += [one.row for one in self.model.runs[run["id"]].left_out]
            assert sorted(rows) == list(range(1, run["rows"] + 1))
        for batch in batches:
            assert batch == self.final.get(batch["id"], batch)
            if batch["state"] in {*SETTLED, State.SPLIT}:
                self.final[batch["id"]] = batch
            assert batch["reason"] or batch["state"] not in LEFT_OUT
        sending = [b for b in batches if b["state"] == State.SENDING]
        assert len({(b["sha256"], b["head_sha256"]) for b in sending}) == len(sending)

    @invariant()
    def nobody_is_robbed(self) -> None:
        """See that what a living process holds stays with it until its lease is over.

        So no two processes can both have reason to send a batch.
        """
        owners = {one["id"]: one["owner"] for one in self._table("SELECT id, owner FROM batch")}
        for (owner, batch), until in self.believed.items():
            assert until <= self.steady or owners[batch] == owner

    @invariant()
    def signs_are_there(self) -> None:
        """See that living processes have a sign, and but for them those that just died."""
        owners = {journal.owner for journal in self.processes} | self.model.dead
        signs = {file.name.rsplit("-", 1)[-1] for file in self.folder.glob("*-alive-*")}
        assert signs == {owner.rsplit(":", 1)[-1] for owner in owners}

    def teardown(self) -> None:
        """End all processes and leave nothing behind."""
        self.books.close()
        for journal in self.processes:
            self.runner.run(journal.close())
        self.runner.close()
        shutil.rmtree(self.folder)


def test_any_order_of_verbs() -> None:
    """Whatever is done to a journal, in any order, it does as the model does."""
    run_state_machine_as_test(
        JournalMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # Verbs wait for threads and files, on a machine that others use too.
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
