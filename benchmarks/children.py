"""Ends the processes that a benchmark started, and counts what they and the machine took."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn


def ended(process: subprocess.Popen[str], patience: float) -> float:
    """Wait for a process to end; return the CPU seconds that it took, of its own children none.

    If it has not ended after `patience` seconds it is killed.
    """
    deadline = time.monotonic() + patience
    while process.returncode is None:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.01)
    return 0.0


def has_ended(process: subprocess.Popen[str]) -> bool:
    """Say whether a process has ended, and leave it to `ended` to be waited for."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU seconds that a running process took so far, of its own children none."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


def busy_seconds() -> float:
    """Return for how long the machine's cores were busy so far, or taken by another machine."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return 0.0
    # user, nice, system, idle, iowait, irq, softirq, steal
    ticks = [int(number) for place, number in enumerate(first.split()[1:9]) if place not in (3, 4)]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def before_others() -> Iterator[None]:
    """Have this process, and what it starts, run before all other programs within the block.

    Where other programs keep the cores busy, that tells what a machine of one's own would do; but
    for the disk, which is shared all the same. Ends this program if it may not.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, PermissionError):
        sys.exit("to run before other programs takes Linux and root")
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: with all that it started."""

    def told(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, told)


def say(sentence: str) -> None:
    """Tell the operator how far it is."""
    print(sentence, file=sys.stderr, flush=True)
