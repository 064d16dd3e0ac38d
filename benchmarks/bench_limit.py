"""`make bench-limit`: whether four processes, killed over and over, keep the provider's limit.

    python benchmarks/bench_limit.py                      30,000 requests a minute for 3 minutes
    python benchmarks/bench_limit.py --limit 3000         the same with less work for the machine

Four `phonon-bulk resume` send four runs of one journal; every 3 seconds one of them is killed
(SIGKILL) and started again, in turn. HAProxy stands before the server with a counter over 60
seconds, and denies what is over the limit. The server counts for itself, by the moments at which
requests came. The batches are small (see small_batches.py), so that the work is for requests; the
server answers after 50 ms.

At the end all are told to stop, what was not sent is expired, what is in doubt is settled by
`phonon-bulk resume`, and the journal's accepted bodies are compared with those the server took.

All is in a temporary folder and on this machine. Figures are written to
benchmarks/results/limit.json.
"""

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import small_batches
import windows
from children import busy_seconds, end_on_sigterm, say
from counting_server import DELAY, Arrival, Server, counting
from fleet import Fleet, fleet
from judge import Judge, denials, haproxy, judging
from measuring import commit, machine

RESULTS = Path(__file__).resolve().parent / "results"
PATH = "bulk"

PROCESSES = 4
HEADROOM = 0.5
RAMP = 3.0
"""Seconds; the defaults of endpoints.bulk.headroom and .ramp."""

SPARE = 1.5
"""So many times the batches that can be sent are prepared, as the runs need not be even."""

_FIRST_SECONDS = 60.0
_SETTLE_SECONDS = 180.0


# ---- one run


@dataclass(frozen=True, slots=True)
class Stand:
    """What is there for one run: options, folder, server, judge."""

    minutes: int
    limit: int
    kill_every: float
    folder: Path
    server: Server
    judge: Judge

    def first_arrival(self) -> float:
        """Return when the first request came; wait for it."""
        deadline = time.monotonic() + _FIRST_SECONDS
        while time.monotonic() < deadline:
            if arrivals := self.server.arrivals(PATH):
                return arrivals[0].moment
            time.sleep(0.2)
        sys.exit(f"nothing was sent in {_FIRST_SECONDS:g} seconds")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen while the processes were at work."""

    arrivals: list[Arrival]
    verdicts: list[tuple[str, int]]
    seconds: float
    cpu_seconds: float
    """Of all phonon-bulk processes."""
    busy_seconds: float
    """Of all cores, whatever for."""
    waiting: list[int]


def measure(stand: Stand, senders: Fleet) -> Measured:
    """Let the processes send, and kill them in turn, until the last full minute is over."""
    began, busy = time.monotonic(), busy_seconds()
    end = stand.first_arrival() + RAMP + stand.minutes * windows.MINUTE + 1.0
    next_kill = time.monotonic() + stand.kill_every if stand.kill_every else math.inf
    while (now := time.monotonic()) < end:
        if now >= next_kill:
            senders.kill_next()
            next_kill += stand.kill_every
        time.sleep(max(0.0, min(next_kill, end) - time.monotonic()))
    say("the time is over; telling the processes to stop")
    senders.stop()
    return Measured(
        arrivals=stand.server.arrivals(PATH),
        verdicts=stand.judge.verdicts(),
        seconds=time.monotonic() - began,
        cpu_seconds=senders.cpu_seconds,
        busy_seconds=busy_seconds() - busy,
        waiting=small_batches.waiting(stand.folder, PROCESSES),
    )


def settle(stand: Stand, senders: Fleet) -> dict[str, int]:
    """Settle what is in doubt; return how the journal and the server agree."""
    say("settling what is in doubt")
    small_batches.expire_what_is_left(stand.folder, PROCESSES)
    senders.run_to_the_end(_SETTLE_SECONDS)
    ended = small_batches.outcome(stand.folder, PROCESSES)
    taken = Counter(arrival.body for arrival in stand.server.arrivals(PATH) if arrival.taken)
    ours = Counter(ended.accepted)
    return {
        "accepted in the journal": ours.total(),
        "taken by the server": taken.total(),
        "lost": (ours - taken).total(),
        "doubled": taken.total() - len(taken),
        "not known to the journal": (taken - ours).total(),
        "unsettled": ended.others,
    }


# ---- figures


def of_law(limit: int, seconds: float) -> int:
    """Return how many may arrive in any so many seconds."""
    return math.ceil(limit * (seconds + HEADROOM) / (windows.MINUTE + HEADROOM))


def figures(given: argparse.Namespace, seen: Measured) -> dict[str, Any]:
    """Return what the run says of the limit."""
    moments = [arrival.moment for arrival in seen.arrivals]
    minutes = windows.by_minute(moments, moments[0] + RAMP, given.minutes)
    windowed = {f"{seconds} s": windows.most(moments, seconds) for seconds in (60, 10, 1)}
    return {
        "denied by HAProxy": denials(seen.verdicts),
        "requests in each full minute": minutes,
        "percent of the limit": [round(100 * count / given.limit, 2) for count in minutes],
        "worst 60 s by the server": windowed["60 s"],
        "worst 60 s by HAProxy": max(count for _, count in seen.verdicts),
        "most in any": windowed,
        "allowed in any": {f"{seconds} s": of_law(given.limit, seconds) for seconds in (60, 10, 1)},
        "arrivals": len(moments),
        "repeats": sum(not arrival.taken for arrival in seen.arrivals),
        "batches left over": seen.waiting,
    }


def cost(seen: Measured, stand: Stand) -> dict[str, float]:
    """Return what the run took, in CPU seconds; `stand` must have ended."""
    ours = {
        "phonon-bulk": seen.cpu_seconds,
        "haproxy": stand.judge.cpu_seconds,
        "server": stand.server.cpu_seconds,
    }
    others = max(0.0, seen.busy_seconds - sum(ours.values()))
    return {name: round(value, 1) for name, value in {**ours, "everything else": others}.items()}


def table(record: dict[str, Any]) -> str:
    """Return the figures as lines of text."""
    return "\n".join(f"  {name:<32}{_text(value)}" for name, value in record.items())


def _text(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{name}: {_text(one)}" for name, one in value.items())
        case list():
            return ", ".join(_text(one) for one in value) or "none"
        case int() | float():
            return f"{value:,}"
        case _:
            return str(value)


def problems(record: dict[str, Any], limit: int) -> list[str]:
    """Return what is not as it should be."""
    found = []
    if record["denied by HAProxy"]:
        found.append(f"HAProxy denied {record['denied by HAProxy']} requests")
    if record["worst 60 s by the server"] > limit:
        found.append(f"60 seconds had {record['worst 60 s by the server']:,} requests")
    found += [
        f"{record[name]:,} batches {name}"
        for name in ("lost", "doubled", "not known to the journal", "unsettled")
        if record[name]
    ]
    if not min(record["batches left over"]):
        found.append("a run had nothing left to send: prepare more batches")
    found += record["ended by themselves"]
    return found


# ---- the benchmark


def bench(given: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return the figures."""
    haproxy()  # before anything is begun
    batches = math.ceil(SPARE * given.limit * (given.minutes + 0.5) / PROCESSES)
    with tempfile.TemporaryDirectory(prefix="bench-limit-") as name:
        folder = Path(name)
        with counting() as server, judging(folder, server.port, given.limit) as judge:
            say(f"preparing {PROCESSES} runs of {batches:,} batches")
            small_batches.prepare(folder, judge.url(PATH), given.limit, PROCESSES, batches)
            stand = Stand(given.minutes, given.limit, given.kill_every, folder, server, judge)
            say(f"sending for {given.minutes} minutes, one of {PROCESSES} killed in turn")
            with fleet(folder, PROCESSES) as senders:
                seen = measure(stand, senders)
                agreement = settle(stand, senders)
        return {
            **figures(given, seen),
            "kills": senders.kills,
            "ended by themselves": senders.troubles,
            **agreement,
            "seconds": round(seen.seconds, 1),
            "CPU seconds": cost(seen, stand),
        }


def keep(given: argparse.Namespace, record: dict[str, Any], found: list[str]) -> None:
    """Write the figures down."""
    document = {
        "what": "several phonon-bulk processes on one journal, killed in turn, before HAProxy",
        "machine": machine(),
        "commit": commit(),
        "limit": given.limit,
        "minutes": given.minutes,
        "processes": PROCESSES,
        "kill_every_seconds": given.kill_every,
        "calls_in_a_batch": small_batches.CALLS,
        "answer_after_seconds": DELAY,
        "problems": found,
        **record,
    }
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "limit.json").write_bytes(text)
    print("\nwritten to benchmarks/results/limit.json")


def main() -> None:
    """Measure, print and write down; exit code 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=int, default=3, metavar="N", help="full minutes")
    parser.add_argument("--limit", type=int, default=30_000, metavar="N", help="requests a minute")
    parser.add_argument(
        "--kill-every", type=float, default=3.0, metavar="SECONDS", help="0 is never"
    )
    given = parser.parse_args()
    record = bench(given)
    found = problems(record, given.limit)
    print(f"\n{given.limit:,} requests a minute, {PROCESSES} processes, {given.minutes} minutes\n")
    print(table(record))
    print("\n" + ("; ".join(found) if found else "no 60 seconds were over the limit"))
    keep(given, record, found)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
