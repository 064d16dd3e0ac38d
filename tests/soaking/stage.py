"""What a soak is played on: the simulator, and a worker that is looked at and started anew."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from builders import FLOW_ID
from desk import COMMAND, Desk, Ended, Simulator

LIMITS = {"bulk": 120, "realtime": 500}
"""Requests a minute."""

SAMPLE_EVERY = 2.0
"""Seconds between two looks at the worker's memory."""

BAD_NUMBERS = ("919099999991", "919099999992")
"""Numbers that the provider takes for invalid; no list has them but for one row in some."""

_PATIENCE = 60.0
_SETTINGS = """\
journal = "journal.db"
[endpoints.bulk]
url = "{url}/bulk/kairos-apis/outbound/create"
requests_per_minute = {bulk}
headroom = {headroom}
timeout = 5
workers = {workers}
[endpoints.realtime]
url = "{url}/realtime/kairos-apis/outbound/create"
requests_per_minute = {realtime}
headroom = {headroom}
timeout = 5
[sending]
replay_after = 1
back_off_first = 0.2
back_off_most = 4
journal_wait = 2
lease = 10
drain_timeout = 6
[worker]
listen = "127.0.0.1:{port}"
look_every = {look_every}
[intake]
flow_id = "{flow_id}"
"""

HEADROOM = 2.0
"""Seconds by which slots are spread more than the limit asks: the machine that tests run on is
shared, and what was sent in time may be read late."""


def say(line: str) -> None:
    """Print a line of the log at once."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Sample:
    """What the worker had at a moment."""

    at: float
    """Seconds since the soak began."""
    pid: int
    rss: int
    """Bytes."""
    files: int
    threads: int


@dataclass
class Stage:
    """The simulator, the worker, and what has happened so far."""

    desk: Desk
    simulator: Simulator
    seed: int
    port: int
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    """How often what was done."""
    wrong: list[str] = field(default_factory=list)
    """What must not happen, and did."""
    samples: list[Sample] = field(default_factory=list)
    worker: "subprocess.Popen[bytes] | None" = None
    is_ready: bool = False
    """Whether the worker has begun to take calls, and was not told to end."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nothing more is to be begun."""

    # ---- for everyone

    async def rest(self, seconds: float) -> None:
        """Wait for so many seconds, or until it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), max(0.0, seconds))

    def chance(self, who: str) -> random.Random:
        """Return the choices of one of those who act, of the soak's seed."""
        return random.Random(f"{self.seed} {who}")  # noqa: S311 - it is to be replayed

    @property
    def url(self) -> str:
        """Where the worker listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.desk.folder / "journal.db"

    @property
    def log(self) -> Path:
        """What all workers have logged."""
        return self.desk.folder / "worker.log"

    def seconds(self) -> float:
        """Return for how long the soak has gone on."""
        return time.monotonic() - self.began

    async def run(self, *arguments: str, ends: tuple[int, ...] = (0,)) -> Ended:
        """Run the command; note it down if it ends with another exit code than one of `ends`."""
        ended = await asyncio.to_thread(self.desk.run, *arguments)
        self.done[arguments[0]] += 1
        if ended.exit not in ends:
            last = (ended.err.strip().splitlines() or ["nothing"])[-1]
            self.wrong.append(f"{' '.join(arguments)}: exit {ended.exit}: {last}")
        return ended

    def settle_in(self, *, look_every: float = 0.5, workers: str = '"auto"') -> None:
        """Write the settings."""
        settings = _SETTINGS.format(
            url=self.simulator.url,
            port=self.port,
            flow_id=FLOW_ID,
            headroom=HEADROOM,
            look_every=look_every,
            workers=workers,
            **LIMITS,
        )
        self.desk.write("new.toml", settings).replace(self.desk.folder / "phonon-bulk.toml")

    def in_words(self) -> str:
        """Say how it stands."""
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        rss = f"{self.samples[-1].rss / 1e6:.0f} MB" if self.samples else "unknown"
        wrong = f"; WRONG: {'; '.join(self.wrong)}" if self.wrong else ""
        return f"{self.seconds():.0f} s: {done}; the worker has {rss}{wrong}"

    # ---- the worker

    async def start(self) -> None:
        """Start a worker, and wait until it takes calls."""
        self.worker = self._new_worker()
        self.done["worker started"] += 1
        async with aiohttp.ClientSession() as session:
            await until(lambda: self._answers(session), "the worker does not answer")
        self.is_ready = True

    def _new_worker(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [COMMAND, "worker", "--log-format", "json"],
                cwd=self.desk.folder,
                env=self.desk._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        assert self.worker is not None
        assert self.worker.poll() is None, f"the worker ended with {self.worker.poll()}"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"{self.url}/healthz") as response:
                return response.status == 200
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        if self.worker is not None and self.worker.poll() is None:
            self.worker.send_signal(number)

    async def ended(self) -> int:
        """Wait until the worker has ended; return its exit code."""
        assert self.worker is not None
        return await asyncio.to_thread(self.worker.wait, _PATIENCE)

    async def stop(self) -> None:
        """Tell the worker to stop, and wait until it has."""
        self.is_ready = False
        self.signal(signal.SIGTERM)
        if (code := await self.ended()) != 0:
            self.wrong.append(f"the worker ended with {code} after SIGTERM")

    async def watch(self) -> None:
        """Look at the worker's memory now and then; start it anew if it died by itself."""
        while not self.over.is_set():
            code = self.worker.poll() if self.worker is not None else None
            if self.is_ready and code is not None:
                self.wrong.append(f"the worker died by itself after {self.seconds():.0f} s: {code}")
                self.is_ready = False
                await self.start()
            elif self.is_ready and self.worker is not None:  # before, it only loads its modules
                with contextlib.suppress(OSError, IndexError):  # it ends just now
                    self.samples.append(_sample(self.worker.pid, self.seconds()))
            await self.rest(SAMPLE_EVERY)


def _sample(pid: int, at: float) -> Sample:
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text().split()[1])
    return Sample(
        at=at,
        pid=pid,
        rss=pages * os.sysconf("SC_PAGE_SIZE"),
        files=len(list((proc / "fd").iterdir())),
        threads=len(list((proc / "task").iterdir())),
    )


async def until(
    condition: Callable[[], object], otherwise: str, seconds: float = _PATIENCE
) -> None:
    """Return when the condition holds; it may be a coroutine's."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _simulating(seed: int) -> "subprocess.Popen[str]":
    flags = [flag for number in BAD_NUMBERS for flag in ("--bad-number", number)]
    for endpoint, limit in LIMITS.items():
        flags += [f"--{endpoint}-requests", str(limit)]
    return subprocess.Popen(
        [COMMAND, "simulate", "--port", "0", "--seed", str(seed), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@contextlib.asynccontextmanager
async def staged(desk: Desk, seed: int) -> AsyncIterator[Stage]:
    """Have a simulator and a worker within the block."""
    process = _simulating(seed)
    stage = None
    try:
        assert process.stdout is not None
        simulator = Simulator(process.stdout.readline().split()[-1])
        stage = Stage(desk, simulator, seed, _free_port())
        stage.settle_in()
        await stage.start()
        yield stage
    finally:
        if stage is not None and stage.worker is not None and stage.worker.poll() is None:
            stage.worker.kill()
            stage.worker.wait()
        process.terminate()
        process.communicate(timeout=_PATIENCE)
