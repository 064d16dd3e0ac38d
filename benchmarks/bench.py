"""`make bench` and `make bench-full`: all parts of the benchmark in turn, then the pictures.

    python benchmarks/bench.py                short: two to three minutes
    python benchmarks/bench.py --full         all rounds and sizes: half an hour to an hour
    python benchmarks/bench.py --only stages --only growth

Each part is a script of its own, prints a table and writes benchmarks/results/NAME.json; see there
for what it measures and for its own options. They run one after the other: nothing else should run
on the machine meanwhile. A part that fails does not keep the others from running. Ends with exit
code 1 if one failed, and not if an aim is missed: that stands in the tables.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from children import end_on_sigterm

HERE = Path(__file__).resolve().parent

PARTS = ("end_to_end", "at_limit", "stages", "growth", "startup")
MORE_OF = {"at_limit": ["--read"], "stages": ["--variables", "20"]}
"""Parts that are run once more by `--full`, with these options."""
PICTURES = "plots"

_SHORT_SECONDS = 600.0
_FULL_SECONDS = 2 * 3600.0
"""After so many a part is told to end; it should take far less."""
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a part ended."""

    name: str
    seconds: float
    failure: str | None
    """None if it did not fail."""

    def __str__(self) -> str:
        return f"{self.name:<12}{self.seconds:>8.0f} s  {self.failure or 'done'}"


def run(name: str, options: list[str], most_seconds: float) -> Ran:
    """Run a part to its end; its output is this process's."""
    script, began = HERE / f"{name}.py", time.monotonic()
    print(f"\n==== {' '.join([name, *options])}", flush=True)
    process = subprocess.Popen([sys.executable, str(script), *options])
    failure = None
    try:
        code = process.wait(most_seconds)
        failure = f"FAILED: exit code {code}" if code else None
    except subprocess.TimeoutExpired:
        failure = f"FAILED: it had not ended after {most_seconds:g} seconds"
    finally:
        _end(process)
    return Ran(name, time.monotonic() - began, failure)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part that is still running, with all that it started."""
    if process.poll() is None:
        process.terminate()  # as with Ctrl-C, it ends what it started
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_all(names: list[str], options: list[str], *, full: bool) -> list[Ran]:
    """Run parts in turn, draw, and say what each took."""
    most_seconds = _FULL_SECONDS if full else _SHORT_SECONDS
    done = []
    for name in names:
        done.append(run(name, options, most_seconds))
        if full and name in MORE_OF:
            done.append(run(name, [*options, *MORE_OF[name]], most_seconds))
    done.append(run(PICTURES, [], most_seconds))
    print("\n==== all parts\n")
    for ran in done:
        print(ran)
    print(f"{'':<12}{sum(ran.seconds for ran in done):>8.0f} s", flush=True)
    return done


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--full", action="store_true", help="all rounds and sizes: half an hour to an hour"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--seed", type=int, default=1, help="of the lists")
    given = parser.parse_args()
    names = [name for name in PARTS if name in (given.only or PARTS)]
    options = ["--seed", str(given.seed), *([] if given.full else ["--short"])]
    done = run_all(names, options, full=given.full)
    sys.exit(int(any(ran.failure for ran in done)))


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
