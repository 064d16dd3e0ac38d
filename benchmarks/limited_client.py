"""Sends as fast as a limiter lets it, as people write it today; `limiters.py` starts these.

    python benchmarks/limited_client.py aiolimiter --url URL --limit 3000 --seconds 60
    python benchmarks/limited_client.py fixed-window --url URL --limit 3000 --seconds 60

32 requests at once, each waits for the limiter and posts. There is always more to send.
"""

import argparse
import asyncio
import itertools
import time
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any

import aiohttp
import uvloop
from aiolimiter import AsyncLimiter
from contenders.plain_script import ACCEPTED, REQUESTS_AT_ONCE

MINUTE = 60.0


class FixedWindow:
    """Counts from 0 at each whole minute of the clock, and waits for the next when it is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._minute = 0
        self._count = 0

    async def __aenter__(self) -> None:
        while True:
            minute = int(time.time() // MINUTE)
            if minute != self._minute:
                self._minute, self._count = minute, 0
            if self._count < self._limit:
                self._count += 1
                return
            await asyncio.sleep(MINUTE - time.time() % MINUTE)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: what was counted stays so."""


Limit = AbstractAsyncContextManager[Any]


def limiter(how: str, limit: int) -> Limit:
    """Return the limiter of that name for `limit` requests a minute."""
    return AsyncLimiter(limit, MINUTE) if how == "aiolimiter" else FixedWindow(limit)


async def _work(
    session: aiohttp.ClientSession, url: str, limit: Limit, bodies: "itertools.count[int]"
) -> None:
    while True:
        async with limit:
            body = f"{id(bodies)} {next(bodies)}".encode()
            async with session.post(url, data=body) as response:
                await response.read()
                if response.status != ACCEPTED:
                    raise RuntimeError(f"HTTP {response.status}")


async def _send(given: argparse.Namespace) -> None:
    limit, bodies = limiter(given.how, given.limit), itertools.count()
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(given.seconds),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE)
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(REQUESTS_AT_ONCE):
                tasks.create_task(_work(session, given.url, limit, bodies))


def main() -> None:
    """Send until the time is over."""
    parser = argparse.ArgumentParser(description="Send as fast as a limiter lets it.")
    parser.add_argument("how", choices=["aiolimiter", "fixed-window"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--limit", type=int, required=True, metavar="N", help="requests a minute")
    parser.add_argument("--seconds", type=float, required=True)
    with suppress(KeyboardInterrupt):
        uvloop.run(_send(parser.parse_args()))


if __name__ == "__main__":
    main()
