"""`make bench-realtime`: single calls by HTTP: how soon they are at the provider, and overload.

    python benchmarks/bench_realtime.py                 3 rounds of 60 seconds of each scene
    python benchmarks/bench_realtime.py --scenes 0 1    some of the scenes only
    python benchmarks/bench_realtime.py --no-overload
    python benchmarks/bench_realtime.py --first         before all other programs (needs root)

Latency: 8 calls a second to a worker whose limit is 500 requests a minute, alone and beside a bulk
run at 30,000 requests a minute by the same worker; see realtime_latency.py. The same body goes to
the same server with a bare aiohttp in between, so what counts is the difference: both are disturbed
alike by whatever else the machine does, and how much that was is told.

Overload: 5,000 calls at once; see realtime_overload.py.

All is in temporary folders and on this machine. Figures are written to
benchmarks/results/realtime.json.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import realtime_overload
from children import before_others, end_on_sigterm, say
from measuring import commit, machine
from realtime_latency import ANSWER_AFTER, BULK_LIMIT, REALTIME_LIMIT, SCENES, figures, play

RESULTS = Path(__file__).resolve().parent / "results"

AIM_MS = 15.0
"""The 99th percentile is to be less than this above that of a bare POST."""

_FIRST_SECONDS = 60.0
"""In which all of an overload are to have left."""


def latencies(given: argparse.Namespace) -> dict[str, Any]:
    """Play the scenes in turn, round by round; return the figures of each."""
    scenes = [SCENES[number] for number in given.scenes]
    seen: dict[str, list[Any]] = {scene.name: [] for scene in scenes}
    for number in range(1, given.rounds + 1):
        for scene in scenes:
            say(f"round {number}: {scene.name}")
            seen[scene.name].append(play(scene, given.seconds, number, first=given.first))
            _show(scene.name, figures(seen[scene.name]))
    return {name: figures(rounds) for name, rounds in seen.items()}


def _show(name: str, record: dict[str, Any]) -> None:
    through, bare = record["through_ms"], record["bare_ms"]
    print(
        f"{name}: {record['calls']} calls, median {through['median']} ms (bare {bare['median']}),"
        f" p99 {through['p99']} ms (bare {bare['p99']}), {record['more_than_bare_p99_ms']} ms more;"
        f" other programs took {record['others_cpu'][-1]} cores",
        flush=True,
    )


def problems(record: dict[str, Any], overload: dict[str, Any] | None) -> list[str]:
    """Return what is not as it should be. Latency is told, not judged: machines differ."""
    found = [
        f"{name}: {one['lost']} calls lost, {one['not_202']} not taken"
        for name, one in record.items()
        if one["lost"] or one["not_202"]
    ]
    if overload is None:
        return found
    found += [
        f"overload: {overload[what]} {what}" for what in ("lost", "doubled") if overload[what]
    ]
    if overload["most_requests_in_any_60_s"] > realtime_overload.LIMIT:
        found.append(f"overload: {overload['most_requests_in_any_60_s']} requests in 60 seconds")
    if overload["seconds_until_the_last_arrived"] > _FIRST_SECONDS:
        found.append(f"overload: it took {overload['seconds_until_the_last_arrived']} seconds")
    return found


def keep(given: argparse.Namespace, record: dict[str, Any], found: Sequence[str]) -> None:
    """Write the figures down."""
    document = {
        "what": "single calls by HTTP through phonon-bulk worker, beside bare aiohttp POSTs",
        "machine": machine(),
        "commit": commit(),
        "requests_a_minute": {"realtime": REALTIME_LIMIT, "bulk": BULK_LIMIT},
        "rounds": given.rounds,
        "seconds_a_round": given.seconds,
        "before_other_programs": given.first,
        "provider_answers_after_seconds": ANSWER_AFTER,
        "aim_ms_more_than_bare_at_p99": AIM_MS,
        "problems": found,
        **record,
    }
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / given.out).write_bytes(text)
    print(f"\nwritten to benchmarks/results/{given.out}")


def main() -> None:
    """Measure, print and write down; exit code 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="of each scene")
    parser.add_argument("--scenes", type=int, nargs="*", default=range(len(SCENES)), metavar="N")
    parser.add_argument("--overload", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--first", action="store_true", help="run before all other programs; needs root"
    )
    parser.add_argument("--out", default="realtime.json", metavar="NAME")
    given = parser.parse_args()
    record = latencies(given)
    overload = None
    if given.overload:
        say(f"overload: {realtime_overload.CALLS:,} calls at once")
        with before_others() if given.first else nullcontext():
            overload = realtime_overload.play()
        print(f"overload: {orjson.dumps(overload).decode()}")
    found = problems(record, overload)
    print("; ".join(found) if found else "nothing was lost or doubled, and the limit held")
    keep(given, {"latency": record, "overload": overload}, found)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
