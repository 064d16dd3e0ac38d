"""Starts `phonon-bulk worker` for the scripts beside this one, and ends it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from children import cpu_seconds_of, ended, has_ended
from local_phonon import FLOW_ID, SECURITY_ID, environment, program

JOURNAL = "journal.db"

_START_SECONDS = 30.0
_STOP_SECONDS = 60.0
_SETTINGS = """\
journal = "sqlite:{journal}"
[endpoints.bulk]
url = "{bulk}"
requests_per_minute = {bulk_limit}
[endpoints.realtime]
url = "{realtime}"
requests_per_minute = {realtime_limit}
[worker]
listen = "127.0.0.1:0"
[intake]
flow_id = "{flow_id}"
"""


def lay_out(folder: Path, bulk: str, realtime: str, bulk_limit: int, realtime_limit: int) -> None:
    """Write the settings of a worker; limits are in requests a minute."""
    settings = _SETTINGS.format(
        journal=JOURNAL,
        bulk=bulk,
        realtime=realtime,
        bulk_limit=bulk_limit,
        realtime_limit=realtime_limit,
        flow_id=FLOW_ID,
    )
    (folder / "phonon-bulk.toml").write_text(settings, encoding="utf-8")


@dataclass(slots=True)
class LocalWorker:
    """A worker that is running."""

    port: int
    process: "subprocess.Popen[str]" = field(repr=False)
    cpu_seconds: float = 0.0
    """What it took, once it has ended."""

    @property
    def url(self) -> str:
        """Where single calls are taken."""
        return f"http://127.0.0.1:{self.port}/v1/calls"

    def cpu_so_far(self) -> float:
        """Return what it took so far, in CPU seconds."""
        return cpu_seconds_of(self.process.pid)


@contextlib.contextmanager
def working(folder: Path, *, prefix: tuple[str, ...] = ()) -> Iterator[LocalWorker]:
    """Run a worker with the settings in `folder` within the block; it ends with the block.

    `prefix` stands before the command, such as perf and its options.
    """
    log = folder / "worker.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*prefix, program(), "worker", "--log-format", "json"],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            process_group=0,
        )
    worker = None
    try:
        worker = LocalWorker(_port(process, log), process)
        yield worker
    finally:
        died = has_ended(process)
        process.terminate()
        seconds = ended(process, _STOP_SECONDS)
        if worker is not None:
            worker.cpu_seconds = seconds
            if died or process.returncode:
                said = log.read_text(encoding="utf-8").strip()[-500:]
                sys.exit(f"the worker ended with exit code {process.returncode}: {said}")


def _port(process: "subprocess.Popen[str]", log: Path) -> int:
    """Wait until a worker takes calls; return where. Ends this program if it does not."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not has_ended(process):
        lines = [line for line in log.read_bytes().splitlines() if line.endswith(b"}")]
        said = {event["event"]: event for event in map(orjson.loads, lines)}
        if "worker.ready" in said:
            return int(said["worker.listens"]["address"].rpartition(":")[2])
        time.sleep(0.05)
    sys.exit(f"the worker did not start: {log.read_text(encoding='utf-8')[-500:]}")


def _environment() -> Mapping[str, str]:
    return environment(PHONON_BULK_SECURITY_ID=SECURITY_ID)
