"""How soon a single call is at the provider, beside a bare POST; for `bench_realtime.py`.

A client posts single calls to a worker's intake, evenly or at random moments, and in between the
same body to the provider itself with a bare aiohttp. Worker, client and provider are processes of
their own on one machine, so that all moments are of one clock: from just before the client's POST
to the first byte at the provider. A call is durable in the worker's journal before it leaves.
"""

import asyncio
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import local_worker
import orjson
import small_batches
import uvloop
from children import before_others, busy_seconds
from contacts import tomorrow
from counting_server import Arrival, Server, counting
from local_phonon import FLOW_ID, SECURITY_ID
from local_worker import LocalWorker

from phonon_bulk.batch import Head

CALLS_PER_SECOND = 8.0
ANSWER_AFTER = 0.02
"""Seconds that the provider takes to answer."""

REALTIME_LIMIT = 500
BULK_LIMIT = 30_000

_BEGIN = 5.0
"""Seconds before the first that is counted: the ramp of both endpoints, and first connections."""
_END = 2.0
_PATIENCE = 60.0
_LATER = "http://127.0.0.1:1/"
"""What stands in the settings until the server is there."""

_NAMES = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is measured: how calls come, and what the worker does besides."""

    name: str
    evenly: bool
    bulk_calls: int
    """Calls in each request of the bulk run beside; 0: there is none."""
    rate: float = CALLS_PER_SECOND


SCENES = (
    Scene("idle", evenly=True, bulk_calls=0),
    Scene("beside a bulk run", evenly=True, bulk_calls=2),
    Scene("beside a bulk run of full requests", evenly=True, bulk_calls=500),
    Scene("8 a second at random moments, beside a bulk run", evenly=False, bulk_calls=2),
    Scene("2 a second at random moments, beside a bulk run", evenly=False, bulk_calls=2, rate=2.0),
)


@dataclass(slots=True)
class Seen:
    """What one round of a scene has shown, in seconds."""

    through: list[float] = field(default_factory=list)
    """From the client's POST to the provider, through the worker."""
    bare: list[float] = field(default_factory=list)
    """The same without a worker."""
    kept: list[float] = field(default_factory=list)
    """From the client's POST to the answer that it is kept."""
    statuses: list[int] = field(default_factory=list)
    lost: int = 0
    requests: int = 0
    bulk_a_minute: float = 0.0
    cpu: float = 0.0
    """Of the worker: seconds in each second."""
    others: float = 0.0
    """The same of programs that are no part of this."""
    sync: list[float] = field(default_factory=list)
    """A write of a page and its fsync, by another process meanwhile."""


# ---- the client


@dataclass(slots=True)
class _Sent:
    """What a client sent, and when; what was answered, and after how long."""

    through: dict[str, float] = field(default_factory=dict)
    """By client-identifier."""
    bare: dict[bytes, float] = field(default_factory=dict)
    """By the SHA-256 of the body."""
    kept: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    sync: list[float] = field(default_factory=list)


def _call(name: str) -> dict[str, Any]:
    number = f"9190{next(_NAMES):08d}"
    start = f"{tomorrow()}T10:00:00+05:30"
    keys = [{"name": "$flow.key.Name", "value": "Asha"}]
    return {
        "client-identifier": name,
        "start-time": start,
        "contact-numbers": [number],
        "keys": keys,
    }


def _moments(scene: Scene, seconds: float, chance: random.Random) -> Iterator[float]:
    """Yield when calls come, in seconds from the beginning."""
    moment = 0.0
    while moment < seconds:
        yield moment
        moment += 1 / scene.rate if scene.evenly else chance.expovariate(scene.rate)


async def _client(scene: Scene, seconds: float, seed: int, intake: str, bare: str) -> _Sent:
    sent, chance = _Sent(), random.Random(seed)
    plan = [(moment, True) for moment in _moments(scene, seconds, chance)]
    half = 0.5 / scene.rate
    plan += [(moment + half, False) for moment in _moments(scene, seconds, chance)]
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as posts:
        began = time.monotonic()
        for number, (moment, through) in enumerate(sorted(plan)):
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            name = f"R{number:06d}-{seed}"
            work = _through(session, intake, name, sent) if through else None
            posts.create_task(work or _bare(session, bare, name, sent))
    return sent


async def _through(session: aiohttp.ClientSession, url: str, name: str, sent: _Sent) -> None:
    body = orjson.dumps(_call(name))
    headers = {"Content-Type": "application/json", "Idempotency-Key": name}
    began = sent.through[name] = time.monotonic()
    async with session.post(url, data=body, headers=headers) as response:
        await response.read()
    sent.kept.append(time.monotonic() - began)
    sent.statuses.append(response.status)


async def _bare(session: aiohttp.ClientSession, url: str, name: str, sent: _Sent) -> None:
    body = Head(SECURITY_ID, FLOW_ID).body(orjson.dumps(_call(name)))
    headers = {"Content-Type": "application/json"}
    digest = sha256(body).digest()
    sent.bare[digest] = time.monotonic()
    async with session.post(url, data=body, headers=headers) as response:
        await response.read()


async def _with_syncs(folder: Path, client: Any) -> _Sent:
    """Run the client; see meanwhile, twice a second, what the disk alone takes."""
    syncs: list[float] = []
    task = asyncio.create_task(_sync_now_and_then(folder / "page", syncs))
    try:
        sent: _Sent = await client
    finally:
        task.cancel()
    sent.sync = syncs
    return sent


async def _sync_now_and_then(path: Path, seconds: list[float]) -> None:
    while True:
        seconds.append(await asyncio.to_thread(_sync, path))
        await asyncio.sleep(0.5)


def _sync(path: Path) -> float:
    with path.open("ab") as file:
        began = time.monotonic()
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
        return time.monotonic() - began


# ---- one round


def play(
    scene: Scene,
    seconds: float,
    seed: int,
    *,
    first: bool = False,
    prefix: tuple[str, ...] = (),
) -> Seen:
    """Play a scene once for so many seconds; `first`: before all other programs of the machine."""
    with tempfile.TemporaryDirectory(prefix="bench-realtime-") as name:
        folder = Path(name)
        if scene.bulk_calls:
            batches = int(BULK_LIMIT / 60 * (seconds + _BEGIN + _END + 10))
            small_batches.prepare(folder, _LATER, BULK_LIMIT, 1, batches, scene.bulk_calls)
        with before_others() if first else nullcontext(), counting(ANSWER_AFTER) as server:
            urls = server.url("bulk"), server.url("realtime")
            local_worker.lay_out(folder, *urls, BULK_LIMIT, REALTIME_LIMIT)
            with local_worker.working(folder, prefix=prefix) as worker:
                return _measured(scene, seconds, seed, folder, server, worker)


def _measured(
    scene: Scene, seconds: float, seed: int, folder: Path, server: Server, worker: LocalWorker
) -> Seen:
    if scene.bulk_calls:
        _wait_for_bulk(server)
    began, before = time.monotonic(), _spent(worker, server)
    client = _client(scene, seconds + _BEGIN, seed, worker.url, server.url("bare"))
    sent = uvloop.run(_with_syncs(folder, client))
    ended, after = time.monotonic(), _spent(worker, server)
    time.sleep(_END)
    arrivals = server.arrivals("realtime")
    seen = Seen(kept=sent.kept, statuses=sent.statuses, sync=sent.sync)
    seen.cpu, seen.others = ((b - a) / (ended - began) for a, b in zip(before, after, strict=True))
    seen.requests = len(arrivals)
    came = {one: arrival.moment for arrival in arrivals for one in arrival.names}
    for name, moment in sent.through.items():
        if name not in came:
            seen.lost += 1
        elif moment - began > _BEGIN:
            seen.through.append(came[name] - moment)
    seen.bare = _bare_latencies(sent, server.arrivals("bare"), began)
    if scene.bulk_calls:
        bulk = server.arrivals("bulk")
        count = sum(began + _BEGIN < arrival.moment < ended for arrival in bulk)
        seen.bulk_a_minute = 60 * count / (ended - began - _BEGIN)
    return seen


def _spent(worker: LocalWorker, server: Server) -> tuple[float, float]:
    """Return the CPU seconds so far of the worker, and of all that is no part of this."""
    ours = worker.cpu_so_far(), server.cpu_so_far(), time.process_time()
    return ours[0], busy_seconds() - sum(ours)


def _bare_latencies(sent: _Sent, arrivals: Sequence[Arrival], began: float) -> list[float]:
    return [
        arrival.moment - moment
        for arrival in arrivals
        if (moment := sent.bare[arrival.body]) - began > _BEGIN
    ]


def _wait_for_bulk(server: Server) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not server.arrivals("bulk"):
        if time.monotonic() > deadline:
            raise RuntimeError("the bulk run did not begin")
        time.sleep(0.2)


# ---- figures


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def in_ms(values: Sequence[float]) -> dict[str, float]:
    """Return what is told of latencies: median, 99th percentile and the longest, in ms."""
    if not values:
        return {}
    figures = {
        "median": median(values),
        "p99": quantile(values, 0.99),
        "longest": max(values),
    }
    return {name: round(1000 * value, 2) for name, value in figures.items()}


def figures(rounds: Sequence[Seen]) -> dict[str, Any]:
    """Return what the rounds of a scene say together; differences are those of each round."""
    more = [
        {
            part: round(in_ms(seen.through)[part] - in_ms(seen.bare)[part], 2)
            for part in ("median", "p99")
        }
        for seen in rounds
    ]
    everything: dict[str, Any] = {
        "calls": sum(len(seen.through) for seen in rounds),
        "lost": sum(seen.lost for seen in rounds),
        "not_202": sum(status != 202 for seen in rounds for status in seen.statuses),
        "requests": sum(seen.requests for seen in rounds),
    }
    for name in ("through", "bare", "kept", "sync"):
        values = [value for seen in rounds for value in getattr(seen, name)]
        everything[f"{name}_ms"] = in_ms(values)
    for part in ("median", "p99"):
        ours = everything["through_ms"][part] - everything["bare_ms"][part]
        everything[f"more_than_bare_{part}_ms"] = round(ours, 2)
        everything[f"more_than_bare_{part}_ms_by_round"] = [one[part] for one in more]
    everything["bulk_requests_a_minute"] = [round(seen.bulk_a_minute) for seen in rounds]
    everything["others_cpu"] = [round(seen.others, 2) for seen in rounds]
    everything["worker_cpu"] = [round(seen.cpu, 2) for seen in rounds]
    return everything
