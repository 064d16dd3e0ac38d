"""Holds the books of both sides of a soak against each other, and looks at the worker's memory."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import orjson
from builders import SECURITY_ID
from soaking.callers import Asked
from soaking.operators import List, states_of
from soaking.stage import LIMITS, Sample, Stage

from phonon_bulk.journal.books import SqliteBooks

FLAT = 1.05
"""The worker's memory in the last third of a life, beside that in the first, at most."""

_END = frozenset({"accepted", "refused", "expired", "cancelled", "abandoned"})
_CONTACT = re.compile(rb"9190\d{8}|[LS]\d{4,}-?\d{3,}|Asha")
_MOST_RUNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Life:
    """The memory of one worker that lived undisturbed."""

    seconds: float
    first: float
    """Bytes in the first third, the median."""
    last: float
    files: tuple[int, int]
    """Open files and sockets: the median of the first third, and of the last."""

    @property
    def ratio(self) -> float:
        """The last third to the first."""
        return self.last / self.first

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record."""
        return {
            "seconds": round(self.seconds),
            "first_third_mb": round(self.first / 1e6, 1),
            "last_third_mb": round(self.last / 1e6, 1),
            "last_to_first": round(self.ratio, 3),
            "open_files_first_and_last_third": self.files,
        }


@dataclass
class Verdict:
    """What came of a soak."""

    wrong: list[str]
    figures: dict[str, Any]
    lives: list[Life] = field(default_factory=list)
    whole: Life | None = None
    """All workers together, from the first minute to the last."""

    @property
    def good(self) -> bool:
        """Whether every call is in exactly one state, and the books agree."""
        return not self.wrong

    @property
    def flat(self) -> bool:
        """Whether memory did not grow in any life."""
        return all(life.ratio <= FLAT for life in self.lives)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record."""
        whole = self.whole.to_dict() if self.whole else None
        lives = [life.to_dict() for life in self.lives]
        return {**self.figures, "memory": {"lives": lives, "whole": whole}, "wrong": self.wrong}


def judge(
    stage: Stage,
    orders: Sequence[Asked],
    tickets: Mapping[str, str],
    lists: Sequence[List],
    spans: Sequence[tuple[float, float]],
) -> Verdict:
    """Return what came of a soak that is over, and whose worker has ended."""
    journal = _journal(stage, lists)
    ledger = Counter(call["client-identifier"] for call in stage.simulator.ledger())
    wrong = stage.wrong
    wrong += _disagreements(journal, ledger)
    wrong += _not_kept(journal, orders, lists)
    wrong += [
        f"{name} is {journal.get(name)}, its ticket says {state}"
        for name, state in tickets.items()
        if journal.get(name) != state
    ][:10]
    wrong += _over_limits(stage)
    wrong += _said(stage)
    audit = stage.desk.run("audit")
    wrong += [] if audit.exit == 0 else [f"audit: {audit.out}"]
    lives = [_life(_within(stage.samples, span)) for span in spans]
    return Verdict(
        wrong=wrong,
        figures=_figures(stage, journal, ledger, orders, lists),
        lives=[life for life in lives if life],
        whole=_life(stage.samples),
    )


# ---- the books


def _journal(stage: Stage, lists: Sequence[List]) -> dict[str, str]:
    """Return the state of every contact; of pruned runs, as it was before."""
    pruned = {one.run: one.pruned for one in lists if one.pruned is not None}
    with SqliteBooks(stage.journal) as books:
        runs = [run.id for run in books.runs(_MOST_RUNS)]
        _compare_pruned(stage, books, pruned)
    found: dict[str, str] = {}
    for run in runs:
        states = pruned.get(run) or states_of(stage, run)
        twice = found.keys() & states.keys()
        if twice:
            stage.wrong.append(f"run {run} has {len(twice)} contacts that another has too")
        found |= states
    return found


def _compare_pruned(
    stage: Stage, books: SqliteBooks, pruned: Mapping[int | None, dict[str, str]]
) -> None:
    for run, states in pruned.items():
        assert run is not None
        before = Counter(states.values())
        after = {state: calls for state, calls in books.counts(run).calls.items() if calls}
        for state in _END:
            if before[state] != after.get(state, 0):  # type: ignore[call-overload]
                stage.wrong.append(f"run {run}: {before[state]} {state}, pruned: {after}")


def _disagreements(journal: Mapping[str, str], ledger: Counter[str]) -> list[str]:
    accepted = {name for name, state in journal.items() if state == "accepted"}
    counts = {
        "called twice": sum(count > 1 for count in ledger.values()),
        "accepted in the journal, and not in the ledger": len(accepted - ledger.keys()),
        "in the ledger, and not accepted in the journal": len(ledger.keys() - accepted),
        "in no state of end": sum(state not in _END for state in journal.values()),
    }
    return [f"{count} contacts {what}" for what, count in counts.items() if count]


def _not_kept(
    journal: Mapping[str, str], orders: Sequence[Asked], lists: Sequence[List]
) -> list[str]:
    of_orders = [name for order in orders for name in order.names]
    of_lists = [name for one in lists if not one.cancelled for name in one.names]
    known = {*of_orders, *(name for one in lists for name in one.names)}
    counts = {
        "calls taken by the intake are not in the journal": len(set(of_orders) - journal.keys()),
        "contacts of lists are not in the journal": len(set(of_lists) - journal.keys()),
        "contacts of the journal were never handed in": len(journal.keys() - known),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def _over_limits(stage: Stage) -> list[str]:
    return [
        f"{endpoint}: {worst} requests in 60 seconds"
        for endpoint, worst in _worst(stage).items()
        if worst > LIMITS[endpoint]
    ]


def _worst(stage: Stage) -> dict[str, int]:
    """Return the most requests that came in any 60 seconds, by endpoint."""
    moments: dict[str, list[float]] = {endpoint: [] for endpoint in LIMITS}
    for request in stage.simulator.requests():
        moments[request["endpoint"]].append(request["received-at"])
    return {endpoint: _most(of) for endpoint, of in moments.items()}


def _most(moments: Sequence[float]) -> int:
    fullest = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= 60:
            first += 1
        fullest = max(fullest, last - first + 1)
    return fullest


def _said(stage: Stage) -> list[str]:
    """Return what the worker's log must not hold."""
    log = stage.log.read_bytes()
    found = {
        "a trace": b"Traceback" in log,
        "the security id": SECURITY_ID.encode() in log,
        "contact data": _CONTACT.search(log) is not None,
        "a task that died": b"task.died" in log,
        "a fault of the intake": b"intake.fault" in log,
    }
    return [f"the worker's log has {what}" for what, is_there in found.items() if is_there]


# ---- memory


def _within(samples: Sequence[Sample], span: tuple[float, float]) -> list[Sample]:
    """Return the samples of the one worker that lived longest in a span."""
    inside = [sample for sample in samples if span[0] <= sample.at <= span[1]]
    pids = Counter(sample.pid for sample in inside)
    return [sample for sample in inside if sample.pid == pids.most_common(1)[0][0]]


def _life(samples: Sequence[Sample]) -> Life | None:
    if len(samples) < 6:
        return None
    began, ended = samples[0].at, samples[-1].at
    third = (ended - began) / 3
    first = [sample for sample in samples if sample.at <= began + third]
    last = [sample for sample in samples if sample.at >= ended - third]
    return Life(
        seconds=ended - began,
        first=median(sample.rss for sample in first),
        last=median(sample.rss for sample in last),
        files=(
            round(median(sample.files for sample in first)),
            round(median(sample.files for sample in last)),
        ),
    )


# ---- figures


def _figures(
    stage: Stage,
    journal: Mapping[str, str],
    ledger: Counter[str],
    orders: Sequence[Asked],
    lists: Sequence[List],
) -> dict[str, Any]:
    singles = sum(len(order.names) for order in orders)
    return {
        "contacts": {
            "handed in by lists": sum(len(one.names) for one in lists),
            "handed in by HTTP": singles,
            "in the journal": dict(sorted(Counter(journal.values()).items())),
            "in the ledger": len(ledger),
            "called twice": sum(count > 1 for count in ledger.values()),
        },
        "runs": len(lists),
        "most requests in any 60 s": _worst(stage),
        "limits": LIMITS,
        "faults that struck": {
            endpoint: sums["faults"] for endpoint, sums in _summary(stage).items()
        },
        "done": dict(sorted(stage.done.items())),
        "journal_mb": round(stage.journal.stat().st_size / 1e6, 1),
    }


def _summary(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(stage.simulator.get("/ledger/summary"))
    return found
