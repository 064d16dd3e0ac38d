"""`--alone`: not beside another process that is at work on the same campaign.

The journal knows who is at work, and the system knows who lives (`journal/alive.py`); no time-out
has a say in it. Two that begin at once both announce themselves and then look. At least one sees
the other, as the journal has one order for all; whoever sees nobody goes on. Of two that see each
other the later one gives up, and the earlier one waits a little for that.
"""

import asyncio
import time
from datetime import datetime

from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import NotNowError
from phonon_bulk.journal import AtWork, Books
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_there

PATIENCE = 5.0
"""Seconds for which one waits for another that began later to give up."""
_LOOK_EVERY = 0.05


def at_work_on(books: Books, campaign: Campaign) -> list[AtWork]:
    """Return who is at work on a run of a campaign: of its name, account and endpoint."""
    wanted = (campaign.name, campaign.account, campaign.endpoint)

    def is_of_it(run: int) -> bool:
        record = books.run(run)
        return (record.campaign, record.account, record.endpoint) == wanted

    with books.snapshot():
        return [one for one in books.at_work() if is_of_it(one.run)]


def refuse_beside_others(settings: Settings, campaign: Campaign) -> None:
    """Raise NotNowError if another process is at work on a run of the campaign."""
    for other in _look(settings, campaign):
        raise NotNowError(_sentence(other))


async def wait_to_be_alone(settings: Settings, campaign: Campaign, owner: str) -> None:
    """Return when `owner`, who has announced itself, is alone at work on the campaign.

    Raises NotNowError if another was earlier, or does not give up.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        all_there = _look(settings, campaign)
        others = [one for one in all_there if one.owner != owner]
        if not others:
            return
        if other := to_yield_to(all_there, owner):
            raise NotNowError(_sentence(other))
        if time.monotonic() > deadline:
            raise NotNowError(_sentence(others[0]))
        await asyncio.sleep(_LOOK_EVERY)


def to_yield_to(all_there: list[AtWork], owner: str) -> AtWork | None:
    """Return who was at work before `owner`; None if nobody was."""
    first = min(all_there, key=lambda one: (one.since, one.owner))
    return None if first.owner == owner else first


def _look(settings: Settings, campaign: Campaign) -> list[AtWork]:
    if not is_there(settings.journal_path):
        return []
    with SqliteBooks(settings.journal_path) as books:
        return at_work_on(books, campaign)


def _sentence(other: AtWork) -> str:
    host, _, rest = other.owner.partition(":")
    since = datetime.fromtimestamp(other.since).astimezone()
    return (
        f"run {other.run} of this campaign is being worked on by process {rest.partition(':')[0]} "
        f"on {host} since {since:%Y-%m-%d %H:%M:%S %z}, and with --alone nothing is done beside "
        "it: nothing was sent. Start this again when it has ended (`phonon-bulk status "
        f"{other.run}` shows how far it is)"
    )
