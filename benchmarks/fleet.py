"""Several `phonon-bulk resume` on one journal; one at a time is killed and started again."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from children import ended, has_ended
from local_phonon import SECURITY_ID, environment, program

_DRAIN_SECONDS = 60.0
"""After SIGTERM: the program's own patience with requests under way, and some more."""


class Fleet:
    """The processes that send the runs 1 to `runs` of the journal in `folder`, one each."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.kills = 0
        self.cpu_seconds = 0.0
        """Of all processes that have ended."""
        self.troubles: list[str] = []
        """What ended though nobody ended it, and what it said."""
        self._folder = folder
        self._runs = range(1, runs + 1)
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def start(self) -> None:
        """Start all of them."""
        for run in self._runs:
            self._start(run)

    def kill_next(self) -> None:
        """Kill (SIGKILL) the process whose turn it is, and start it again at once."""
        run = self._runs[self.kills % len(self._runs)]
        process = self._processes[run]
        if not self._look_at(run, process):
            process.kill()
            self.cpu_seconds += ended(process, _DRAIN_SECONDS)
            self.kills += 1
        self._start(run)

    def stop(self) -> None:
        """Tell all of them to stop, and wait until they have."""
        alive = [run for run, process in self._processes.items() if not self._look_at(run, process)]
        for run in alive:
            self._processes[run].terminate()
        for process in self._processes.values():
            self.cpu_seconds += ended(process, _DRAIN_SECONDS)
        self._processes.clear()

    def run_to_the_end(self, patience: float) -> None:
        """Start all of them once more, and wait until each has nothing left to do."""
        self.start()
        deadline = time.monotonic() + patience
        for process in self._processes.values():
            self.cpu_seconds += ended(process, deadline - time.monotonic())
        self._processes.clear()

    def close(self) -> None:
        """Kill what is still there."""
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                ended(process, _DRAIN_SECONDS)

    def _start(self, run: int) -> None:
        with self._errors(run).open("ab") as errors:
            self._processes[run] = subprocess.Popen(
                [program(), "resume", str(run), "--quiet"],
                cwd=self._folder,
                env=environment_of(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                process_group=0,
            )

    def _look_at(self, run: int, process: subprocess.Popen[str]) -> bool:
        """Say whether a process has ended, and note it down if it has."""
        if not has_ended(process):
            return False
        self.cpu_seconds += ended(process, _DRAIN_SECONDS)
        said = self._errors(run).read_text(encoding="utf-8").strip().splitlines()
        what = f"the process of run {run} ended with exit code {process.returncode}"
        self.troubles.append(f"{what}: {said[-1]}" if said else what)
        return True

    def _errors(self, run: int) -> Path:
        return self._folder / f"run-{run}.err"


@contextlib.contextmanager
def fleet(folder: Path, runs: int) -> Iterator[Fleet]:
    """Start the processes; none is left after the block."""
    ours = Fleet(folder, runs)
    try:
        ours.start()
        yield ours
    finally:
        ours.close()


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return one in which modules are compiled once, as those of an installed package are.

    They are compiled into `folder`.
    """
    more = {"PHONON_BULK_SECURITY_ID": SECURITY_ID, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    return {k: v for k, v in environment(**more).items() if k != "PYTHONDONTWRITEBYTECODE"}
