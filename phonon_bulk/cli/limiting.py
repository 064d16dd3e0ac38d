"""What `phonon-bulk limit` does: whose limit, what is ordered, what holds now."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from phonon_bulk.batch import MAX_CALLS
from phonon_bulk.call import INDIA
from phonon_bulk.cli.resolving import whoever
from phonon_bulk.cli.sending import open_journal
from phonon_bulk.config import EndpointName, Settings
from phonon_bulk.errors import JournalUnusable, SettingsError
from phonon_bulk.jobs.wiring import set_limits
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_there
from phonon_bulk.report.summary import limit_in_words, limit_of
from phonon_bulk.schedule import Limits, Rate

_MOST = 1_000_000_000
_SHOWN = 5
"""So many of the newest changes are shown."""


@dataclass(frozen=True, slots=True)
class Whose:
    """The endpoint of an account, and what the settings here say of it."""

    account: str
    endpoint: EndpointName
    settings: Limits


def whose(settings: Settings, endpoint: str, account: str) -> Whose:
    """Return what is meant. Raises SettingsError if there is no such endpoint or account."""
    settings.account(account)
    if endpoint not in set(EndpointName):
        raise SettingsError([f'there is no endpoint "{endpoint}"; there are: bulk, realtime'])
    return Whose(account, EndpointName(endpoint), set_limits(settings, endpoint))


def wanted(requests: int | None, calls: int | None, *, lift: bool) -> Limits | None:
    """Return what is ordered; empty limits to lift what was, None if nothing is.

    Raises SettingsError for what can't be ordered.
    """
    problems = []
    if lift and (requests is not None or calls is not None):
        problems.append("--lift goes alone: it lets the settings hold again")
    if requests is not None and not 1 <= requests <= _MOST:
        problems.append(f"--requests-per-minute: expected 1 to {_MOST}, found {requests}")
    if calls is not None and not MAX_CALLS <= calls <= _MOST:
        found = f"expected {MAX_CALLS} (one request may hold as many) to {_MOST}, found {calls}"
        problems.append(f"--calls-per-minute: {found}")
    if problems:
        raise SettingsError(problems)
    nothing = requests is None and calls is None and not lift
    return None if nothing else Limits(requests, calls)


async def order(settings: Settings, whose: Whose, limits: Limits) -> None:
    """Put limits in force, or lift them, in the name of whoever runs this."""
    if limits == Limits() and not is_there(settings.journal_path):
        return  # there is nothing to lift
    async with open_journal(settings) as journal:
        await journal.order_limits(
            whose.account,
            whose.endpoint,
            limits,
            settings=whose.settings,
            who=whoever(),
            now=journal.now(),
        )


def look(settings: Settings, whose: Whose) -> dict[str, Any]:
    """Return what holds now, and the newest changes."""
    try:
        with SqliteBooks(settings.journal_path) as books, books.snapshot():
            rate = books.rate(whose.account, whose.endpoint)
            used = books.is_used(whose.account, whose.endpoint)
            changes = books.limit_changes()
    except JournalUnusable:
        if is_there(settings.journal_path):
            raise
        rate, used, changes = None, False, []  # nothing was ever sent
    rate = in_force(rate, whose.settings, used=used)
    ours = [c for c in changes if (c.account, c.endpoint) == (whose.account, whose.endpoint)]
    return {
        "account": whose.account,
        "endpoint": whose.endpoint,
        **limit_of(rate),
        "changes": [
            {
                "at": datetime.fromtimestamp(change.at, INDIA).isoformat(timespec="seconds"),
                "requests_per_minute": change.limits.requests,
                "calls_per_minute": change.limits.calls,
                "why": change.why,
            }
            for change in reversed(ours[-_SHOWN:])
        ],
    }


def in_force(rate: Rate | None, settings: Limits, *, used: bool) -> Rate:
    """Return what holds now; what held last is of no interest where nobody sends any more."""
    if rate is None:
        return Rate(settings)
    return rate if used or rate.by_hand else replace(rate, limits=settings)


def to_text(shown: dict[str, Any]) -> str:
    """Return it as an operator reads it."""
    lines = [f"{shown['endpoint']} ({shown['account']}): {limit_in_words(shown)}"]
    if shown["advice"]:
        lines.append(f"  {shown['advice']}")
    for change in shown["changes"]:
        limits = Limits(change["requests_per_minute"], change["calls_per_minute"]).in_words()
        lines.append(f"  {change['at']}  {limits}  ({change['why']})")
    return "\n".join(lines)
