"""Kills the command until its run is done, again and again, and compares both sides' books.

    python tests/torture.py 1000 --seed 7 --jobs 2

Each campaign is started and killed (SIGKILL), after a random time or at a named point (before and
after each change's commit, between the send and the answer; see tests/saboteur), started or
resumed, killed again, and so on until it is done. The simulator loses answers and connections all
the while, answers with unclear codes and with HTTP 429, and knows some numbers to be bad. At the
end the simulator's ledger and the journal must agree, call by call, and `audit` must find every
promise kept. A line for every kill says what was killed where; the seed replays the choices.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path

from desk import COMMAND, PATIENCE, Desk, Simulator
from saboteur.sitecustomize import POINTS

from phonon_bulk.errors import PhononBulkError
from phonon_bulk.journal.books import SqliteBooks

CALLS = 6_000
HALF = 0.5
FAULTS = (
    "drop-after@0.03",
    "drop-before@0.03",
    "code:206+taken@0.02",
    "code:500@0.02",
    "status:503+taken@0.02",
    "status:429@0.01",
    "garbage@0.01",
    "delay:0.02",
)
SABOTEUR = str(Path(__file__).with_name("saboteur"))


@dataclass
class Figures:
    """What came of it."""

    name: str = ""
    """Which of several tortures at once."""
    campaigns: int = 0
    kills: int = 0
    at_points: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    open: int = 0
    """Calls that were neither accepted nor refused in the end."""
    untold: int = 0
    """Bad calls of a batch that is proved to be taken, and whose answer, which would have said that
    they were left out (Partial Success), was lost."""
    broken: int = 0
    """Campaigns of which the audit found a promise broken."""

    @property
    def good(self) -> bool:
        """Whether every call was placed exactly once."""
        return not (self.lost or self.doubled or self.open or self.broken)

    def __add__(self, other: "Figures") -> "Figures":
        """Return the figures of both."""
        sums = {
            one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Figures)
        }
        return Figures(**{**sums, "name": ""})


def torture(folder: Path, kills: int, seed: int, name: str = "") -> Figures:
    """Run campaigns until there were so many kills; return the figures."""
    chance, figures = random.Random(seed), Figures(name)  # noqa: S311 - it is to be replayed
    while figures.kills < kills:
        figures.campaigns += 1
        Campaign(folder / f"{name}{figures.campaigns}", chance, figures, kills).play()
    return figures


def several(folder: Path, kills: int, seed: int, jobs: int) -> Figures:
    """Run `jobs` tortures at once, each with a seed of its own; return the figures of all."""
    shares = [kills // jobs + (n < kills % jobs) for n in range(jobs)]
    names = [f"{chr(ord('a') + n)}" for n in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        seeds = range(seed, seed + jobs)
        done = pool.map(torture, [folder] * jobs, shares, seeds, names)
        return sum(done, Figures())


class Campaign:
    """One campaign, killed until it is done."""

    def __init__(self, folder: Path, chance: random.Random, figures: Figures, kills: int) -> None:
        """Play in `folder`, until there were `kills` in all."""
        folder.mkdir(mode=0o700)
        self.desk = Desk(folder)
        self.chance, self.figures, self.kills = chance, figures, kills
        self.bad = {f"9198{row:08d}" for row in chance.sample(range(1, CALLS + 1), 2)}

    def play(self) -> None:
        """Start a simulator, kill until the run is done, judge."""
        flags = [flag for fault in FAULTS for flag in ("--fault", fault)]
        flags += [flag for number in sorted(self.bad) for flag in ("--bad-number", number)]
        flags += ["--partial-success"] if self.chance.random() < HALF else []
        flags += ["--seed", str(self.chance.randrange(1 << 30))]
        process = subprocess.Popen(
            [
                COMMAND,
                "simulate",
                "--port",
                "0",
                "--seed",
                str(self.chance.randrange(1 << 30)),
                *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            simulator = Simulator(process.stdout.readline().split()[-1])
            quick = {"replay_after": 0.1, "back_off_first": 0.05, "back_off_most": 0.2}
            self.desk.settings(
                simulator.url, workers=4, ramp=0, requests_per_minute=30_000, sending=quick
            )
            self.desk.campaign(endpoint=self.chance.choice(["bulk", "realtime"]))
            self.desk.contacts(CALLS)
            self.kill_until_done(simulator)
            self.judge(simulator)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)

    def kill_until_done(self, simulator: Simulator) -> None:
        """Start, kill, resume, kill, …; the last one is let go on to its end."""
        while self.figures.kills < self.kills:
            arguments = self.arguments()
            where = self.kill_somewhere(arguments)
            if where is None:
                if self.settled(simulator):
                    return
                continue
            self.figures.kills += 1
            self.figures.at_points[where.partition("#")[0] if "#" in where else "at random"] += 1
            kill = f"kill {self.figures.name}{self.figures.kills}"
            say(f"{kill}: {' '.join(arguments)} {where}; {self.left_behind()}")
        while not self.settled(simulator):
            self.desk.run(*self.arguments(), "-q")

    def arguments(self) -> list[str]:
        """Return how the run is started: as cron would, or gone on with by an operator."""
        if self.chance.random() < HALF and '"run":1' in self.desk.run("runs", "--json").out:
            return ["resume", "1", "-q"]
        return ["run", "campaign.toml", "-q"]

    def kill_somewhere(self, arguments: list[str]) -> str | None:
        """Start the command and kill it; say where, or None if it ended by itself before."""
        at_a_point = self.chance.random() < HALF
        point = f"{self.chance.choice(POINTS)}#{self.chance.choice([1, 1, 2, 3, 5])}"
        seconds = self.chance.uniform(0.3, 1.6)
        self.desk.environment = {}
        if at_a_point:
            self.desk.environment = {"PYTHONPATH": SABOTEUR, "SABOTEUR_KILL": point}
        process = self.desk.start(*arguments)
        self.desk.environment = {}
        try:
            process.communicate(timeout=PATIENCE if at_a_point else seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
            return f"after {seconds:.2f} s"
        return f"at {point}" if process.returncode == -signal.SIGKILL else None

    def left_behind(self) -> str:
        """Say in which states the kill left the batches."""
        try:
            with SqliteBooks(self.desk.folder / "journal.db") as books:
                batches = books.counts(1).batches
        except PhononBulkError:
            return "there was no journal yet"
        return ", ".join(f"{n} {state}" for state, n in sorted(batches.items())) or "no batch yet"

    def settled(self, simulator: Simulator) -> bool:
        """Say whether the run is done. Doubts that nothing can prove are settled by the ledger."""
        ended = self.desk.run("status", "--json")
        if ended.exit != 0:
            return False
        if ended.summary["state"] == "in_doubt":
            self.ask_the_provider(simulator)
        return bool(ended.summary["state"] == "done")

    def ask_the_provider(self, simulator: Simulator) -> None:
        """Settle each doubt as a person does who has asked the provider."""
        taken = {call["client-identifier"] for call in simulator.ledger()}
        batch_of = {line["batch"]: line["client_identifier"] for line in self.desk.export()}
        for doubt in self.desk.run("resolve", "1", "--json").summary["doubts"]:
            flag = "--accepted" if batch_of[doubt["batch"]] in taken else "--resend"
            assert self.desk.run("resolve", "1", str(doubt["batch"]), flag).exit == 0
            say(f"resolve: batch {doubt['batch']} {flag}: {doubt['reason']}")

    def judge(self, simulator: Simulator) -> None:
        """Hold the ledger and the journal against each other."""
        figures = self.figures
        theirs = Counter(call["client-identifier"] for call in simulator.ledger())
        lines = self.desk.export()
        accepted = {line["client_identifier"] for line in lines if line["state"] == "accepted"}
        refused = {line["client_identifier"] for line in lines if line["state"] == "refused"}
        bad = {
            line["client_identifier"] for line in lines if self.bad & set(line["contact_numbers"])
        }
        proved = {line["client_identifier"] for line in lines if line["request_id"] is None}
        untold = (accepted & bad & proved) - set(theirs)
        lost = CALLS - len(lines) + len(accepted - set(theirs) - untold) + len(refused - bad)
        doubled = sum(count - 1 for count in theirs.values()) + len(set(theirs) - accepted)
        still_open = len(lines) - len(accepted) - len(refused)
        audited = self.desk.run("audit")
        verdict = "holds" if audited.exit == 0 else audited.out + audited.err
        figures.untold += len(untold)
        figures.lost += lost
        figures.doubled += doubled
        figures.open += still_open
        figures.broken += audited.exit != 0
        say(
            f"campaign {figures.name}{figures.campaigns}: {len(theirs)} calls in the ledger, "
            f"{len(accepted)} accepted and {len(refused)} refused in the journal; {lost} lost, "
            f"{doubled} doubled, {still_open} open; audit {verdict}"
        )


def say(line: str) -> None:
    """Print a line of the log at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Torture as the command line says; exit 1 if a call was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    say(f"seed {given.seed}, {given.jobs} at once")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = several(Path(folder), given.kills, given.seed, given.jobs)
    for point, count in sorted(figures.at_points.items()):
        say(f"  {count:>5} {point}")
    say(
        f"{figures.kills} kills in {figures.campaigns} campaigns of {CALLS} calls, "
        f"{time.monotonic() - began:.0f} s: {figures.lost} lost, {figures.doubled} doubled, "
        f"{figures.open} open, {figures.broken} audits that found a promise broken; "
        f"{figures.untold} bad calls whose refusal was lost with an answer"
    )
    sys.exit(not figures.good)


if __name__ == "__main__":
    main()
