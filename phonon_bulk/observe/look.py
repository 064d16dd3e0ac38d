"""What the journal says of all accounts and endpoints at one moment, for the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonon_bulk.journal import Backlog, Books
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.schedule import Rate

Whose = tuple[str, str]
"""Account and endpoint."""


@dataclass(frozen=True, slots=True)
class Look:
    """What waits, and how fast it may be sent. Free of contact data."""

    backlogs: Sequence[Backlog] = ()
    """One for each account and endpoint that was ever used, also where nothing waits."""
    rates: Mapping[Whose, Rate] = field(default_factory=dict)
    """Of those to which something was sent."""
    tokens: Mapping[Whose, int] = field(default_factory=dict)
    """Requests that could leave at once; see `Books.tokens`."""


def look_at(books: Books) -> Look:
    """Return what the books say; raises what they raise."""
    with books.snapshot():
        waiting = {(one.account, one.endpoint): one for one in books.backlog()}
        used = {(change.account, change.endpoint) for change in books.limit_changes()}
        known = sorted({*waiting, *used})
        rates = {whose: books.rate(*whose) for whose in known}
        tokens = {whose: books.tokens(*whose) for whose in known}
    return Look(
        [waiting.get(whose) or Backlog(*whose, {}, {}, None) for whose in known],
        {whose: rate for whose, rate in rates.items() if rate is not None},
        {whose: number for whose, number in tokens.items() if number is not None},
    )


def look_into(path: Path) -> Look:
    """Return what the journal at `path` says, which is opened for it.

    So nothing is held open that may have been moved away or mended meanwhile. Raises
    JournalUnusable, JournalError or sqlite3.Error if it can't be read.
    """
    with SqliteBooks(path) as books:
        return look_at(books)
