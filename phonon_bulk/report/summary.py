"""The summary of a run: the books added up, in numbers, in words, and as an exit code."""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from phonon_bulk.batch import State
from phonon_bulk.call import INDIA
from phonon_bulk.errors import Exit, PhononBulkError, RunError
from phonon_bulk.journal import AtWork, Books, Control, Kind, Run, RunCounts
from phonon_bulk.schedule import Limits, Rate

_REASONS = 10
"""How many reasons a summary lists of each kind."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The sums of a run. All but `batches` and `requests` count contacts (rows, calls)."""

    run: int
    campaign: str
    state: str
    """`reading` (of single calls: more may come), `sending` (or waiting to be sent), `paused`,
    `stopped`, `cancelled`, `in_doubt` (only doubts are left), `done`."""
    rows: int
    rejected: int
    suppressed: int
    duplicates: int
    calls: int
    accepted: int
    refused: int
    expired: int
    cancelled: int
    in_doubt: int
    abandoned: int
    to_send: int
    batches: int
    requests: int
    seconds: float
    exit: int
    list_read: bool
    """Whether all rows of the list are in the journal; if not, and the state is `done`, the rest
    was given up (`resume --without-rest`)."""
    reason: str | None = None
    reasons: list[dict[str, Any]] = field(default_factory=list)
    """Why contacts were not placed: `state`, `reason`, `contacts`, and of rows that became no
    call the first, `row`."""
    notes: list[dict[str, Any]] = field(default_factory=list)
    """What was changed in calls: `note`, `contacts`, and the first of their rows, `row`."""
    at_work: list[dict[str, Any]] = field(default_factory=list)
    """Who is at work on it just now: `host`, `pid`, `what` (`reads` or `sends`), `since`."""
    pruned_at: str | None = None
    """When its contact data was deleted (`prune`), ISO 8601 at +05:30; None if it was not."""
    limit: dict[str, Any] | None = None
    """The limit of its endpoint, and what of it is used now; see `limit_of`."""
    settled_at: str | None = None
    """When an answer, or what else became of a batch, was noted last, ISO 8601 at +05:30; None if
    nothing was yet."""
    kind: str = Kind.LIST
    """Where its rows come from: `list`, or `intake` for the single calls of a day to a flow."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary for `--json`."""
        return asdict(self)


def summarize(books: Books, run: int, seconds: float | None = None) -> Summary:
    """Return the summary of a run as its journal has it now.

    `seconds` is how long the caller worked on it; left out, it is the time from the run's opening
    to the last batch settled.

    Raises RunError if there is no such run, PhononBulkError if its sums do not add up.
    """
    with books.snapshot():
        record, counts, reasons = books.run(run), books.counts(run), _reasons(books, run)
        notes, rate = _notes(books, run), books.rate(record.account, record.endpoint)
        at_work = [_worker(one) for one in books.at_work() if one.run == run]
    if seconds is None:
        seconds = max(0.0, (counts.settled_at or record.created_at) - record.created_at)
    summary = add_up(record, counts, round(seconds, 3), reasons)
    limit = None if rate is None else limit_of(rate)
    return replace(summary, notes=notes, at_work=at_work, limit=limit)


def _worker(one: AtWork) -> dict[str, Any]:
    host, pid, _ = one.owner.rsplit(":", 2)
    return {"host": host, "pid": int(pid), "what": one.what, "since": one.since}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, INDIA).isoformat(timespec="seconds")


def limit_of(rate: Rate) -> dict[str, Any]:
    """Return a rate as `--json` has it: limits in force, what is used of them now, and why."""
    return {
        "requests_per_minute": rate.limits.requests,
        "calls_per_minute": rate.limits.calls,
        "requests_per_minute_now": rate.present.requests,
        "calls_per_minute_now": rate.present.calls,
        "why": rate.why,
        "advice": rate.advice,
        "by_hand": rate.by_hand,
        "resting_seconds": round(rate.rests, 1),
    }


def limit_in_words(limit: dict[str, Any]) -> str:
    """Return what `limit_of` made as an operator reads it."""
    set_to = Limits(limit["requests_per_minute"], limit["calls_per_minute"])
    text = set_to.in_words() + (", set by hand" if limit["by_hand"] else "")
    if limit["why"] is not None and set_to != Limits():
        now = Limits(limit["requests_per_minute_now"], limit["calls_per_minute_now"])
        text += f", now {now.in_words()}: {limit['why']}"
    if limit["resting_seconds"]:
        text += f"; the endpoint is left alone for {limit['resting_seconds']:g} s more"
    return text


def _reasons(books: Books, run: int) -> list[dict[str, Any]]:
    left_out = [
        {"state": state, "reason": reason, "contacts": rows, "row": row}
        for state, reason, rows, row in books.left_out_reasons(run, _REASONS)
    ]
    others = [
        {"state": "refused" if state == State.ACCEPTED else state, "reason": reason, "contacts": n}
        for state, reason, n in books.reasons(run, _REASONS)
    ]
    return left_out + others


def _notes(books: Books, run: int) -> list[dict[str, Any]]:
    return [
        {"note": note, "contacts": contacts, "row": row}
        for note, contacts, row in books.notes(run, _REASONS)
    ]


def add_up(run: Run, counts: RunCounts, seconds: float, reasons: list[dict[str, Any]]) -> Summary:
    """Add up a run's books; see `Summary`."""
    calls = counts.calls
    placed_in = calls.get(State.ACCEPTED, 0)
    to_send = sum(calls.get(s, 0) for s in (State.READY, State.CLAIMED, State.SENDING))
    refused = calls.get(State.REFUSED, 0) + placed_in - counts.accepted
    sums: dict[str, Any] = {
        "accepted": counts.accepted,
        "refused": refused,
        "expired": calls.get(State.EXPIRED, 0),
        "cancelled": calls.get(State.CANCELLED, 0),
        "in_doubt": calls.get(State.IN_DOUBT, 0),
        "abandoned": calls.get(State.ABANDONED, 0),
        "to_send": to_send,
    }
    check_conservation(run, sums)
    state = _state(run, sums)
    return Summary(
        run=run.id,
        campaign=run.campaign,
        state=state,
        rows=run.rows,
        rejected=run.rejected,
        suppressed=run.suppressed,
        duplicates=run.duplicates,
        calls=run.calls,
        **sums,
        batches=sum(n for s, n in counts.batches.items() if s is not State.SPLIT),
        requests=counts.requests,
        seconds=seconds,
        exit=_exit(run, state, sums),
        list_read=run.read_at is not None and bool(run.whole),
        reason=run.reason,
        reasons=reasons,
        pruned_at=None if run.pruned_at is None else _date(run.pruned_at),
        settled_at=None if counts.settled_at is None else _date(counts.settled_at),
        kind=run.kind,
    )


def check_conservation(run: Run, sums: dict[str, int]) -> None:
    """Hold the first promise: every row is somewhere, and every call is in one state.

    Raises PhononBulkError with both sums if they do not agree.
    """
    in_rows = run.rejected + run.suppressed + run.duplicates + run.calls
    in_states = sum(sums.values())
    if run.rows != in_rows or run.calls != in_states:
        raise PhononBulkError(
            f"run {run.id} does not add up: {run.rows} rows read and {in_rows} accounted for, "
            f"{run.calls} calls and {in_states} in a state. This is a fault of phonon-bulk: keep "
            "the journal and report it"
        )


def _state(run: Run, sums: dict[str, int]) -> str:
    if run.control is Control.CANCELLED:
        return "cancelled"
    if run.read_at is None:
        return "reading" if run.control is Control.GO else run.control
    if sums["to_send"] or (sums["in_doubt"] and run.control is Control.STOPPED):
        return "sending" if run.control is Control.GO else run.control
    return "in_doubt" if sums["in_doubt"] else "done"


def _exit(run: Run, state: str, sums: dict[str, int]) -> int:
    if state == Control.STOPPED:
        return Exit.BLOCKED
    if state in {"reading", "sending", Control.PAUSED}:
        return Exit.STOPPED
    if sums["in_doubt"]:
        return Exit.IN_DOUBT
    failed = run.rejected + sum(sums[s] for s in ("refused", "expired", "cancelled", "abandoned"))
    return Exit.SOME_FAILED if failed or not run.whole else Exit.DONE


def to_text(summary: Summary, *, at_work: bool = True) -> str:
    """Return the summary as an operator reads it, the sums written out.

    Without `at_work`, who sends it just now is left out: for what is read later.
    """
    lines = [f"run {summary.run} · {summary.campaign} · {_in_words(summary)}", ""]
    left_out = [("rejected", summary.rejected)]
    left_out += [("suppressed", summary.suppressed)] if summary.suppressed else []
    left_out += [("duplicates", summary.duplicates)] if summary.duplicates else []
    lines += sum_lines("rows read", summary.rows, [*left_out, ("calls", summary.calls)])
    states = [("accepted", summary.accepted), ("refused", summary.refused)]
    states += [
        (name.replace("_", " "), value)
        for name in ("expired", "cancelled", "in_doubt", "abandoned", "to_send")
        if (value := getattr(summary, name))
    ]
    lines += sum_lines("calls", summary.calls, states)
    if not summary.list_read and summary.kind == Kind.LIST:
        rest = "resume reads on" if summary.state != "done" else "the rest was given up"
        lines += ["", f"  the list is read up to row {summary.rows:,} only; {rest}"]
    lines += ["", f"  {_figures(summary)}"]
    if at_work and summary.state in {"reading", "sending"}:
        lines.append(f"  {_at_work(summary)}")
    if summary.limit and summary.state != "done":
        lines.append(f"  limit: {limit_in_words(summary.limit)}")
    if summary.pruned_at:
        lines.append(f"  its contact data was deleted on {summary.pruned_at} (prune)")
    lines += _why(summary) + _changed(summary)
    return "\n".join(lines)


_OPEN = "single calls of a day, more may come"


def _in_words(summary: Summary) -> str:
    words = {
        "reading": "its list is not read to the end" if summary.kind == Kind.LIST else _OPEN,
        "sending": "calls are still to be sent",
        "stopped": f"stopped: {summary.reason}",
        "in_doubt": "finished but for calls in doubt",
        # By whom, if that is known.
        "paused": summary.reason or "paused",
        "cancelled": summary.reason or "cancelled",
    }
    return words.get(summary.state, summary.state)


def sum_lines(name: str, total: int, parts: list[tuple[str, int]]) -> list[str]:
    """Return a sum and its parts, a line each."""
    lines = [f"  {name:<12}{total:>12,}"]
    for number, (part, value) in enumerate(parts):
        lines.append(f"  {'=' if number == 0 else '+':>3} {part:<12}{value:>12,}")
    return lines


def _figures(summary: Summary) -> str:
    text = f"{summary.batches:,} batches, {summary.requests:,} requests"
    text += f", {summary.seconds:,.1f} seconds"
    if summary.seconds > 0 and summary.accepted:
        text += f", {summary.accepted / summary.seconds:,.0f} contacts a second"
    return text


def _at_work(summary: Summary) -> str:
    """Return who is at work on a run that is to go on."""
    if not summary.at_work:
        if summary.kind != Kind.LIST:
            return "no worker is at work on it: start `phonon-bulk worker`"
        rest = f"a worker, or `phonon-bulk resume {summary.run}`, goes on with it"
        return f"nobody is at work on it: {rest}"
    parts = []
    for one in summary.at_work:
        since = datetime.fromtimestamp(one["since"], INDIA)
        parts.append(
            f"process {one['pid']} on {one['host']} {one['what']} since {since:%H:%M} (India)"
        )
    # While the provider is away nobody but the one who sends knows why, and it says so in its log.
    last = summary.settled_at
    answer = "no answer yet" if last is None else f"the last answer at {last[11:19]} on {last[:10]}"
    return "; ".join([*parts, answer])


def resuming(summary: Summary) -> str:
    """Return the command with which a run goes on that is paused or stopped.

    Single calls come in as long as the day lasts: only a worker can send them.
    """
    command = f"phonon-bulk resume {summary.run}"
    if summary.kind == Kind.INTAKE:
        return f"`{command} --to-worker`"
    return f"`{command}` (with --to-worker, a worker sends it)"


def to_table(summaries: list[Summary]) -> str:
    """Return runs as a table, a line each."""
    names = ("run", "campaign", "state", "calls", "accepted", "to_send", "in_doubt")
    rows = [[name.replace("_", " ") for name in names]]
    for summary in summaries:
        values = [getattr(summary, name) for name in names]
        rows.append([str(values[0]), *(f"{v:,}" if isinstance(v, int) else v for v in values[1:])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    lines = []
    for row in rows:
        texts = [row[i].ljust(widths[i]) for i in range(3)]
        figures = [row[i].rjust(widths[i]) for i in range(3, len(names))]
        lines.append("  ".join(texts + figures).rstrip())
    return "\n".join(lines) if summaries else "no runs in this journal yet"


def newest(books: Books) -> int:
    """Return the number of the newest run. Raises RunError if there is none."""
    for run in books.runs(1):
        return run.id
    raise RunError("no runs in this journal yet: `phonon-bulk run CAMPAIGN.toml` makes one")


def _why(summary: Summary) -> list[str]:
    if not summary.reasons:
        return []
    lines = ["", "  why not:"]
    for entry in summary.reasons:
        state = str(entry["state"]).replace("_", " ")
        lines.append(_line(entry, f"{state}: {entry['reason']}"))
    return lines


def _changed(summary: Summary) -> list[str]:
    if not summary.notes:
        return []
    return ["", "  changed in calls:", *(_line(entry, entry["note"]) for entry in summary.notes)]


def _line(entry: dict[str, Any], text: str) -> str:
    example = f" (row {entry['row']:,}, for one)" if "row" in entry else ""
    return f"    {entry['contacts']:>9,} {text}{example}"
