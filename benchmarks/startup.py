"""Part 5 of `make bench`: how soon a command has done something.

    python benchmarks/startup.py                7 rounds
    python benchmarks/startup.py --short        3 rounds

`phonon-bulk --help`, `--version`, and `status` with a journal of 100,000 batches, all of one run
that is done: seconds of the whole process. Beside them Python with nothing to do. And `run` with a
list of 1,000,000 contacts that it has never seen, once with names in quotes and once without any:
seconds from the process's start until the first byte of its first request was at the counting
server, by the one clock that both share; then it is killed.

Modules are compiled beforehand, and lists and journal are in memory, as far as they are files. With
two cores or more the program has the first to itself and the server the second. Figures are written
to benchmarks/results/startup.json.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_batches
from at_limit import first_arrival, started
from children import end_on_sigterm, say
from contacts import Wanted
from counting_server import Server, counting
from figures import Figures, Round, Spread, aim, keep, spread, table
from fleet import environment_of
from kept_lists import kept
from local_phonon import program
from measuring import CLIENT_CORE, SIMULATOR_CORE, measured, on_core

PATH = "bulk"
LIMIT = 30_000

PYTHON, HELP, VERSION, STATUS = "python alone", "--help", "--version", "status"
QUOTES, PLAIN = "first POST, quotes", "first POST, no quotes"
AIMS = {HELP: 0.3, STATUS: 0.5, QUOTES: 1.0, PLAIN: 1.0}
"""Seconds that each is to stay under."""

_SHORT_CALLS = 20
"""In a batch of the journal, where it is to be made quickly: `status` reads no calls."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What is there: a folder with a journal, two lists, and where modules are compiled."""

    folder: Path
    lists: dict[str, Path]
    batches: int
    pin: bool

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command."""
        return tuple(on_core(CLIENT_CORE, pin=self.pin))

    def whole(self, *command: str, says: str = "") -> Figures:
        """Run a command to its end, and see that it says something; return what it took."""
        env = environment_of(self.folder)
        usage, output = measured([*self.prefix, *command], self.folder, env)
        if says not in output.decode():
            sys.exit(f"it does not say {says!r}: {' '.join(command)}")
        return {"seconds": round(usage.seconds, 3), "cpu_seconds": round(usage.cpu_seconds, 3)}

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """Run a server within the block."""
        with counting(prefix=tuple(on_core(SIMULATOR_CORE, pin=self.pin))) as server:
            yield server

    def first_post(self, path: Path) -> Figures:
        """Start `run` with a list and an empty journal, and kill it when it has sent something."""
        with (
            tempfile.TemporaryDirectory(prefix="run-", dir=self.folder) as name,
            self.server() as server,
        ):
            folder = Path(name)
            small_batches.lay_out_settings(folder, server.url(PATH), LIMIT)
            command = ["run", "campaign.toml", str(path), "--quiet"]
            began = time.monotonic()
            with started(command, folder, self.folder, self.prefix) as process:
                return {"seconds": round(first_arrival(server, PATH, process) - began, 3)}


def one_round(stand: Stand) -> Round:
    """Measure each once."""
    batches = f"{stand.batches:,} batches"
    return {
        PYTHON: stand.whole(sys.executable, "-c", "pass"),
        VERSION: stand.whole(program(), "--version"),
        HELP: stand.whole(program(), "--help", says="status"),
        STATUS: stand.whole(program(), "status", says=batches),
        **{name: stand.first_post(path) for name, path in stand.lists.items()},
    }


def measure(given: argparse.Namespace, rounds: int) -> list[Round]:
    """Prepare all, and measure in rounds."""
    lists = {
        QUOTES: kept(Wanted(given.contacts, given.seed)),
        PLAIN: kept(Wanted(given.contacts, given.seed, plain=True)),
    }
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as name:
        stand = Stand(Path(name), lists, given.batches, given.pin)
        say(f"making a journal of {given.batches:,} batches")
        calls = (_SHORT_CALLS,) if given.short else ()
        small_batches.prepare_settled(stand.folder, given.batches, *calls)
        one_round(stand)  # compiles the modules
        done = []
        for number in range(rounds):
            done.append(one_round(stand))
            say(f"startup: round {number + 1} of {rounds} is done")
        return done


def aims(of: dict[str, Spread]) -> list[str]:
    """Return what was to be reached, and whether it was."""
    medians = {name: of[name]["seconds"]["median"] for name in AIMS}
    return [
        aim(f"{name} in under {most:g} s: {medians[name]} s", met=medians[name] < most)
        for name, most in AIMS.items()
    ]


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="3 rounds, small batches")
    parser.add_argument("--rounds", type=int, metavar="N", help="7, short 3")
    parser.add_argument("--contacts", type=int, default=1_000_000, metavar="N", help="in the list")
    parser.add_argument("--batches", type=int, default=100_000, metavar="N", help="in the journal")
    parser.add_argument("--seed", type=int, default=1, help="of the lists")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="let both use any core")
    given = parser.parse_args()
    rounds = measure(given, given.rounds or (3 if given.short else 7))
    of = spread(rounds)
    reached = aims(of)
    print(f"\n{given.contacts:,} contacts, {given.batches:,} batches, {len(rounds)} rounds\n")
    print(table(of))
    print("\n" + "\n".join(reached))
    record: dict[str, Any] = {
        "what": "seconds until a command has ended, or has sent its first request",
        "short": given.short,
        "seed": given.seed,
        "program_on_one_core": bool(on_core(CLIENT_CORE, pin=given.pin)),
        "contacts": given.contacts,
        "batches": given.batches,
        "limit": LIMIT,
        "aims": reached,
        "spread": of,
        "rounds": rounds,
    }
    keep("startup", record)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
