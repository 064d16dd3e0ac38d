"""Part 4 of `make bench`: what happens when there is more of something.

    python benchmarks/growth.py                     all four, 5 rounds
    python benchmarks/growth.py --short             smaller ones, 1 round
    python benchmarks/growth.py --only latencies    one of the four, and nothing is written down

sizes       `phonon-bulk run` with lists of 10,000 to 10,000,000 contacts, no limit: time, CPU
            seconds and peak memory of the whole process, Python's start included.
latencies   `phonon-bulk resume` with full batches that are in the journal already, and a server
            that answers after 1 to 500 ms: requests a second without a limit and at 30,000 a
            minute. Nothing is said of workers, so they are as many as the program picks;
            `most_at_once` is how many requests the server had at once. The ramp is off, and the
            first second is not counted.
bodies      the same to its end with 1 to 500 calls in a batch, no limit, answers after 1 ms. CPU
            time a request has the program's start in it.
journals    `run` with 100,000 contacts, and the verb `claim` in a process of its own (until it is
            durable, 32 batches each), with a journal that holds up to 100,000 settled batches.

With two cores or more the program has the first to itself and the counting server the second. All
is in a temporary folder, of up to 4 GB; the lists are kept in benchmarks/work/ (the longest is of
730 MB). Figures are written to benchmarks/results/growth.json.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import small_batches
from at_limit import TOLD, first_arrival, started
from children import end_on_sigterm, ended, has_ended, say
from contacts import Wanted
from counting_server import Server, Sums, counting
from figures import Figures, Round, aim, keep, spread, table
from fleet import environment_of
from kept_lists import kept
from local_phonon import program
from measuring import CLIENT_CORE, OTHERS, SIMULATOR_CORE, Usage, measured, on_core

from phonon_bulk.batch import MAX_CALLS
from phonon_bulk.journal.sqlite import SqliteJournal

LIMIT = 30_000
LARGE, MEDIUM = "10,000,000 contacts", "1,000,000 contacts"
MOST_MB = 400.0
MOST_GROWTH = 1.1
"""How much memory 10,000,000 contacts may take, and how many times that of 1,000,000."""

NO_LIMIT = '"off"'
CLAIMED_AT_ONCE = 32

_READY = 1_000
"""Batches for `claim`."""
_SKIPPED_SECONDS = 1.0
_STOP_SECONDS = 60.0
_NOWHERE = "http://127.0.0.1:9/"
"""A base is never sent from."""
_QUICK = 0.001
"""Seconds until an answer, where it is about something else."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    latencies: tuple[int, ...] = (1, 5, 20, 50, 100, 500)
    """Milliseconds."""
    seconds: float = 10.0
    """For which requests are counted, at each latency."""
    bodies: tuple[int, ...] = (1, 5, 20, 100, 500)
    """Calls in a batch."""
    batches: int = 10_000
    """Of each size."""
    journals: tuple[int, ...] = (0, 1_000, 10_000, 100_000)
    """Settled batches."""
    contacts: int = 100_000
    """In a list that is sent beside them."""


SHORT = Extent(
    rounds=1,
    sizes=(10_000, 100_000, 1_000_000),
    latencies=(5, 50, 500),
    seconds=2.0,
    bodies=(1, 20, 500),
    batches=1_000,
    journals=(0, 1_000, 10_000),
)


# ---- where it is measured


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for one run, and where on the server its requests are counted."""

    folder: Path
    server: Server
    path: str

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / small_batches.JOURNAL

    def settings(self, limit: int | str = NO_LIMIT, more: str = "") -> None:
        """Write settings that send to the server."""
        small_batches.lay_out_settings(self.folder, self.server.url(self.path), limit, more)

    def sums(self) -> Sums:
        """Return what came in."""
        return self.server.sums(self.path)


@dataclass(slots=True)
class Stand:
    """Makes places, and runs the program in them."""

    folder: Path
    pin: bool
    places: int = 0

    @contextlib.contextmanager
    def server(self, delay: float) -> Iterator[Server]:
        """Run a server within the block that answers after `delay` seconds."""
        with counting(delay, tuple(on_core(SIMULATOR_CORE, pin=self.pin))) as server:
            yield server

    @contextlib.contextmanager
    def base(self, *, ready: int = 0, settled: int = 0, calls: int = MAX_CALLS) -> Iterator[Path]:
        """Make a journal within the block, with so many batches ready, or settled; or none."""
        with tempfile.TemporaryDirectory(prefix="base-", dir=self.folder) as name:
            if batches := ready + settled:
                say(f"preparing a journal of {batches:,} batches of {calls} calls")
            if ready:
                small_batches.prepare(Path(name), _NOWHERE, 1, 1, ready, calls, variables=True)
            elif settled:
                small_batches.prepare_settled(Path(name), settled, calls)
            yield Path(name)

    @contextlib.contextmanager
    def place(self, server: Server, base: Path | None = None) -> Iterator[Place]:
        """Make a place within the block, with a copy of the journal in the folder `base`."""
        self.places += 1
        with tempfile.TemporaryDirectory(prefix="place-", dir=self.folder) as name:
            place = Place(Path(name), server, f"run-{self.places}")
            place.settings()
            if base is not None and (base / small_batches.JOURNAL).exists():
                _copy(base / small_batches.JOURNAL, place.journal)
            yield place

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before the program's command."""
        return tuple(on_core(CLIENT_CORE, pin=self.pin))

    def to_the_end(self, place: Place, command: list[str], contacts: int) -> Usage:
        """Run a command that sends so many contacts, each once; return what it took."""
        words = [*self.prefix, program(), *command, "--quiet", "--json"]
        usage, output = measured(words, place.folder, environment_of(self.folder))
        counts, sums = orjson.loads(output), place.sums()
        if counts["accepted"] != contacts or not counts["requests"] == sums.requests == sums.taken:
            sys.exit(
                f"the program and the server disagree over {contacts} contacts: {counts} {sums}"
            )
        return usage

    def warm_up(self, seed: int) -> None:
        """Send a list, so that the modules are compiled."""
        with self.server(0.0) as server, self.place(server) as place:
            self.run(place, kept(Wanted(SHORT.sizes[0], seed)), SHORT.sizes[0])

    def run(self, place: Place, path: Path, contacts: int) -> Usage:
        """Send a list."""
        return self.to_the_end(place, ["run", "campaign.toml", str(path)], contacts)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, and have it on the disk: the run that follows is not to wait for that."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def in_rounds(what: str, extent: Extent, measure: Callable[[], Round]) -> list[Round]:
    """Measure all there is to compare, one after the other, and that so many times."""
    rounds = []
    for number in range(extent.rounds):
        rounds.append(measure())
        say(f"{what}: round {number + 1} of {extent.rounds} is done")
    return rounds


# ---- the four


def sizes(stand: Stand, extent: Extent, seed: int) -> list[Round]:
    """Send lists of all sizes."""
    lists = {size: kept(Wanted(size, seed)) for size in extent.sizes}

    def of_size(size: int) -> Figures:
        with stand.place(server) as place:
            taken = stand.run(place, lists[size], size).figures(size)
        if not stand.prefix:
            del taken[OTHERS]  # the program had no core of its own to count it on
        return taken

    with stand.server(0.0) as server:
        return in_rounds(
            "sizes", extent, lambda: {f"{size:,} contacts": of_size(size) for size in lists}
        )


def latencies(stand: Stand, extent: Extent, _seed: int) -> list[Round]:
    """Send to servers that answer after some time."""

    def at_latency(milliseconds: int) -> Figures:
        # All may come at once, and again when all are answered: begin and end lie in between.
        skip = _SKIPPED_SECONDS + milliseconds / 2000
        with stand.server(milliseconds / 1000) as server:
            free, limited = (
                _rate(stand, base, server, limit, extent.seconds, skip)
                for limit in (NO_LIMIT, LIMIT)
            )
        return {
            **free,
            "under_the_limit": limited["requests_per_second"],
            "percent_of_the_limit": round(100 * limited["requests_per_second"] / (LIMIT / 60), 1),
        }

    enough = round(LIMIT / 60 * (extent.seconds + _SKIPPED_SECONDS + 1.0))
    with stand.base(ready=enough) as base:
        return in_rounds(
            "latencies", extent, lambda: {f"{ms} ms": at_latency(ms) for ms in extent.latencies}
        )


def _rate(
    stand: Stand, base: Path, server: Server, limit: int | str, seconds: float, skip: float
) -> Figures:
    """Send for a while; return how many requests came in a second, but for those of the start."""
    with stand.place(server, base) as place:
        place.settings(limit, "ramp = 0\n")
        command = ["resume", "1", "--quiet"]
        with started(command, place.folder, stand.folder, stand.prefix) as process:
            begin = first_arrival(server, place.path, process) + skip
            while time.monotonic() < begin + seconds and not has_ended(process):
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGTERM)  # it may have ended, but was not waited for
            cpu = ended(process, _STOP_SECONDS)
        if process.returncode not in (0, TOLD):
            sys.exit(f"phonon-bulk ended with exit code {process.returncode}")
        moments = sorted(arrival.moment for arrival in server.arrivals(place.path))
        end = min(begin + seconds, moments[-1])  # all may have been sent before
        count = bisect_left(moments, end) - bisect_left(moments, begin)
        return {
            "requests_per_second": round(count / (end - begin), 1),
            "most_at_once": place.sums().most_at_once,
            "cpu_ms_a_request": round(1000 * cpu / len(moments), 3),
        }


def bodies(stand: Stand, extent: Extent, _seed: int) -> list[Round]:
    """Send batches of all sizes."""

    def of_calls(calls: int) -> Figures:
        with stand.place(server, bases[calls]) as place:
            usage = stand.to_the_end(place, ["resume", "1"], extent.batches * calls)
            sums = place.sums()
        rate = (sums.requests - 1) / ((sums.last or 0.0) - (sums.first or 0.0))
        return {
            "body_bytes": round(sums.body_bytes / sums.requests),
            "requests_per_second": round(rate, 1),
            "contacts_per_second": round(rate * calls),
            "cpu_ms_a_request": round(1000 * usage.cpu_seconds / sums.requests, 3),
        }

    with contextlib.ExitStack() as stack:
        bases = {
            calls: stack.enter_context(stand.base(ready=extent.batches, calls=calls))
            for calls in extent.bodies
        }
        server = stack.enter_context(stand.server(_QUICK))
        return in_rounds(
            "bodies", extent, lambda: {f"{calls} calls": of_calls(calls) for calls in bases}
        )


def journals(stand: Stand, extent: Extent, seed: int) -> list[Round]:
    """Send a list beside others that were sent before."""
    path = kept(Wanted(extent.contacts, seed))

    def beside(settled: int) -> Figures:
        with stand.place(server, bases[settled]) as place:
            usage = stand.run(place, path, extent.contacts)
            run = small_batches.add_run(place.folder, 1, _READY, MAX_CALLS, variables=True)
            claims = asyncio.run(_claims(place.journal, run))
        return {
            "seconds": round(usage.seconds, 2),
            "cpu_seconds": round(usage.cpu_seconds, 2),
            "claim_ms": round(1000 * median(claims), 2),
            "longest_claim_ms": round(1000 * max(claims), 2),
        }

    with contextlib.ExitStack() as stack:
        bases = {
            settled: stack.enter_context(stand.base(settled=settled)) for settled in extent.journals
        }
        server = stack.enter_context(stand.server(_QUICK))
        return in_rounds("journals", extent, lambda: {f"{n:,} batches": beside(n) for n in bases})


async def _claims(path: Path, run: int) -> list[float]:
    """Claim all of a run; return the seconds of each claim."""
    journal, taken = SqliteJournal(path), list[float]()
    try:
        while True:
            began = time.perf_counter()
            claims = await journal.claim(
                run, owner=journal.owner, limit=CLAIMED_AT_ONCE, now=journal.now(), lease=60.0
            )
            if not claims:
                return taken
            taken.append(time.perf_counter() - began)
    finally:
        await journal.close()


# ---- the benchmark

PARTS: dict[str, Callable[[Stand, Extent, int], list[Round]]] = {
    "sizes": sizes,
    "latencies": latencies,
    "bodies": bodies,
    "journals": journals,
}


def aims(record: dict[str, Any]) -> list[str]:
    """Return what was to be reached, and whether it was."""
    of = record.get("sizes", {}).get("spread", {})
    if not {LARGE, MEDIUM} <= of.keys():
        return ["not measured here: memory at 10,000,000 contacts"]
    peak, medium = (of[size]["peak_mb"]["median"] for size in (LARGE, MEDIUM))
    times = round(peak / medium, 2)
    return [
        aim(f"at most {MOST_MB:g} MB at {LARGE}: {peak} MB", met=peak <= MOST_MB),
        aim(
            f"at most {MOST_GROWTH:g} times the memory at {MEDIUM}: {times} times",
            met=peak <= MOST_GROWTH * medium,
        ),
    ]


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="smaller ones, 1 round")
    parser.add_argument("--only", choices=PARTS, help="one of the four; nothing is written down")
    parser.add_argument("--rounds", type=int, metavar="N", help="5, short 1")
    parser.add_argument("--seed", type=int, default=1, help="of the lists")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="let both use any core")
    given = parser.parse_args()
    chosen = SHORT if given.short else Extent(rounds=5)
    extent = replace(chosen, rounds=given.rounds or chosen.rounds)
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name:
        stand = Stand(Path(name), given.pin)
        stand.warm_up(given.seed)
        for part in [given.only] if given.only else PARTS:
            rounds = PARTS[part](stand, extent, given.seed)
            record[part] = {"spread": spread(rounds), "rounds": rounds}
            print(f"\n{part}, {extent.rounds} rounds\n")
            print(table(record[part]["spread"] if extent.rounds > 1 else rounds[0]), flush=True)
    reached = aims(record)
    print("\n" + "\n".join(reached))
    if not given.only:
        keep("growth", describe(given, extent) | {"aims": reached} | record)


def describe(given: argparse.Namespace, extent: Extent) -> dict[str, Any]:
    """Return what a reader must know besides."""
    return {
        "what": "more contacts, later answers, larger bodies, more in the journal",
        "short": given.short,
        "seed": given.seed,
        "program_on_one_core": bool(on_core(CLIENT_CORE, pin=given.pin)),
        "limit": LIMIT,
        "seconds_at_each_latency": extent.seconds,
        "batches_of_each_size": extent.batches,
        "contacts_beside_settled_batches": extent.contacts,
        "claimed_at_once": CLAIMED_AT_ONCE,
    }


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
