"""How long it takes to prune a million calls, and for how long senders are kept waiting by it.

A journal with one old run is pruned while somebody sends another run, as far as the journal goes: a
batch is claimed, marked as sending and settled, and so on. How long each of these takes is measured
without pruning, beside `phonon-bulk prune` (another process), and beside `Journal.prune` in the
sender's own process, as in the worker. At last nobody is at work, and the file is written anew.

    .venv/bin/python benchmarks/prune.py [--calls 1000000] [--in-a-batch 500]
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from phonon_bulk.batch import Batch, State
from phonon_bulk.call import INDIA, Call, encode
from phonon_bulk.journal import Moment, NewRun, Settlement
from phonon_bulk.journal.frozen import freeze
from phonon_bulk.journal.sqlite import SqliteJournal

COMMAND = str(Path(sys.executable).with_name("phonon-bulk"))
HEAD = b"h" * 32
DAY = 86_400.0
FOR_THE_SENDER = 60_000
"""Batches of one call that are there to be sent."""
ALONE_SECONDS = 5.0


def frozen(name: str, first: int, calls: int, day: date) -> Any:
    """Return a batch of calls of the usual size; those of each run are others."""
    rows = range(first, first + calls)
    data = [
        encode(
            Call(
                client_identifier=f"{name} {row:09d}",
                start_time=f"{day}T10:00:00+05:30",
                contact_numbers=(f"9199{row:08d}",),
                keys=(
                    ("$flow.key.Name", f"Asha {row * 7919 % 100_003}"),
                    ("$flow.key.Amount", f"{row * 104_729 % 99_991}.00"),
                    ("$flow.key.Due", "2026-12-05"),
                    ("$flow.key.Branch", f"Branch {row % 997}"),
                ),
            )
        )
        for row in rows
    ]
    return freeze(Batch(b",".join(data), rows, day))


def new_run(name: str) -> NewRun:
    """Return a run about to be opened."""
    return NewRun(
        campaign=name,
        account="default",
        endpoint="bulk",
        flow_id="QG8k000A",
        definition="{}",
        list='{"files": [], "bytes": 0}',
        list_sha256="00" * 32,
        identity=name,
        not_after=None,
    )


async def fill(journal: SqliteJournal, name: str, calls: int, each: int, at: float) -> int:
    """Put a run into the journal."""
    day = datetime.fromtimestamp(at, INDIA).date()
    run = (await journal.open_run(new_run(name), at)).run
    for first in range(1, calls + 1, 100 * each):
        last = min(first + 100 * each - 1, calls)
        batches = [
            frozen(name, row, min(each, last - row + 1), day)
            for row in range(first, last + 1, each)
        ]
        await journal.append(run, batches, [], after_row=first - 1, last_row=last)
    await journal.finish_reading(run, at)
    return run


def accepted(calls: int) -> Settlement:
    """Return that so many calls were taken."""
    return Settlement(State.ACCEPTED, "accepted", accepted=calls, request_id="r")


async def sent(journal: SqliteJournal, run: int, at: float) -> None:
    """Send a whole run."""
    moment = Moment(at, at)
    while claims := await journal.claim(run, owner=journal.owner, limit=200, now=moment, lease=9e9):
        await asyncio.gather(
            *(journal.send(one, HEAD, journal.owner, moment, 9e9) for one in claims)
        )
        await asyncio.gather(
            *(journal.settle(one.batch, accepted(one.calls), journal.owner, at) for one in claims)
        )


class Sender:
    """Sends a run a batch at a time, and notes how long each change of the journal took."""

    def __init__(self, journal: SqliteJournal, run: int) -> None:
        self.journal, self.run = journal, run
        self.took: list[float] = []

    async def _timed(self, change: Any) -> Any:
        began = time.perf_counter()
        result = await change
        self.took.append(time.perf_counter() - began)
        return result

    async def send(self) -> None:
        """Send until cancelled."""
        journal, owner = self.journal, self.journal.owner
        while True:
            now = journal.now()
            claim = journal.claim(self.run, owner=owner, limit=1, now=now, lease=60)
            for one in await self._timed(claim):
                await self._timed(journal.send(one, HEAD, owner, now, 60))
                await self._timed(journal.settle(one.batch, accepted(1), owner, time.time()))
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Send meanwhile."""
        self.took = []
        await self.journal.begin_work(self.run, "sends", time.time())
        task = asyncio.create_task(self.send())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.journal.end_work(self.run, "sends")

    def figures(self) -> dict[str, float]:
        """Return how long changes took, in milliseconds."""
        took = sorted(self.took)
        at = {"median": 0.5, "p99": 0.99, "p999": 0.999}
        chosen = {name: took[int(len(took) * part)] * 1000 for name, part in at.items()}
        chosen["longest"] = took[-1] * 1000
        return {"changes": len(took), **{name: round(ms, 1) for name, ms in chosen.items()}}


async def command(path: Path) -> dict[str, Any]:
    """Run `phonon-bulk prune`."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "prune", "--older-than", "30", "--json", "--journal", f"sqlite:{path}"),
        stdout=subprocess.PIPE,
        cwd=path.parent,
    )
    out, _ = await process.communicate()
    return {"seconds": round(time.perf_counter() - began, 2), **json.loads(out)}


async def measure(folder: Path, calls: int, each: int) -> None:
    """Do all of it, and print the figures."""
    path, old = folder / "journal.db", time.time() - 60 * DAY
    journal = SqliteJournal(path)
    for number in range(2):
        await sent(journal, await fill(journal, f"old {number}", calls, each, old), old)
    sender = Sender(journal, await fill(journal, "new", FOR_THE_SENDER, 1, time.time()))
    async with sender.at_work():
        await asyncio.sleep(ALONE_SECONDS)
    print("sender alone:", sender.figures())
    async with sender.at_work():
        began = time.perf_counter()
        pruned = await journal.prune(time.time() - 30 * DAY, time.time(), run=1)
        seconds = time.perf_counter() - began
    print(f"in its process: {pruned.calls:,} calls, {seconds:.1f} s;", sender.figures())
    async with sender.at_work():
        report = await command(path)
    print("beside the command:", report)
    print("  sender:", sender.figures())
    await journal.close()
    print("nobody at work:", await command(path))


def main() -> None:
    """Read the command line and measure in a folder that is deleted at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="in each of two old runs")
    parser.add_argument("--in-a-batch", type=int, default=500)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="prune-", dir=Path(__file__).parent / "work"))
    try:
        asyncio.run(measure(folder, chosen.calls, chosen.in_a_batch))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
