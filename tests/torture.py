"""Kills the command at random moments until its run is done, and compares both sides' books.

    python tests/torture.py 1000 --seed 7

Each campaign is started, killed (SIGKILL) after a random time, started or resumed, killed again,
and so on until it is done; the simulator loses answers and connections all the while. At the end
the simulator's ledger and the journal must agree, call by call. A line for every kill says what was
killed when; the seed replays the choices.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from desk import COMMAND, PATIENCE, Desk, Simulator

CALLS = 6_000
HALF = 0.5
FAULTS = (
    "drop-after@0.03",
    "drop-before@0.03",
    "code:206+taken@0.02",
    "code:500@0.02",
    "delay:0.02",
)


@dataclass
class Figures:
    """What came of it."""

    campaigns: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    open: int = 0
    """Calls that were neither accepted nor refused in the end."""

    @property
    def good(self) -> bool:
        """Whether every call was placed exactly once."""
        return not (self.lost or self.doubled or self.open)


def torture(folder: Path, kills: int, seed: int) -> Figures:
    """Run campaigns until there were so many kills; return the figures."""
    chance, figures = random.Random(seed), Figures()  # noqa: S311 - it is to be replayed
    while figures.kills < kills:
        figures.campaigns += 1
        one_campaign(folder / f"campaign-{figures.campaigns}", chance, figures, kills)
    return figures


def one_campaign(folder: Path, chance: random.Random, figures: Figures, kills: int) -> None:
    """Kill one campaign until it is done, or there were enough kills; then let it end; judge."""
    folder.mkdir(mode=0o700)
    faults = [flag for fault in FAULTS for flag in ("--fault", fault)]
    seed = str(chance.randrange(1 << 30))
    process = subprocess.Popen(
        [COMMAND, "simulate", "--port", "0", "--seed", seed, *faults],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        simulator = Simulator(process.stdout.readline().split()[-1])
        desk = Desk(folder)
        quick = {"replay_after": 0.1, "back_off_first": 0.05, "back_off_most": 0.2}
        desk.settings(simulator.url, workers=4, sending=quick)
        desk.campaign()
        desk.contacts(CALLS)
        kill_until_done(desk, chance, figures, kills)
        judge(desk, simulator, figures)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def kill_until_done(desk: Desk, chance: random.Random, figures: Figures, kills: int) -> None:
    """Start, kill, resume, kill, …; the last one is let go on to its end."""
    arguments = ["run", "campaign.toml"]
    while figures.kills < kills:
        process = desk.start(*arguments, "-q")
        seconds = chance.uniform(0.3, 1.6)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
            figures.kills += 1
            say(f"kill {figures.kills}: {' '.join(arguments)} after {seconds:.2f} s")
        else:
            if process.returncode == 0:
                return
            say(f"{' '.join(arguments)} ended with {process.returncode}")
        arguments = ["run", "campaign.toml"]  # goes on with what there is, as cron would
        if chance.random() < HALF and '"run":1' in desk.run("runs", "--json").out:
            arguments = ["resume", "1"]
    desk.run(*arguments, "-q")


def judge(desk: Desk, simulator: Simulator, figures: Figures) -> None:
    """Hold the ledger and the journal against each other."""
    theirs = Counter(call["client-identifier"] for call in simulator.ledger())
    ours = {line["client_identifier"]: line["state"] for line in desk.export()}
    accepted = {name for name, state in ours.items() if state == "accepted"}
    lost = CALLS - len(theirs) + len(accepted - set(theirs))
    doubled = sum(count - 1 for count in theirs.values())
    still_open = len(ours) - len(accepted)
    figures.lost += lost
    figures.doubled += doubled
    figures.open += still_open
    say(
        f"campaign {figures.campaigns}: {len(theirs)} calls in the ledger, {len(accepted)} "
        f"accepted in the journal; {lost} lost, {doubled} doubled, {still_open} open"
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
    given = parser.parse_args()
    say(f"seed {given.seed}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = torture(Path(folder), given.kills, given.seed)
    seconds = time.monotonic() - began
    say(
        f"{figures.kills} kills in {figures.campaigns} campaigns of {CALLS} calls, "
        f"{seconds:.0f} s: {figures.lost} lost, {figures.doubled} doubled, {figures.open} open"
    )
    sys.exit(not figures.good)


if __name__ == "__main__":
    main()
