"""Sends a list as `phonon-bulk run` does, with its journal or with one that writes nothing.

    python benchmarks/one_process.py LIST.csv --journal sqlite
    python benchmarks/one_process.py LIST.csv --journal memory

For `stages.py`, which starts it in a folder with phonon-bulk.toml and campaign.toml. Reader,
packer, freezer, dispatcher and endpoint are wired by the command's own `cli/sending.py`; only the
journal differs. Prints one JSON object: calls accepted, commits and the changes in all of them, and
the CPU seconds of Python's start, all imports included, and of the run.
"""

import argparse
import os
import time
from pathlib import Path
from typing import cast

import orjson
from memory_journal import memory_journal

import phonon_bulk.endpoint  # noqa: F401 - what is loaded later otherwise is a part of the start
from phonon_bulk.cli import sending
from phonon_bulk.cli.session import Flags, begin_logging, run_loop
from phonon_bulk.config import Campaign, Settings, load_campaign, load_settings
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.hours import Bounds
from phonon_bulk.jobs.opening import Job, new_run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.source.contacts import ContactList

SQLITE, MEMORY = "sqlite", "memory"
_FLAGS = Flags(config=None, journal=None, quiet=True)


async def send_all(
    journal: SqliteJournal, settings: Settings, campaign: Campaign, contacts: ContactList
) -> int:
    """Send a list as a new run; return the run."""
    new = new_run(campaign, contacts, time.time())
    run = (await journal.open_run(new, time.time())).run
    reading = lists.read_from(settings, contacts, campaign)
    job = Job(run, campaign, campaign.flow_id, new.not_after, reading)
    security_id = sending.security_id(settings, campaign)
    await sending.send(journal, job, settings, security_id, _FLAGS, bounds=Bounds(), alone=False)
    return run


async def with_books(
    settings: Settings, campaign: Campaign, contacts: ContactList
) -> dict[str, int]:
    """Send a list with the program's own journal; return what was counted."""
    groups: list[int] = []
    journal = SqliteJournal(
        settings.journal_path, committed=lambda _seconds, changes: groups.append(changes)
    )
    try:
        run = await send_all(journal, settings, campaign, contacts)
    finally:
        await journal.close()
    with SqliteBooks(settings.journal_path) as books:
        accepted = books.counts(run).accepted
    return {"accepted": accepted, "commits": len(groups), "changes": sum(groups)}


async def without_books(
    settings: Settings, campaign: Campaign, contacts: ContactList
) -> dict[str, int]:
    """Send a list with a journal that writes nothing; return what was counted."""
    journal = memory_journal()
    # What it has not, it refuses; see there.
    await send_all(cast(SqliteJournal, journal), settings, campaign, contacts)
    return {"accepted": journal.accepted, "commits": 0, "changes": 0}


def main() -> None:
    """Send a list and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, metavar="LIST.csv")
    parser.add_argument("--journal", choices=[SQLITE, MEMORY], required=True)
    given = parser.parse_args()
    start = time.process_time()
    begin_logging(_FLAGS)
    settings, campaign = load_settings(None, os.environ, {}), load_campaign(Path("campaign.toml"))
    contacts = lists.open_campaign_list(campaign, [str(given.path)])
    send = with_books if given.journal == SQLITE else without_books
    counted = run_loop(settings, send(settings, campaign, contacts))
    took = {"start": start, "run": time.process_time() - start}
    print(orjson.dumps(counted | took).decode())


if __name__ == "__main__":
    main()
