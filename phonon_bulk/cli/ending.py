"""How a sending command ends: the summary, what the operator is to do next, the exit code."""

import time
from collections.abc import Iterator
from dataclasses import replace

import typer

from phonon_bulk.cli.session import Flags, print_json
from phonon_bulk.config import Settings
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import Exit, JournalError, JournalUnusable
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.summary import Summary, summarize, to_text


def say_done(settings: Settings, run: int, flags: Flags) -> Exit:
    """Say that a list was sent already, by which run, and how to send it anew.

    Returns the exit code: done, but for a run whose list was never read to its end.
    """
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    code = Exit.DONE if summary.list_read else Exit.SOME_FAILED
    if flags.json:
        print_json(replace(summary, exit=code).to_dict())
    if not summary.list_read:
        typer.echo(
            f"phonon-bulk: run {run} has sent this list up to row {summary.rows:,} "
            f"({summary.accepted:,} accepted), and its rest was given up with --without-rest. To "
            "send the rest, make a list of it; --again calls everybody once more",
            err=True,
        )
    elif not flags.quiet:
        typer.echo(
            f"phonon-bulk: done, run {run}: this campaign has been through this very list before "
            f"({_what_came_of_it(summary)}). To send all of it once more: --again",
            err=flags.json,
        )
        if summary.rejected:
            typer.echo(
                f"phonon-bulk: to send its rejected rows only, mend them in a file: `phonon-bulk "
                f"export {run} --only rejected -o mend.csv`, and `run` that one",
                err=flags.json,
            )
    return code


def _what_came_of_it(summary: Summary) -> str:
    left_out = ("rejected", "suppressed", "duplicates")
    names = ("accepted", *left_out, "refused", "expired", "cancelled", "abandoned")
    counts = [(name, getattr(summary, name)) for name in names]
    return ", ".join(f"{n:,} {name}" for name, n in counts if n or name == "accepted")


def report(
    settings: Settings, run: int, flags: Flags, seconds: float, *, only_read: bool = False
) -> Summary:
    """Print the summary of a run, as text or JSON.

    With `only_read` its exit code is that of reading alone: to be sent is not to have failed.
    """
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run, seconds)
    if only_read and summary.list_read:
        summary = replace(summary, exit=Exit.SOME_FAILED if summary.rejected else Exit.DONE)
    _show(summary, flags)
    return summary


def _show(summary: Summary, flags: Flags) -> None:
    if flags.json:
        print_json(summary.to_dict())
    elif not flags.quiet:
        typer.echo(to_text(summary))


def conclude(settings: Settings, run: int, flags: Flags, outcome: Outcome, seconds: float) -> Exit:
    """Print the summary, say what to do next if the run is not done, return the exit code.

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
    for sentence in advice(outcome, summary):
        typer.echo(f"phonon-bulk: {sentence}", err=True)
    return Exit(summary.exit)


def advice(outcome: Outcome, summary: Summary) -> Iterator[str]:
    """Yield what the operator is to know and to do, a sentence or two each."""
    again = f"`phonon-bulk resume {summary.run}`"
    unfinished = bool(summary.to_send) or summary.state == "reading"
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


def how_to_mend(reason: str, run: int) -> str:
    """Return what the operator is to do about a reason for which the provider refuses all."""
    for words, step in _MENDS.items():
        if words in reason:
            flag = " --flow-id ID" if "flow_id" in step else ""
            return f"{step}, then go on with `phonon-bulk resume {run}{flag}`"
    return f"Mend it with Phonon, then go on with `phonon-bulk resume {run}`"


_MENDS = {
    "Invalid Flow ID": "Correct flow_id in the campaign file (it stands on the flow's edit page in "
    "Phonon's console)",
    "Invalid Flow Version": "Publish the flow anew in Phonon's console, or correct flow_id in the "
    "campaign file",
    "Invalid Security ID": "Set the right security id (PHONON_BULK_SECURITY_ID, or the file named "
    "by security_id_file; it stands on the flow's edit page in Phonon's console)",
    "API Version not Supported": "Upgrade phonon-bulk",
    "IP Not Whitelisted": "Have this machine's public IP address allowed in Phonon's console",
    "IP is not allowed": "Have this machine's public IP address allowed in Phonon's console",
    "Insufficient Balance": "Top up the account with Phonon",
    "Validity Expired": "Renew the account with Phonon",
    "DID Not Mapped": "Have a caller number (DID) mapped to the flow in Phonon's console",
    "No Mask Available": "Have a caller mask added in Phonon's console",
    "Invalid SMS Gateway": "Have the flow's SMS gateway set right in Phonon's console",
    "endpoint's URL": "Correct the endpoint's url in phonon-bulk.toml",
    "a proxy on the way": "Set the proxy's login in the HTTPS_PROXY variable",
    "all rows seem to share": "See the list, the mapping and the flow's variables",
}
