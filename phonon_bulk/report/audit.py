"""The five promises, recomputed from the journal alone.

Nothing here trusts a sum that the journal keeps: rows are counted one by one, bodies are thawed and
hashed, what became of each batch is derived anew from what was answered to it.

    1 conservation    every row is in one place, every call in one state
    2 frozen bytes    what was frozen is unharmed, and was sent again only byte for byte
    3 no guess        each batch's state follows from its answers, or from what a person decided
    4 the limit       the worst 60 seconds, by when requests were marked as sending
    5 bad input       whatever was left out has a reason, and took nothing else with it
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut
from phonon_bulk.errors import DamagedBodyError, PhononBulkError
from phonon_bulk.journal import Run
from phonon_bulk.journal.evidence import Frozen, History, SqliteEvidence, Try
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.report.summary import summarize
from phonon_bulk.report.windows import SettingsLimits, worst_windows
from phonon_bulk.response import Verdict

_SHOWN = 5
"""Faults that are listed of each promise."""

_FIRST_OF_A_CALL = b'{"client-identifier":'
"""Stands once in each frozen call: within a text its quotes would be escaped."""


@dataclass(slots=True)
class Finding:
    """One promise: whether it holds, and what was looked at."""

    number: int
    promise: str
    seen: str
    faults: list[str] = field(default_factory=list)
    """What breaks it; free of contact data."""

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for `--json`."""
        return {**asdict(self), "holds": self.holds}


def audit(evidence: SqliteEvidence, run: int | None, settings: SettingsLimits) -> list[Finding]:
    """Return what is found of each promise, for one run or for all.

    `settings` are the limits set now, where the journal doesn't know those of then.
    """
    with evidence.snapshot():
        runs = [evidence.run(run)] if run is not None else evidence.runs(-1)
        return [
            _conservation(evidence, runs, run),
            _frozen_bytes(evidence, run),
            _no_guess(evidence, run),
            _limit(evidence, run, settings),
            _bad_input(evidence, run),
        ]


# ---- 1


def _conservation(evidence: SqliteEvidence, runs: list[Run], run: int | None) -> Finding:
    finding = conservation(evidence, runs)
    for batch, calls, in_parts in evidence.uneven_splits(run):
        finding.faults.append(f"batch {batch} had {calls} calls, its parts have {in_parts}")
    return finding


def conservation(evidence: SqliteEvidence, runs: Sequence[Run]) -> Finding:
    """Return whether every row of these runs is in one place, and every call in one state."""
    rows = sum(run.rows for run in runs)
    seen = f"{len(runs):,} runs, {rows:,} rows"
    finding = Finding(1, "every row is accounted for once, and every call is in one state", seen)
    for run in runs:
        try:
            summarize(evidence, run.id)
        except PhononBulkError as error:
            finding.faults.append(str(error))
        finding.faults += _miscounted_rows(evidence, run)
        finding.faults += _misplaced_rows(evidence, run)
    return finding


def _miscounted_rows(evidence: SqliteEvidence, run: Run) -> Iterator[str]:
    """Yield a line for each state of which a run says another number of rows than there are."""
    found = evidence.left_out_counts(run.id)
    counts = {
        LeftOut.REJECTED: run.rejected,
        LeftOut.SUPPRESSED: run.suppressed,
        LeftOut.DUPLICATE: run.duplicates,
    }
    for state, count in counts.items():
        if (rows := found.get(state, 0)) != count:
            yield f"run {run.id} says that {count:,} rows are {state}, and {rows:,} are"


def _misplaced_rows(evidence: SqliteEvidence, run: Run) -> Iterator[str]:
    """Yield a line if rows of a run's list are nowhere, or in several places."""
    places = bytearray(run.rows + 1)
    doubled = outside = 0
    for rows in _rows_of(evidence, run.id):
        if isinstance(rows, range) and rows.stop <= run.rows + 1 and rows.start >= 1:
            doubled += sum(places[rows.start : rows.stop])
            places[rows.start : rows.stop] = bytes([1]) * len(rows)
            continue
        for row in rows:
            if 1 <= row <= run.rows:
                doubled += places[row]
                places[row] = 1
            else:
                outside += 1
    missing = run.rows - sum(places)
    for count, where in ((missing, "nowhere"), (doubled, "in two places"), (outside, "no row")):
        if count:
            yield f"run {run.id}: {count:,} rows of its list are {where}"


def _rows_of(evidence: SqliteEvidence, run: int) -> Iterator[Iterable[int]]:
    for frozen in evidence.frozen(run):
        if frozen.state is not State.SPLIT:
            yield _rows_in(frozen)
    yield (row.row for row in evidence.left_out(run))


def _rows_in(frozen: Frozen) -> Iterable[int]:
    try:
        return thaw_rows(frozen.first_row, frozen.calls, frozen.rows)
    except DamagedBodyError:
        return ()


# ---- 2


def _frozen_bytes(evidence: SqliteEvidence, run: int | None) -> Finding:
    finding = Finding(2, "bodies are as they were frozen, and were sent again byte for byte", "")
    bodies = pruned = 0
    for frozen in evidence.frozen(run):
        if frozen.is_pruned:
            pruned += 1
        else:
            bodies += 1
            finding.faults += _harm_to(frozen)
    for history in evidence.histories(run):
        if _changed_in_doubt(history):
            finding.faults.append(f"batch {history.batch} was in doubt, and sent in other bytes")
    for batch, batches in evidence.accepted_twice(run):
        finding.faults.append(f"{batches} batches with the bytes of batch {batch} were accepted")
    finding.seen = f"{bodies:,} bodies"
    if pruned:
        finding.seen += f"; {pruned:,} more were pruned, with the contact data of their runs"
    return finding


def _harm_to(frozen: Frozen) -> Iterator[str]:
    if frozen.body is None:
        yield f"batch {frozen.batch} has no body"
        return
    try:
        calls = thaw(frozen.body)
        rows = len(thaw_rows(frozen.first_row, frozen.calls, frozen.rows))
    except DamagedBodyError as error:
        yield f"batch {frozen.batch}: {error}"
        return
    if sha256(calls).digest() != frozen.sha256 or len(calls) != frozen.size:
        yield f"batch {frozen.batch} is not as it was frozen"
    elif not calls.count(_FIRST_OF_A_CALL) == rows == frozen.calls:
        yield f"batch {frozen.batch} holds another number of calls than it says"


def _changed_in_doubt(history: History) -> bool:
    """Say whether bytes that may have arrived were followed by others, and no person said so."""
    pairs = zip(history.tries, history.tries[1:], strict=False)
    for number, (before, after) in enumerate(pairs, 1):
        decided = any(after_try == number for after_try, _ in history.resolutions)
        known = before.head_sha256 is not None and after.head_sha256 is not None
        changed = known and before.head_sha256 != after.head_sha256
        if _leaves_doubt(before) and changed and not decided:
            return True
    return False


# ---- 3


def _leaves_doubt(one: Try) -> bool:
    return one.verdict is None or one.verdict in {Verdict.LOST, Verdict.UNCLEAR}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a batch after some of its tries."""

    state: State = State.READY
    """ACCEPTED, IN_DOUBT or ABANDONED; or READY, which stands for: nothing was placed."""
    may_be_taken: bool = False
    """Some try of the bytes that are sent now may have arrived."""
    denied: bool = False
    """Some try of these bytes was answered with a clear no, and may have left its checksum."""
    by_hand: bool = False
    """A person has sent it again since it was in doubt last."""


def state_by_evidence(history: History) -> State:
    """Return what is known of a batch by its answers and by what persons decided, nothing else."""
    known, decisions, bytes_before = Known(), deque(history.resolutions), None
    for number, one in enumerate(history.tries):
        while decisions and decisions[0][0] <= number:
            known = replace(known, state=decisions.popleft()[1], by_hand=True)
        if one.head_sha256 != bytes_before:  # what was answered to other bytes says nothing here
            bytes_before, known = one.head_sha256, Known(known.state)
        known = _after(one, known)
    return decisions[-1][1] if decisions else known.state


def _after(one: Try, known: Known) -> Known:
    """Return what is known after one more try: the rules of retry.py, written down once more."""
    if _leaves_doubt(one):
        return replace(known, state=State.IN_DOUBT, may_be_taken=True, by_hand=False)
    match Verdict(one.verdict or ""):
        case Verdict.ACCEPTED | Verdict.PARTIAL:
            return replace(known, state=State.ACCEPTED)
        case Verdict.BAD_DATA if known.by_hand or not known.may_be_taken:
            return replace(known, state=State.READY, may_be_taken=False)
        case Verdict.REPEATED if known.may_be_taken and not known.denied:
            return replace(known, state=State.ACCEPTED)
        case Verdict.THROTTLED | Verdict.SETUP | Verdict.ACCOUNT:
            known = replace(known, denied=True)
    return replace(known, state=State.IN_DOUBT) if known.may_be_taken else known


_NOT_PLACED = {
    State.READY,
    State.CLAIMED,
    State.REFUSED,
    State.SPLIT,
    State.EXPIRED,
    State.CANCELLED,
}


def _no_guess(evidence: SqliteEvidence, run: int | None) -> Finding:
    finding = Finding(3, "each batch is in the state that its answers prove", "")
    batches = tries = 0
    for history in evidence.histories(run):
        batches, tries = batches + 1, tries + len(history.tries)
        proved, state = state_by_evidence(history), history.state
        if state is State.SENDING:
            right = not history.tries[-1].ended
        elif proved is State.READY:
            right = state in _NOT_PLACED
        else:
            right = state is proved
        if not right:
            finding.faults.append(f"batch {history.batch} is {state}, its answers say {proved}")
    for batch, counted, noted in evidence.uneven_counts(run):
        finding.faults.append(f"batch {batch} was sent {counted} times, {noted} are noted")
    finding.seen = f"{batches:,} batches sent, {tries:,} times"
    return finding


# ---- 4


def _limit(evidence: SqliteEvidence, run: int | None, settings: SettingsLimits) -> Finding:
    finding = Finding(4, "no 60 seconds hold more requests or calls than the limit then", "")
    windows = worst_windows(evidence.posts(run), evidence.limit_changes(), settings)
    seen = []
    for window in windows:
        of = "" if window.limit is None else f" of {window.limit:,}"
        text = f"{window.endpoint} ({window.account}): at most {window.most:,} {window.unit}{of}"
        seen.append(text)
        if window.over:
            finding.faults.append(text)
    finding.seen = "; ".join(seen) or "nothing was sent"
    return finding


# ---- 5


def _bad_input(evidence: SqliteEvidence, run: int | None) -> Finding:
    finding = Finding(5, "what was left out has a reason, and took nothing else with it", "")
    for what, number in evidence.unexplained(run):
        finding.faults.append(f"{what} {number} was left out, and no reason is written down")
    for batch, calls in evidence.refused_together(run):
        finding.faults.append(f"the {calls} calls of batch {batch} were refused together")
    finding.seen = "all rows and batches that were not placed"
    return finding


# ---- in words


def to_text(findings: Iterable[Finding]) -> str:
    """Return the findings as an operator reads them."""
    lines = []
    for finding in findings:
        mark = "holds " if finding.holds else "BROKEN"
        lines.append(f"{mark}  {finding.number}. {finding.promise}")
        lines.append(f"        {finding.seen}")
        lines += [f"        ! {fault}" for fault in finding.faults[:_SHOWN]]
        if len(finding.faults) > _SHOWN:
            lines.append(f"        ! and {len(finding.faults) - _SHOWN:,} more")
    return "\n".join(lines)
