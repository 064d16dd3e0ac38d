"""What becomes of 5,000 single calls that come at once; for `bench_realtime.py`.

The provider is the simulator, with 500 requests in any 60 seconds: its ledger says which calls
arrived, when and how often. All calls are posted one by one over a hundred connections, as fast as
worker and client can.
"""

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import local_worker
import orjson
import uvloop
import windows
from contacts import tomorrow
from local_phonon import LocalPhonon, simulating
from local_worker import LocalWorker

CALLS = 5_000
CONNECTIONS = 100
LIMIT = 500
"""Requests a minute."""

_PATIENCE = 300.0


@dataclass(slots=True)
class Posted:
    """What the client saw. Moments are seconds since the epoch, as those of the ledger."""

    began: float = 0.0
    ended: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    kept: set[str] = field(default_factory=set)
    """The client-identifiers of what was answered with 202."""


async def post_all(url: str, calls: int) -> Posted:
    """Post so many calls, each by itself."""
    posted, names = Posted(), iter(range(calls))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        posted.began = time.time()
        for _ in range(CONNECTIONS):
            tasks.create_task(_post_some(session, url, names, posted))
    posted.ended = time.time()
    return posted


async def _post_some(
    session: aiohttp.ClientSession, url: str, numbers: Any, posted: Posted
) -> None:
    for number in numbers:
        name = f"P{number:06d}"
        body = {
            "client-identifier": name,
            "start-time": f"{tomorrow()}T10:00:00+05:30",
            "contact-numbers": [f"9190{number:08d}"],
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        async with session.post(url, data=orjson.dumps(body), headers=headers) as response:
            await response.read()
        posted.statuses[response.status] += 1
        if response.status == 202:
            posted.kept.add(name)


def play(calls: int = CALLS, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Have the calls come; return the figures once all have arrived."""
    limit = ("--realtime-requests", str(LIMIT))
    with (
        tempfile.TemporaryDirectory(prefix="bench-overload-") as name,
        simulating(*limit) as phonon,
    ):
        folder = Path(name)
        local_worker.lay_out(folder, phonon.bulk_url, phonon.realtime_url, 30_000, LIMIT)
        with local_worker.working(folder, prefix=prefix) as worker:
            return _played(phonon, worker, calls)


def _played(phonon: LocalPhonon, worker: LocalWorker, calls: int) -> dict[str, Any]:
    cpu = worker.cpu_so_far()
    posted = uvloop.run(post_all(worker.url, calls))
    kept = len(posted.kept)
    deadline = time.monotonic() + _PATIENCE
    while phonon.summary("realtime")["accepted-calls"] < kept and time.monotonic() < deadline:
        time.sleep(0.1)
    return _figures(phonon, posted, worker.cpu_so_far() - cpu)


def _figures(phonon: LocalPhonon, posted: Posted, cpu: float) -> dict[str, Any]:
    placed = list(phonon.ledger())
    times = Counter(call["client-identifier"] for call in placed)
    requests = list(phonon.requests())
    sizes = [request["calls"] for request in requests]
    moments = [request["received-at"] for request in requests]
    last = max(moments, default=posted.ended)
    return {
        "calls": posted.statuses.total(),
        "answered": {str(status): count for status, count in posted.statuses.items()},
        "seconds_until_all_were_kept": round(posted.ended - posted.began, 2),
        "seconds_until_the_last_arrived": round(last - posted.began, 2),
        "seconds_after_the_last_was_kept": round(last - posted.ended, 2),
        "requests": len(requests),
        "largest": max(sizes, default=0),
        "most_requests_in_any_60_s": windows.most(moments, windows.MINUTE),
        "refused_as_too_many": phonon.summary("realtime")["throttled"],
        "lost": len(posted.kept - times.keys()),
        "doubled": sum(count - 1 for count in times.values()),
        "not_ours": len(times.keys() - posted.kept),
        "worker_cpu_seconds": round(cpu, 1),
    }
