"""Part 2 of `make bench`: how much of the provider's limit one process fills with full batches.

    python benchmarks/at_limit.py               30,000 requests a minute for 2 minutes
    python benchmarks/at_limit.py --read        the same, and the list is read meanwhile
    python benchmarks/at_limit.py --short       for 30 seconds

A minute at the limit is 15,000,000 contacts with four flow variables, in requests of 500 calls and
158 KB. They are in the journal beforehand (small_batches.py), and `phonon-bulk resume` sends them.
With --read there is a list instead, of 2.4 GB for 2 minutes, and `phonon-bulk run` looks it over,
and then reads, checks, freezes and sends at the same time.

The counting server answers after 50 ms. It and the program share all cores; none is kept for
either. Counted are the requests as they came in, in full minutes after the ramp (with --short in
30 seconds, against half of the limit), and the fullest window of that length wherever it begins.
CPU seconds are those within these minutes.

Takes up to 4 GB in a temporary folder, and some minutes to prepare it. Figures are written to
benchmarks/results/at_limit.json, with --read to at_limit-read.json.
"""

import argparse
import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import small_batches
import windows
from bench_limit import RAMP, of_law
from children import (
    before_others,
    busy_seconds,
    cpu_seconds_of,
    end_on_sigterm,
    ended,
    has_ended,
    say,
)
from contacts import Wanted, write
from counting_server import DELAY, Server, counting
from figures import Figures, aim, of_each
from fleet import environment_of
from local_phonon import program

from phonon_bulk.batch import MAX_CALLS, State
from phonon_bulk.journal.books import SqliteBooks

PATH = "bulk"
FILLED = 98.0
"""Percent of the limit that are to be filled."""

TOLD = 5
"""The exit code of a program that was told to stop."""

_SPARE_SECONDS = 4.0
"""So much more is prepared than can be sent in the minutes and the ramp."""

_FIRST_SECONDS = 300.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
_FREE_BYTES = 8e9


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at: so many periods of `seconds` one after the other."""

    seconds: float
    periods: int
    limit: int
    """Requests a minute."""

    @property
    def whole(self) -> float:
        """Seconds of all periods."""
        return self.seconds * self.periods

    @property
    def share(self) -> float:
        """How many requests are all of the limit, in one period."""
        return self.limit * self.seconds / windows.MINUTE

    @property
    def batches(self) -> int:
        """How many are enough."""
        return math.ceil(self.limit / windows.MINUTE * (RAMP + self.whole + _SPARE_SECONDS))


@dataclass(frozen=True, slots=True)
class Took:
    """CPU seconds: of the program, of the server, and of all that ran on this machine."""

    ours: float
    server: float
    all: float

    def since(self, before: "Took") -> "Took":
        """Return the difference."""
        return Took(self.ours - before.ours, self.server - before.server, self.all - before.all)


# ---- one run


def lay_out(given: argparse.Namespace, span: Span, folder: Path, url: str) -> list[str]:
    """Put all that is to be sent into `folder`; return the command that sends it."""
    contacts = span.batches * MAX_CALLS
    if not given.read:
        say(f"putting {contacts:,} contacts into a journal, {span.batches:,} batches")
        small_batches.prepare(folder, url, span.limit, 1, span.batches, MAX_CALLS, variables=True)
        return ["resume", "1", "--quiet"]
    say(f"writing a list of {contacts:,} contacts")
    small_batches.lay_out_settings(folder, url, span.limit)
    write(Wanted(contacts, given.seed), folder / "list.csv")
    return ["run", "campaign.toml", "list.csv", "--quiet"]


@contextlib.contextmanager
def started(
    command: list[str], folder: Path, compiled: Path, prefix: tuple[str, ...] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """Start the program within the block; it is killed if it has not ended by then.

    `folder` is the one it works in, its modules are compiled into `compiled`. `prefix` stands
    before the command, such as taskset and its options.
    """
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*prefix, program(), *command],
            cwd=folder,
            env=environment_of(compiled),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            process_group=0,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            ended(process, _STOP_SECONDS)


def first_arrival(server: Server, path: str, process: "subprocess.Popen[str]") -> float:
    """Return when the first request came at a path; wait for it."""
    deadline = time.monotonic() + _FIRST_SECONDS
    while time.monotonic() < deadline and not has_ended(process):
        if (first := server.sums(path).first) is not None:
            return first
        time.sleep(_POLL_SECONDS)
    sys.exit("phonon-bulk sent nothing")


def wait_until(moment: float, process: "subprocess.Popen[str]") -> None:
    """Return at a moment; end this program if the other one ends before."""
    while (left := moment - time.monotonic()) > 0:
        if has_ended(process):
            sys.exit("phonon-bulk ended before the time was over")
        time.sleep(min(left, _POLL_SECONDS))


def took(server: Server, process: "subprocess.Popen[str]") -> Took:
    """Return what was taken so far."""
    return Took(cpu_seconds_of(process.pid), server.cpu_so_far(), busy_seconds())


def peak_mb(process: "subprocess.Popen[str]") -> float:
    """Return the most memory that a running process had so far."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    lines = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return sum(int(line[1]) * 1024 / 1e6 for line in lines)


def measure(span: Span, server: Server, command: list[str], folder: Path) -> Figures:
    """Let the program send until the last period is over; return the figures."""
    with started(command, folder, folder) as process:
        begin = first_arrival(server, PATH, process) + RAMP
        wait_until(begin, process)
        before = took(server, process)
        wait_until(begin + span.whole, process)
        after = took(server, process)
        peak = peak_mb(process)
        wait_until(begin + span.whole + 0.5, process)  # the last window too ends under way
        process.terminate()
        ended(process, _STOP_SECONDS)
    if process.returncode != TOLD:
        sys.exit(f"phonon-bulk ended with exit code {process.returncode}, not {TOLD}")
    agree(server, folder)
    cost = of_cost(span, after.since(before))
    return of_span(span, server, begin) | cost | {"peak_mb": round(peak, 1)}


def agree(server: Server, folder: Path) -> None:
    """See that the journal and the server have the same, and nothing twice."""
    with SqliteBooks(folder / small_batches.JOURNAL) as books:
        batches = books.counts(1).batches
    sums, accepted = server.sums(PATH), batches.get(State.ACCEPTED, 0)
    others = sum(batches.values()) - accepted - batches.get(State.READY, 0)
    if not sums.requests == sums.taken == accepted or others:
        sys.exit(
            f"of {sums.requests} requests the server took {sums.taken}; in the journal {accepted}"
            f" batches are accepted, and {others} neither that nor ready"
        )


# ---- figures


def of_span(span: Span, server: Server, begin: float) -> Figures:
    """Return how much of the limit was filled."""
    moments = sorted(arrival.moment for arrival in server.arrivals(PATH))
    counts = [
        sum(
            begin + n * span.seconds <= moment < begin + (n + 1) * span.seconds
            for moment in moments
        )
        for n in range(span.periods)
    ]
    return {
        "filled_percent": round(100 * sum(counts) / span.share / span.periods, 2),
        "least_filled_percent": round(100 * min(counts) / span.share, 2),
        "worst_window": windows.most(moments, span.seconds),
        "allowed_in_window": of_law(span.limit, span.seconds),
        "contacts_per_second": round(sum(counts) * MAX_CALLS / span.whole),
    }


def of_cost(span: Span, cost: Took) -> Figures:
    """Return what it took within the periods."""
    machine = span.whole * (os.cpu_count() or 1)
    others = max(0.0, cost.all - cost.ours - cost.server)
    shares = {"ours": cost.ours, "server": cost.server, "everything_else": others}
    return {
        "cpu_seconds": round(cost.ours, 2),
        **{f"percent_of_machine_{who}": round(100 * s / machine, 1) for who, s in shares.items()},
    }


def aims(span: Span, spread: figures.Spread) -> list[str]:
    """Return what was to be reached, and whether it was."""
    filled, worst = spread["filled_percent"]["median"], spread["worst_window"]["max"]
    allowed = of_law(span.limit, span.seconds)
    window = f"{span.seconds:g} seconds"
    return [
        aim(f"at least {FILLED:g} % of the limit filled: {filled} %", met=filled >= FILLED),
        aim(f"at most {allowed:,} requests in any {window}: {worst:,}", met=worst <= allowed),
    ]


# ---- the benchmark


def bench(given: argparse.Namespace, span: Span) -> Figures:
    """Measure once."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-at-limit-", dir=given.folder) as name,
        counting(given.delay) as server,
    ):
        folder = Path(name)
        command = lay_out(given, span, folder, server.url(PATH))
        say(f"sending for {RAMP + span.whole:g} seconds")
        return measure(span, server, command, folder)


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="for 30 seconds")
    parser.add_argument("--read", action="store_true", help="read the list at the same time")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--minutes", type=int, default=2, metavar="N", help="full minutes")
    parser.add_argument("--limit", type=int, default=30_000, metavar="N", help="requests a minute")
    parser.add_argument("--delay", type=float, default=DELAY, metavar="SECONDS", help="per answer")
    parser.add_argument("--seed", type=int, default=1, help="of the list")
    parser.add_argument(
        "--first", action="store_true", help="run before all other programs; needs root"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="for what is temporary")
    given = parser.parse_args()
    span = Span(30.0, 1, given.limit) if given.short else Span(60.0, given.minutes, given.limit)
    enough_room(given.folder or Path(tempfile.gettempdir()))
    with before_others() if given.first else contextlib.nullcontext():
        rounds = [bench(given, span) for _ in range(given.rounds)]
    show(given, span, rounds)


def enough_room(folder: Path) -> None:
    """End this program if the disk is too full."""
    place = os.statvfs(folder)
    if place.f_bavail * place.f_frsize < _FREE_BYTES:
        sys.exit(f"{folder} has less than 8 GB free: name another folder with --folder")


def show(given: argparse.Namespace, span: Span, rounds: list[Figures]) -> None:
    """Print the figures and write them down."""
    how = "list read meanwhile" if given.read else "in the journal beforehand"
    spread = of_each(rounds)
    reached = aims(span, spread)
    print(f"\n{given.limit:,} requests a minute, {span.periods} x {span.seconds:g} seconds\n")
    seen = spread if len(rounds) > 1 else rounds[0]
    print(figures.table({name: {how: value} for name, value in seen.items()}))
    print("\n" + "\n".join(reached))
    record: dict[str, Any] = {
        "what": "one process at the limit, full batches, all cores shared with the server",
        "how": how,
        "short": given.short,
        "before_other_programs": given.first,
        "limit": given.limit,
        "seconds": span.seconds,
        "periods": span.periods,
        "answer_after_seconds": given.delay,
        "calls_in_a_batch": MAX_CALLS,
        "seed": given.seed,
        "aims": reached,
        "spread": spread,
        "rounds": rounds,
    }
    figures.keep("at_limit" + "-read" * given.read, record)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
