"""What `pause` and `cancel` do: hold a run, and say what that means for its calls."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from phonon_bulk.batch import State
from phonon_bulk.cli.resolving import whoever
from phonon_bulk.config import Settings
from phonon_bulk.errors import RunError
from phonon_bulk.jobs import opening
from phonon_bulk.journal import Control, Kind
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import Summary, resuming, summarize


@dataclass(frozen=True, slots=True)
class Held:
    """A run that was held, and where its calls are."""

    summary: Summary
    sending: int
    """Calls under way just now."""

    def to_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {
            "run": self.summary.run,
            "state": self.summary.state,
            "sending": self.sending,
            "accepted": self.summary.accepted,
            "cancelled": self.summary.cancelled,
            "to_send": self.summary.to_send,
            "in_doubt": self.summary.in_doubt,
        }

    def in_words(self) -> str:
        """Return it as an operator reads it."""
        summary = self.summary
        number = summary.run
        under_way = f"; {self.sending:,} calls are under way and end" if self.sending else ""
        if summary.state != "cancelled":
            no_more = "; its flow takes no calls meanwhile" if summary.kind == Kind.INTAKE else ""
            return (
                f"run {number} is paused: {summary.accepted:,} calls accepted, "
                f"{summary.to_send - self.sending:,} kept for later{under_way}{no_more}. Go on "
                f"with it: {resuming(summary)}"
            )
        # What others hold just now follows as soon as they give it back.
        never = summary.cancelled + summary.to_send - self.sending
        text = (
            f"run {number} is cancelled: {never:,} calls will never be sent, "
            f"{summary.accepted:,} had been accepted{under_way}"
        )
        if summary.kind == Kind.INTAKE:
            text += ". Calls that come in from now on are another run"
        if summary.in_doubt:
            text += (
                f". {summary.in_doubt:,} calls are in doubt: settle them with "
                f"`phonon-bulk resolve {number}`"
            )
        return text


def what_it_takes_back(settings: Settings, run: int) -> str:
    """Return what is lost if a run is cancelled. Raises RunError if there is none."""
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    read = summary.list_read or summary.kind == Kind.INTAKE
    left = "" if read else ", and the rest of its list is not read yet"
    return (
        f"run {run} ({summary.campaign}): {summary.to_send:,} calls are still to be sent{left}; "
        f"{summary.accepted:,} were accepted, and stay so"
    )


async def pause(settings: Settings, run: int) -> Held:
    """Pause a run. Raises RunError for one of which nothing could be sent any more."""
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    if summary.state in {"done", "cancelled"}:
        raise RunError(f"run {run} is {summary.state}: there is nothing to pause")
    if summary.state == Control.STOPPED:
        raise RunError(f"run {run} is stopped already ({summary.reason}): nothing of it is sent")
    journal = SqliteJournal(settings.journal_path, settings.sending.journal_wait)
    try:
        allowed = [Control.GO, Control.PAUSED]
        await journal.control(run, Control.PAUSED, allowed, f"paused by {whoever()}")
    finally:
        await journal.close()
    return _held(settings, run)


async def cancel(settings: Settings, run: int) -> Held:
    """Take a run back. Raises RunError for one of which nothing could be sent any more."""
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    if summary.state == "done":
        raise RunError(f"run {run} is done: there is nothing to take back")
    journal = SqliteJournal(settings.journal_path, settings.sending.journal_wait)
    try:
        await journal.cancel(run, time.time(), f"cancelled by {whoever()}")
    finally:
        await journal.close()
    return _held(settings, run)


def refuse_single_calls(
    settings: Settings, run: int, flow_id: str | None, *, to_worker: bool
) -> None:
    """Raise RunError for a run of single calls that can't go on as it is asked for.

    They come in as long as its day lasts, so a worker alone sends them; and each goes to the flow
    that is named with it.
    """
    with SqliteBooks(settings.journal_path) as books:
        found = books.run(run)
    if found.kind is not Kind.INTAKE:
        return
    if found.control is Control.CANCELLED:
        raise RunError(
            f"run {run} was cancelled, and nothing of it can be sent any more; single calls that "
            "come in from now on are another run"
        )
    if flow_id is not None:
        raise RunError(
            f"run {run} is of single calls to the flow {found.flow_id}, and can't go to another. "
            "Have those who send them name the right flow, or correct intake.flow_id; "
            f"`phonon-bulk cancel {run}` takes back what waits"
        )
    if not to_worker and found.read_at is None:
        raise RunError(
            f"run {run} is of single calls, which a worker sends: let it go on with "
            f"`phonon-bulk resume {run} --to-worker`"
        )


def hand_over(settings: Settings, run: int, flow_id: str | None, *, without_rest: bool) -> Summary:
    """Let a run go on without sending it here. Raises as `opening.job_to_resume` does."""
    # The rest of its list is not read: that is what `submit` and `resume` are for.
    job = opening.job_to_resume(settings, run, flow_id, without_rest=True)

    async def let_go_on() -> None:
        journal = SqliteJournal(settings.journal_path, settings.sending.journal_wait)
        try:
            await opening.set_going(journal, job, end_reading=without_rest)
        finally:
            await journal.close()

    asyncio.run(let_go_on())
    with SqliteBooks(settings.journal_path) as books:
        return summarize(books, run)


def handed_over(summary: Summary) -> str:
    """Return what an operator is told of a run that a worker is to send."""
    text = (
        f"run {summary.run} goes on: {summary.to_send:,} calls are sent by a worker on this journal"
    )
    if summary.state == "reading" and summary.kind == Kind.LIST:
        text += (
            f". Its list is read up to row {summary.rows:,}: `phonon-bulk submit` with the same "
            "campaign and list reads on"
        )
    return text


def _held(settings: Settings, run: int) -> Held:
    with SqliteBooks(settings.journal_path) as books:
        calls = books.counts(run).calls
        return Held(summarize(books, run), calls.get(State.SENDING, 0))
