"""Drop folders in a folder of a test's own; as a script, a process that takes files until it dies.

    python dropping.py FOLDER [POINT]

takes what is in FOLDER/incoming. It is killed when POINT is reached: `before:STEP` or `after:STEP`,
where STEP is a step of `filing` in STEPS, or `rename#N`, the Nth renaming. (Changes of the journal
are killed at by `saboteur/`.)
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from builders import FLOW_ID

from phonon_bulk.config import Settings, load_campaign
from phonon_bulk.journal import Run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import summarize
from phonon_bulk.worker.drop import DropFolders, filing

OLD = 3600.0
"""Seconds since a file was written to that is whole."""
PATIENCE = 60.0
STEPS = ("_reserve", "_write", "_move", "_publish")
HEADER = "tel1,client-identifier"


@dataclass(frozen=True)
class Place:
    """A campaign's folder, with the journal in it."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """Settings with this journal."""
        return Settings(journal=str(self.folder / "journal.db"))

    @property
    def incoming(self) -> Path:
        """The watched folder."""
        return self.folder / "incoming"

    def campaign(self, name: str = "reminder", rest: str = "", watch: str | None = None) -> Path:
        """Write a campaign that watches `incoming`, or something else."""
        self.incoming.mkdir(exist_ok=True)
        path = self.folder / f"{name}.toml"
        path.write_text(
            f'[campaign]\nname = "{name}"\nflow_id = "{FLOW_ID}"\n'
            f'{rest}\n[source]\nwatch = "{watch or "incoming/*.csv"}"\n'
        )
        return path

    def drop(self, name: str, text: str | bytes, age: float = OLD) -> Path:
        """Put a file into the watched folder that was written so long ago."""
        path = self.incoming / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        made_old(path, age)
        return path

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in (self.folder / folder).iterdir())
        return []

    def text(self, name: str) -> str:
        """Return what is in a file."""
        return (self.folder / name).read_text("utf-8-sig")

    def runs(self) -> list[Run]:
        """Return the runs, the first one first. Each adds up."""
        with SqliteBooks(self.folder / "journal.db") as books:
            runs = books.runs(10_000)[::-1]
            for run in runs:
                summarize(books, run.id)
            return runs

    def called(self) -> Counter[str]:
        """Return how often each contact is to be called, over all runs that weren't cancelled."""
        found: Counter[str] = Counter()
        with SqliteBooks(self.folder / "journal.db") as books:
            for run in books.runs(10_000):
                for batch in books.batches(run.id):
                    calls = orjson.loads(b"[" + (batch.calls or b"") + b"]")
                    if batch.state != "cancelled":
                        found.update(call["client-identifier"] for call in calls)
        return found


def made_old(path: Path, age: float = OLD) -> None:
    """Let a file have been written so long ago."""
    then = time.time() - age
    os.utime(path, (then, then), follow_symlinks=False)


def a_list(rows: Sequence[int], bad: Sequence[int] = ()) -> str:
    """Return a list in Phonon's template; the rows in `bad` have no usable number."""
    lines = [f"{'none' if row in bad else 919000000000 + row},ACC{row}" for row in rows]
    return "\n".join([HEADER, *lines]) + "\n"


@contextlib.asynccontextmanager
async def opened(place: Place) -> Any:
    """Open the journal of a place."""
    journal = SqliteJournal(place.folder / "journal.db")
    try:
        yield journal
    finally:
        await journal.close()


async def take(
    place: Place, *names: str, until: Callable[[], bool] | None = None, settle: float = 5.0
) -> None:
    """Watch for campaigns until nothing is left in `incoming`, or until something is true."""

    def done() -> bool:
        left = [path for path in place.incoming.iterdir() if not path.name.startswith(".")]
        return not left and not list(place.folder.glob(f"*/.*{filing._HIDDEN}"))

    campaigns = [load_campaign(place.folder / f"{name}.toml") for name in names or ("reminder",)]
    folders = DropFolders(
        place.settings, campaigns, settle=settle, settle_empty=60.0, look_every=0.02
    )
    stop = asyncio.Event()
    async with opened(place) as journal:
        watching = asyncio.create_task(folders.watch(journal, stop))
        deadline = time.monotonic() + PATIENCE
        while not (until or done)() and not watching.done():
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.01)
        stop.set()
        await watching


def _arm(point: str) -> None:
    """Let the process die at a point."""
    when, _, step = point.partition(":")
    renamed = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def rename(self: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        result = real_rename(self, target)
        if point == f"rename#{renamed}":
            die()
        return result

    def watched(*arguments: Any) -> Any:
        if when == "before":
            die()
        result = original(*arguments)
        die()
        return result

    real_rename = Path.rename
    if step:
        original = getattr(filing, step)
        setattr(filing, step, watched)
    else:
        Path.rename = rename  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _arm(sys.argv[2])
    asyncio.run(take(Place(Path(sys.argv[1]))))
