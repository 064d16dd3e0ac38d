"""What `resolve` shows and does."""

import getpass
import os
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from phonon_bulk.batch import State
from phonon_bulk.call import INDIA
from phonon_bulk.config import Settings
from phonon_bulk.errors import RunError, UnusableError
from phonon_bulk.journal import Doubt
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal

_OUTCOMES = {"accepted": State.ACCEPTED, "resend": State.READY, "abandon": State.ABANDONED}


def outcome(**flags: bool) -> State | None:
    """Return the state that the flags ask for, None without one.

    Raises UnusableError if there is more than one.
    """
    given = [name for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise UnusableError(f"one of --{', --'.join(given)}, not several: they contradict")
    return _OUTCOMES[given[0]] if given else None


def doubts(settings: Settings, run: int) -> list[Doubt]:
    """Return the doubts of a run. Raises RunError if there is no such run."""
    with SqliteBooks(settings.journal_path) as books:
        books.run(run)
        return books.doubts(run)


def refuse_numbers(batches: Sequence[int] | None, *, every: bool) -> None:
    """Raise UnusableError if batches are named, but not what is to become of them."""
    if batches or every:
        raise UnusableError(
            "say what is to become of them: --accepted, --resend or --abandon; without one of "
            "these, and without batches, resolve lists what is in doubt"
        )


def chosen(found: Sequence[Doubt], batches: Sequence[int], *, every: bool) -> list[int]:
    """Return the batches to settle.

    Raises UnusableError if none are named, or both some and all.
    """
    if bool(batches) == every:
        raise UnusableError("name the batches to settle, or --all of them (and not both)")
    known = [doubt.batch for doubt in found]
    if every:
        if not known:
            raise RunError("nothing of this run is in doubt")
        return known
    for batch in batches:
        if batch not in known:
            raise RunError(f"batch {batch} is not in doubt, or not of this run")
    return list(dict.fromkeys(batches))


async def settle(settings: Settings, run: int, batches: Sequence[int], to: State) -> None:
    """Settle doubts, in the name of whoever runs this."""
    journal = SqliteJournal(settings.journal_path)
    try:
        await journal.resolve(run, batches, to, who=whoever(), now=journal.now())
    finally:
        await journal.close()


def whoever() -> str:
    """Return who runs this, as user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def to_dict(run: int, found: Sequence[Doubt]) -> dict[str, Any]:
    """Return the doubts for `--json`."""
    return {
        "run": run,
        "doubts": [
            {
                "batch": doubt.batch,
                "first_row": doubt.first_row,
                "calls": doubt.calls,
                "attempts": doubt.attempts,
                "sent_at": _moment(doubt.doubted_at),
                "last_sent_at": _moment(doubt.sent_at),
                "verdict": doubt.verdict,
                "reason": doubt.reason,
            }
            for doubt in found
        ],
    }


def to_text(run: int, found: Sequence[Doubt], now: float, within: float) -> str:
    """Return the doubts as an operator reads them, and what can be done.

    Those that first left less than `within` seconds before `now` may still be settled by proof.
    """
    if not found:
        return f"nothing of run {run} is in doubt"
    lines = [f"run {run}: {sum(doubt.calls for doubt in found):,} calls are in doubt", ""]
    lines += [
        f"  batch {doubt.batch}: {doubt.calls:,} calls from row {doubt.first_row:,} on; "
        f"{_tries(doubt)}: {doubt.reason}"
        for doubt in found
    ]
    if any(now - doubt.doubted_at < within for doubt in found):
        hope = f"Those first sent less than {within:g} seconds ago may still be settled by proof: "
        lines += ["", f"{hope}`phonon-bulk resume {run}` sends their bytes again."]
    lines += [
        "",
        "Ask Phonon (or its reports, by flow and time) whether they were taken. Then:",
        f"  phonon-bulk resolve {run} BATCH... --accepted   they were taken",
        f"  phonon-bulk resolve {run} BATCH... --resend     they were not: resume sends them again",
        f"  phonon-bulk resolve {run} BATCH... --abandon    nobody can know: never send them",
        "with --all in place of the batches for all of them.",
    ]
    return "\n".join(lines)


def settled(run: int, batches: Sequence[int], to: State) -> str:
    """Return what was done, and what comes next."""
    text = f"{len(batches):,} batches of run {run} are {to} now"
    return f"{text}: send them with `phonon-bulk resume {run}`" if to is State.READY else text


def _tries(doubt: Doubt) -> str:
    if doubt.attempts == 1:
        return f"sent once, at {_moment(doubt.sent_at)}"
    first, last = _moment(doubt.doubted_at), _moment(doubt.sent_at)
    return f"sent {doubt.attempts} times, in doubt since {first}, last at {last}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, INDIA).isoformat(timespec="seconds")
