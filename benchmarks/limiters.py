"""`make bench-limiters`: how well several ways to keep a limit do it, as a server counts.

    python benchmarks/limiters.py                 all of them side by side, for 3 minutes
    python benchmarks/limiters.py --draw          only draws the picture again

The contenders:

- aiolimiter in one process, `AsyncLimiter(3000, 60)`, at 3,000 requests a minute;
- the same in four processes, each with a limiter of its own;
- a fixed window: the count begins anew at each whole minute of the clock, and until it is full
  requests go out as fast as they can;
- phonon-bulk: four processes on one journal;
- phonon-bulk, killed: the same, but every 5 seconds one of the four is killed (SIGKILL) and started
  again, in turn.

Each sends to a path of its own of one counting server, which denies nothing and notes when each
request came; it answers after 50 ms. There is always more to send. The limit is a tenth of the
provider's, so that all of them together leave the machine idle most of the time.

For each: the requests in the fullest 60 seconds, wherever these begin; in the full minutes that
follow the first 3 seconds (phonon-bulk's ramp); and in the fullest second. Figures are written to
benchmarks/results/limiters.json, the picture to limiters.svg beside it.
"""

import argparse
import contextlib
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import small_batches
import windows
from children import busy_seconds, end_on_sigterm, ended, say
from counting_server import DELAY, Server, counting
from fleet import Fleet, fleet
from measuring import commit, machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

PROCESSES = 4
RAMP = 3.0
"""Seconds; the default of endpoints.bulk.ramp."""

KILL_EVERY = 5.0
OURS, OURS_KILLED = "phonon-bulk, 4 processes", "phonon-bulk, 4 processes, killed in turn"
OTHERS = {
    "aiolimiter, 1 process": ("aiolimiter", 1),
    "aiolimiter, 4 processes": ("aiolimiter", PROCESSES),
    "fixed window, 1 process": ("fixed-window", 1),
}
"""How each of them limits, and in how many processes."""

_PATHS = {who: f"contender-{number}" for number, who in enumerate([*OTHERS, OURS, OURS_KILLED])}
_SPARE = 1.5
_FIRST_SECONDS = 60.0
_STOP_SECONDS = 5.0
_EARLIEST, _LATEST = 5, 30
"""Seconds of a minute of the clock between which the contenders are started. If that were close to
a whole minute, the fixed window's first two bursts would overlap the 60 seconds by chance."""


# ---- one run


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    limit: int
    minutes: int

    @property
    def seconds(self) -> float:
        """For how long each contender sends."""
        return RAMP + self.minutes * windows.MINUTE + 1.0


def prepare(folder: Path, name: str, server: Server, options: Options) -> Path:
    """Return a folder of its own in `folder`, with all that phonon-bulk is to send."""
    place = folder / _PATHS[name]
    place.mkdir()
    batches = math.ceil(_SPARE * options.limit * (options.minutes + 1) / PROCESSES)
    small_batches.prepare(place, server.url(_PATHS[name]), options.limit, PROCESSES, batches)
    return place


@contextlib.contextmanager
def others(server: Server, options: Options) -> Iterator[None]:
    """Let all other contenders send within the block."""
    script = [sys.executable, str(HERE / "limited_client.py")]
    processes: list[subprocess.Popen[str]] = []
    try:
        for name, (how, number) in OTHERS.items():
            url, limit = server.url(_PATHS[name]), str(options.limit)
            seconds = str(options.seconds + 5.0)
            command = [*script, how, "--url", url, "--limit", limit, "--seconds", seconds]
            processes += [
                subprocess.Popen(command, text=True, process_group=0) for _ in range(number)
            ]
        yield
    finally:
        for process in processes:
            process.kill()
            ended(process, _STOP_SECONDS)


def first_arrival(server: Server, name: str) -> float:
    """Return when a contender's first request came; wait for it."""
    deadline = time.monotonic() + _FIRST_SECONDS
    while time.monotonic() < deadline:
        if arrivals := server.arrivals(_PATHS[name]):
            return arrivals[0].moment
        time.sleep(0.2)
    sys.exit(f"{name} sent nothing in {_FIRST_SECONDS:g} seconds")


def wait_for_the_clock() -> None:
    """Return when a fixed window may be begun."""
    while not _EARLIEST <= time.time() % windows.MINUTE <= _LATEST:
        time.sleep(0.1)


def run(options: Options) -> tuple[dict[str, list[float]], Fleet, float]:
    """Let all contenders send; return the moments of their requests, who was killed, how busy."""
    with tempfile.TemporaryDirectory(prefix="bench-limiters-") as name, counting() as server:
        ours = [prepare(Path(name), who, server, options) for who in (OURS, OURS_KILLED)]
        wait_for_the_clock()
        began, busy = time.monotonic(), busy_seconds()
        with fleet(ours[0], PROCESSES) as untouched, fleet(ours[1], PROCESSES) as killed:
            for who in (OURS, OURS_KILLED):  # first, or the bursts of the others would meet them
                first_arrival(server, who)
            with others(server, options):
                end = max(first_arrival(server, who) for who in _PATHS) + options.seconds
                say(f"all contenders are at work; {end - time.monotonic():.0f} seconds to go")
                _kill_in_turn(killed, end)
                moments = {
                    who: [arrival.moment for arrival in server.arrivals(path)]
                    for who, path in _PATHS.items()
                }
            untouched.stop()
            killed.stop()
    killed.troubles += untouched.troubles
    return moments, killed, (busy_seconds() - busy) / (time.monotonic() - began)


def _kill_in_turn(senders: Fleet, end: float) -> None:
    while (left := end - time.monotonic()) > KILL_EVERY:
        time.sleep(KILL_EVERY)
        senders.kill_next()
    time.sleep(left)


# ---- figures


def figures(moments: list[float], options: Options) -> dict[str, Any]:
    """Return what a contender did, from its first request on; percent are of the limit."""
    begin, end = moments[0], moments[0] + options.seconds
    moments = [moment for moment in moments if moment <= end]
    minutes = windows.by_minute(moments, begin + RAMP, options.minutes)
    worst = windows.most(moments, windows.MINUTE)
    return {
        "worst_60_s": worst,
        "worst_60_s_percent": _percent(worst, options.limit),
        "full_minutes": minutes,
        "full_minutes_percent": [_percent(count, options.limit) for count in minutes],
        "most_in_a_second": windows.most(moments, 1.0),
        "sliding_60_s": windows.sliding(moments, begin, end),
    }


def _percent(count: int, limit: int) -> float:
    return round(100 * count / limit, 2)


def table(record: dict[str, dict[str, Any]], limit: int) -> str:
    """Return the figures as a table, a row for each contender."""
    rows = [["", "worst 60 s", "full minutes, %", "most in 1 s"]]
    for name, of in record.items():
        worst = f"{of['worst_60_s']:,} ({of['worst_60_s_percent']:.1f} %)"
        used = ", ".join(f"{percent:.1f}" for percent in of["full_minutes_percent"])
        rows.append([name, worst, used, f"{of['most_in_a_second']:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{limit:,} requests a minute; percent are of that", ""]
    for row in rows:
        cells = map(str.rjust, row[1:], widths[1:])
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


# ---- the picture

_LINES: dict[str, dict[str, Any]] = {
    "aiolimiter, 4 processes": {"color": "#d55e00"},
    "fixed window, 1 process": {"color": "#009e73"},
    "aiolimiter, 1 process": {"color": "#e69f00"},
    OURS: {"color": "#0072b2", "linewidth": 2.2},
    OURS_KILLED: {"color": "#56b4e9", "linestyle": (0, (4, 1.5)), "linewidth": 1.6},
}
"""From the highest line to the lowest."""

_CLOSE_UP = (95.0, 101.0)
"""Percent of the limit."""


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw how many requests the 60 seconds before each moment hold; not without matplotlib."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        say("no picture: matplotlib is not installed (pip install --editable '.[bench]')")
        return
    rcParams["svg.hashsalt"] = "limiters"  # the same figures give the same file
    figure = Figure(figsize=(8.5, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for axes in (upper, lower):
        _draw_lines(axes, document)
    upper.set_title(
        f"Requests in the last 60 seconds, in percent of the limit ({document['limit']:,} a minute)"
    )
    upper.set_ylim(bottom=0)
    upper.legend(loc="upper right", frameon=False)
    lower.set_title("The same, close to the limit", fontsize="medium")
    lower.set_ylim(*_CLOSE_UP)
    lower.set_xlabel("seconds since the first request")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_lines(axes: Any, document: dict[str, Any]) -> None:
    limit, contenders = document["limit"], document["contenders"]
    for name, style in _LINES.items():
        counts = contenders[name]["sliding_60_s"]
        axes.plot([100 * count / limit for count in counts], label=name, **style)
    axes.axhline(100, color="black", linewidth=1, linestyle=":", label="the limit")
    axes.set_ylabel("% of the limit")
    axes.set_xlim(0, len(counts) - 1)
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


# ---- the benchmark


def bench(options: Options) -> dict[str, Any]:
    """Measure, and return the document to be kept."""
    moments, killed, share = run(options)
    return {
        "what": "ways to keep a limit, side by side, as a server counts",
        "machine": machine(),
        "commit": commit(),
        "limit": options.limit,
        "minutes": options.minutes,
        "answer_after_seconds": DELAY,
        "killed_every_seconds": KILL_EVERY,
        "kills": killed.kills,
        "ended_by_themselves": killed.troubles,
        "busy_cores": round(share, 2),
        "contenders": {name: figures(of, options) for name, of in moments.items()},
    }


def keep(document: dict[str, Any]) -> None:
    """Write the figures down, a line for each list of many."""
    RESULTS.mkdir(exist_ok=True)
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    lists = re.compile(rb"\[[\d\s,.]+\]")
    text = lists.sub(lambda found: b" ".join(found[0].split()), text)
    (RESULTS / "limiters.json").write_bytes(text)


def main() -> None:
    """Measure, print, write down and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=int, default=3, metavar="N", help="full minutes")
    parser.add_argument("--limit", type=int, default=3000, metavar="N", help="requests a minute")
    parser.add_argument("--draw", action="store_true", help="draw again what was measured last")
    given = parser.parse_args()
    if not given.draw:
        document = bench(Options(given.limit, given.minutes))
        keep(document)
        print(table(document["contenders"], given.limit))
        for trouble in document["ended_by_themselves"]:
            print(trouble)
    draw(orjson.loads((RESULTS / "limiters.json").read_bytes()), RESULTS / "limiters.svg")


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
