"""How a sending command ends: the summary, what the operator is to do next, the exit code."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import typer

from phonon_bulk.cli.session import Flags, print_json
from phonon_bulk.config import Settings
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import Exit, JournalError, JournalUnusable
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.mending import how_to_mend
from phonon_bulk.report.summary import Summary, summarize, to_text


@dataclass(frozen=True, slots=True)
class End:
    """How a sending command ended, and what the operator is to know and to do."""

    exit: Exit
    summary: Summary
    advice: tuple[str, ...] = ()


def say_done(settings: Settings, run: int, flags: Flags) -> End:
    """Say that a list was sent already, by which run, and how to send it anew.

    The exit code is that of something done, but for a run whose list was never read to its end.
    """
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    code = Exit.DONE if summary.list_read else Exit.SOME_FAILED
    summary = replace(summary, exit=code)
    if flags.json:
        print_json(summary.to_dict())
    end = End(code, summary, tuple(_of_done(summary)))
    if not (flags.quiet and code is Exit.DONE):
        # What was asked for twice is answered on standard output: that is the command's result.
        _say(end, err=flags.json or code is not Exit.DONE)
    return end


def _of_done(summary: Summary) -> Iterator[str]:
    if not summary.list_read:
        yield (
            f"run {summary.run} has sent this list up to row {summary.rows:,} "
            f"({summary.accepted:,} accepted), and its rest was given up with --without-rest. To "
            "send the rest, make a list of it; --again calls everybody once more"
        )
        return
    yield (
        f"done, run {summary.run}: this campaign has been through this very list before "
        f"({_what_came_of_it(summary)}). To send all of it once more: --again"
    )
    if summary.rejected:
        yield (
            "to send its rejected rows only, mend them in a file: `phonon-bulk "
            f"export {summary.run} --only rejected -o mend.csv`, and `run` that one"
        )


def _say(end: End, *, err: bool = True) -> None:
    for sentence in end.advice:
        typer.echo(f"phonon-bulk: {sentence}", err=err)


def _what_came_of_it(summary: Summary) -> str:
    left_out = ("rejected", "suppressed", "duplicates")
    names = ("accepted", *left_out, "refused", "expired", "cancelled", "abandoned")
    counts = [(name, getattr(summary, name)) for name in names]
    return ", ".join(f"{n:,} {name}" for name, n in counts if n or name == "accepted")


def report(settings: Settings, run: int, flags: Flags, seconds: float, *, whole: bool) -> End:
    """Print the summary of a run whose list was read and not sent, and how to send it.

    Its exit code is that of reading alone: to be sent is not to have failed. `whole` says whether
    the list was read to its end now.
    """
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run, seconds)
    if summary.list_read:
        summary = replace(summary, exit=Exit.SOME_FAILED if summary.rejected else Exit.DONE)
    _show(summary, flags)
    again = f"`phonon-bulk resume {run}`"
    sent = f"a worker on this journal sends it; without one: {again}"
    advice = [sent if whole else f"stopped; go on with {again}"]
    if summary.exit == Exit.SOME_FAILED:
        advice.insert(0, failed(summary))
    end = End(Exit(summary.exit), summary, tuple(advice))
    if not (flags.quiet and end.exit is Exit.DONE):
        _say(end)
    return end


def _show(summary: Summary, flags: Flags) -> None:
    if flags.json:
        print_json(summary.to_dict())
    elif not flags.quiet:
        typer.echo(to_text(summary))


def conclude(settings: Settings, run: int, flags: Flags, outcome: Outcome, seconds: float) -> End:
    """Print the summary, and say what to do next unless all is well.

    A run that ended early with doubts that are still young is to be resumed, not resolved.
    """
    try:
        with SqliteBooks(settings.journal_path) as books:
            summary, doubts = summarize(books, run, seconds), books.doubts(run)
    except JournalUnusable as error:  # something was sent: that is no exit 2
        raise JournalError(f"{error}. `phonon-bulk status {run}` will say what was sent") from None
    young = time.time() - settings.sending.replay_within
    early = outcome.ending in {Ending.TOLD, Ending.GIVEN_UP}
    if early and summary.exit == Exit.IN_DOUBT and any(d.doubted_at > young for d in doubts):
        summary = replace(summary, exit=Exit.STOPPED)
    _show(summary, flags)
    end = End(Exit(summary.exit), summary, tuple(advice(outcome, summary)))
    _say(end)
    return end


def advice(outcome: Outcome, summary: Summary) -> list[str]:
    """Return what the operator is to know and to do, a sentence or two each.

    There is something for every end but a good one.
    """
    found = list(_advice(outcome, summary))
    if not found and summary.exit != Exit.DONE:
        found.append(
            f"run {summary.run} is not finished (its state is {summary.state}); go on with "
            f"`phonon-bulk resume {summary.run}`"
        )
    return found


def _advice(outcome: Outcome, summary: Summary) -> Iterator[str]:
    again = f"`phonon-bulk resume {summary.run}`"
    unfinished = bool(summary.to_send) or summary.state in {"reading", "paused"}
    match outcome.ending:
        case Ending.BLOCKED:
            reason = outcome.reason or ""
            yield f"stopped: {reason}. {how_to_mend(reason, summary.run)}"
        case Ending.LIST_BROKEN:
            yield (
                f"{outcome.reason}. Run {summary.run} ended at row {summary.rows:,}. Do not start "
                "the list anew: that would call again whom it has called. Put the list back as "
                f"it was and go on with {again}, or send only what was read with "
                f"`phonon-bulk resume {summary.run} --without-rest`"
            )
        case Ending.GIVEN_UP if unfinished:
            yield f"given up for now: {outcome.reason}. What is not sent is kept: {again} goes on"
        case Ending.TOLD if unfinished:
            why = f" ({outcome.reason})" if outcome.reason else ""
            yield f"stopped{why}. What is not sent is kept; go on with {again}"
    if summary.limit and summary.limit["advice"]:
        yield f"the endpoint took less than its limit: {summary.limit['advice']}"
    if summary.in_doubt:
        sooner = ""
        if outcome.ending is not Ending.FINISHED:
            sooner = f"{again} sends their bytes again while they are young, which may prove it. "
        yield (
            f"{summary.in_doubt:,} calls may or may not have been taken by the provider. {sooner}"
            f"See them with `phonon-bulk resolve {summary.run}`, and settle there what you can "
            "find out"
        )
    if summary.exit == Exit.SOME_FAILED:
        yield failed(summary)


_FAILED = ("rejected", "refused", "expired", "cancelled", "abandoned")


def failed(summary: Summary) -> str:
    """Say how many contacts were not placed, and how to see which."""
    found = [(name, getattr(summary, name)) for name in _FAILED if getattr(summary, name)]
    if not found:
        return (
            f"the list was read up to row {summary.rows:,} only, and its rest was given up. To "
            "send the rest, make a list of it"
        )
    counts = ", ".join(f"{number:,} {name}" for name, number in found)
    export = f"`phonon-bulk export {summary.run}{''.join(f' --only {name}' for name, _ in found)}"
    if [name for name, _ in found] == ["rejected"]:
        how = f"{export} -o mend.csv` writes these rows, to be mended and sent with `run`"
    else:
        how = f"{export} -o failed.csv` lists them, each with its reason"
    return f"{counts} of {summary.rows:,} contacts: {how}"
