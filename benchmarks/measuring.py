"""Runs a command and counts what it took; describes the machine, with no names and no paths."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from typing import Any

_PACKAGES = (
    "aiohttp",
    "aiolimiter",
    "duckdb",
    "orjson",
    "phonon-bulk",
    "pyarrow",
    "uvloop",
    "zstandard",
)


PATIENCE = 1800.0
"""Seconds after which a command is ended: none of what is measured here takes nearly as long."""

_ASK_SECONDS = 0.1

CLIENT_CORE = 0
SIMULATOR_CORE = 1

OTHERS = "others_seconds"
"""The one figure that says nothing about the process itself."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one command took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    others_seconds: float
    """What other processes took of the client's core meanwhile: the run was disturbed as much."""

    def figures(self, contacts: int) -> dict[str, float]:
        """Return the figures that are shown and kept."""
        return {
            "contacts_per_second": round(contacts / self.seconds),
            "contacts_per_cpu_second": round(contacts / self.cpu_seconds),
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "peak_mb": round(self.peak_mb, 1),
            OTHERS: round(max(0.0, self.others_seconds), 2),
        }


def measured(
    command: list[str],
    folder: Path,
    env: Mapping[str, str],
    *,
    until: Callable[[], bool] | None = None,
    patience: float = PATIENCE,
) -> tuple[Usage, bytes]:
    """Run a command to its end in `folder`; return what it took and its standard output.

    Counted is what the process took and all the processes that it waited for; the peak is that of
    the largest of them. `until` is for a command that does not end by itself: asked ten times a
    second, and once it says so the command is told to end. The seconds go up to then, all else to
    the end.

    Ends this program if the command fails, or takes more than `patience` seconds.
    """
    output = folder / "output"
    with output.open("wb") as file:
        began, busy = time.perf_counter(), _client_core_seconds()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=file)
        over = Timer(patience, os.kill, (process.pid, signal.SIGKILL))
        over.start()
        try:
            done = _told_to_end(process, until) if until else None
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            over.cancel()
        seconds = (done or time.perf_counter()) - began
        busy = _client_core_seconds() - busy
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        late = f" after {patience:.0f} s, which is all it is given," * (seconds >= patience)
        sys.exit(f"exit code {process.returncode}{late} from: {' '.join(command)}")
    cpu = usage.ru_utime + usage.ru_stime
    # The peak is counted in KiB, on macOS in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(seconds, cpu, peak / 1e6, busy - cpu), output.read_bytes()


def _told_to_end(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> float:
    """Wait until it is done, or has ended by itself; tell it to end, and return when that was."""
    # Neither looks nor tells by way of `process`, which would take what wait4 is to count.
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not until() and not os.waitid(os.P_PID, process.pid, ended):
        time.sleep(_ASK_SECONDS)
    done = time.perf_counter()
    os.kill(process.pid, signal.SIGTERM)
    return done


def _client_core_seconds() -> float:
    """Return for how long the client's core was busy so far, or taken by another machine."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    name = f"cpu{CLIENT_CORE} "
    ticks = next((line.split()[1:] for line in lines if line.startswith(name)), [])
    # user, nice, system, idle, iowait, irq, softirq, steal
    return sum(int(n) for i, n in enumerate(ticks[:8]) if i not in (3, 4)) / os.sysconf(
        "SC_CLK_TCK"
    )


def on_core(core: int, *, pin: bool = True) -> list[str]:
    """Return what stands before a command so that it keeps to a core, if that can be done."""
    possible = shutil.which("taskset") and (os.cpu_count() or 1) > 1
    return ["taskset", "-c", str(core)] if pin and possible else []


def machine() -> dict[str, Any]:
    """Return what a reader must know to compare the figures with others."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        # Not imported: that would make this process larger, and the peak memory of a child is
        # never counted as less than that of the process that started it.
        "packages": {name: version(name) for name in _PACKAGES},
    }


def commit() -> str | None:
    """Return the commit that is measured, marked if the package differs from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("-modified" if _git("status", "--porcelain", "--", "phonon_bulk") else "")
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        return None


def _git(*words: str) -> str:
    folder = Path(__file__).resolve().parent.parent
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
