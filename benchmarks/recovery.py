"""`make bench-recovery`: how soon a killed run sends again.

    python benchmarks/recovery.py            20,000 batches in the journal, 10 rounds

A list of 10,000,000 contacts is read into a journal and sending is begun and killed (SIGKILL),
which leaves batches claimed and in sending. Then `resume` and `run` are started in turn and killed
again, ten times each; a figure is the time from the command's start to the arrival of its first
request at the simulator. Python's own start and all imports are in it, from compiled modules, as an
installed package has them.

Figures are written to benchmarks/results/recovery.json.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import orjson
from local_phonon import FLOW_ID, SECURITY_ID, LocalPhonon, environment, program, simulating
from measuring import commit, machine

RESULTS = Path(__file__).resolve().parent / "results"
CALLS = 500
PATIENCE = 60.0

SETTINGS = """\
journal = "sqlite:journal.db"
[endpoints.bulk]
url = "{url}"
[sending]
replay_after = 0.2
"""
CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
[source]
path = "list.csv"
"""
COMMANDS = {"resume": ["resume", "1", "-q"], "run": ["run", "campaign.toml", "-q"]}


def write_list(path: Path, contacts: int) -> None:
    """Write a list of made-up contacts."""
    with path.open("w", encoding="ascii") as file:
        file.write("tel1,client-identifier\n")
        for start in range(1, contacts + 1, 100_000):
            stop = min(start + 100_000, contacts + 1)
            file.write("".join(f"9198{row:08d},A{row}\n" for row in range(start, stop)))


def prepare(folder: Path, url: str, batches: int) -> None:
    """Lay out a campaign in `folder` and read its list into a journal."""
    (folder / "phonon-bulk.toml").write_text(SETTINGS.format(url=url))
    (folder / "campaign.toml").write_text(CAMPAIGN.format(flow_id=FLOW_ID))
    write_list(folder / "list.csv", batches * CALLS)
    time.sleep(2.5)  # the times of a file younger than that are not trusted, and it is read again
    submit = [program(), "submit", "campaign.toml", "-q"]
    subprocess.run(submit, cwd=folder, env=_environment(folder), check=True)


def _environment(folder: Path) -> dict[str, str]:
    more = {"PHONON_BULK_SECURITY_ID": SECURITY_ID, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    return {k: v for k, v in environment(**more).items() if k != "PYTHONDONTWRITEBYTECODE"}


def first_post(folder: Path, phonon: LocalPhonon, command: list[str]) -> float:
    """Start a command, kill it when it is at work, return the seconds to its first request."""
    before = len(list(phonon.requests()))
    began = time.time()
    process = subprocess.Popen(
        [program(), *command], cwd=folder, env=_environment(folder), stderr=subprocess.DEVNULL
    )
    try:
        while len(moments := [one["received-at"] for one in phonon.requests()]) <= before:
            if time.time() - began > PATIENCE or process.poll() is not None:
                raise RuntimeError("nothing was sent")
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    return float(moments[before] - began)


def rounds(folder: Path, phonon: LocalPhonon, number: int) -> Iterator[dict[str, float]]:
    """Yield the seconds of each command, both in turn."""
    first_post(folder, phonon, COMMANDS["resume"])  # warms up, and leaves something behind
    for _ in range(number):
        yield {name: first_post(folder, phonon, command) for name, command in COMMANDS.items()}


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, simulating("--fault", "delay:0.05") as phonon:
        folder = Path(name)
        prepare(folder, phonon.bulk_url, given.batches)
        done = list(rounds(folder, phonon, given.rounds))
    print(f"seconds to the first request, {given.batches:,} batches in the journal")
    for command in COMMANDS:
        seconds = [one[command] for one in done]
        print(f"  {command:<8}{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})")
    record = {
        "what": "seconds from the start of a command to its first request",
        "machine": machine(),
        "commit": commit(),
        "batches": given.batches,
        "rounds": done,
    }
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (RESULTS / "recovery.json").write_bytes(text)


if __name__ == "__main__":
    main()
