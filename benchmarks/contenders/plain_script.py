"""The script that people write today, to measure phonon-bulk against.

    export PHONON_BULK_SECURITY_ID=...
    python benchmarks/contenders/plain_script.py contacts.csv --url URL --flow-id ID

Reads a list in Phonon's template with csv.DictReader, sends 500 calls a request with aiohttp, 32
requests at once, under aiolimiter's 30,000 a minute, and prints how many were accepted. It is meant
to be a decent script: it streams (a semaphore and a TaskGroup, where asyncio.gather would hold the
whole list), it runs on uvloop, it does nothing twice. What it does not have is a journal: what
happened to which contact is gone when it ends, or when it is stopped half-way. It does not count
bytes either: who has wide rows finds that 500 of them are refused, and sends fewer in a request.
"""

import argparse
import asyncio
import csv
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiolimiter import AsyncLimiter

CALLS_IN_A_REQUEST = 500
REQUESTS_AT_ONCE = 32
ACCEPTED = 202

Call = dict[str, Any]
Limit = AbstractAsyncContextManager[Any]


@dataclass(slots=True)
class Counts:
    """What is printed at the end."""

    rows: int = 0
    rejected: int = 0
    accepted: int = 0
    failed: int = 0
    requests: int = 0


def read_calls(path: Path, counts: Counts) -> Iterator[Call]:
    """Yield a call for each row that has a number."""
    india = timezone(timedelta(hours=5, minutes=30))
    start_time = datetime.now(UTC).astimezone(india).isoformat(timespec="seconds")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        tels = [name for name in columns if name.startswith("tel")]
        keys = [name for name in columns if name.startswith("$flow.key.")]
        for row in reader:
            counts.rows += 1
            numbers = [row[name] for name in tels if row[name] and row[name].isdigit()]
            if not numbers:
                counts.rejected += 1
                continue
            yield {
                "client-identifier": row["client-identifier"],
                "start-time": row.get("start-time") or start_time,
                "contact-numbers": numbers,
                "keys": [{"name": name, "value": row[name]} for name in keys],
            }


def batches(calls: Iterator[Call], size: int) -> Iterator[list[Call]]:
    """Yield the calls in lists of `size`, the last one shorter."""
    batch: list[Call] = []
    for call in calls:
        batch.append(call)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def head_of(flow_id: str) -> dict[str, str]:
    """Return what stands before the calls in each request."""
    return {
        "api-version": "1.0",
        "security-id": os.environ["PHONON_BULK_SECURITY_ID"],
        "flow-id": flow_id,
    }


class Sender:
    """Sends batches to one flow, so many at once."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, head: dict[str, str], counts: Counts
    ) -> None:
        self._session = session
        self._url = url
        self._head = head
        self._counts = counts

    async def send(self, batch: list[Call], limit: Limit) -> str | None:
        """Send a batch and count what became of it; return its request-id if it was accepted."""
        body = orjson.dumps({**self._head, "calls": batch})
        async with limit:
            self._counts.requests += 1
            request_id = await self._post(body)
        if request_id:
            self._counts.accepted += len(batch)
        else:
            self._counts.failed += len(batch)
        return request_id

    async def _post(self, body: bytes) -> str | None:
        try:
            async with self._session.post(self._url, data=body) as response:
                answer = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            print(f"request failed: {error!r}")
            return None
        if answer["api-response-code"] != ACCEPTED:
            print(f"request refused: {answer['api-response-message']}")
            return None
        return str(answer["request-id"])


MakeSender = Callable[[aiohttp.ClientSession, str, dict[str, str], Counts], Sender]


async def send_all(
    given: argparse.Namespace, counts: Counts, make_sender: MakeSender = Sender
) -> None:
    """Send the whole list."""
    limit = nullcontext() if given.no_limit else AsyncLimiter(30_000, 60)
    slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE),
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=30),
        ) as session,
        asyncio.TaskGroup() as tasks,
    ):
        sender = make_sender(session, given.url, head_of(given.flow_id), counts)
        for batch in batches(read_calls(given.path, counts), given.calls_in_a_request):
            await slots.acquire()
            task = tasks.create_task(sender.send(batch, limit))
            task.add_done_callback(lambda _task: slots.release())


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser for what every script here is given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("path", type=Path, metavar="FILE.csv")
    parser.add_argument("--url", required=True)
    parser.add_argument("--flow-id", required=True)
    parser.add_argument("--calls-in-a-request", type=int, default=CALLS_IN_A_REQUEST, metavar="N")
    return parser


def show(counts: Counts) -> None:
    """Print the counts as JSON."""
    print(orjson.dumps(asdict(counts)).decode())


def main() -> None:
    """Send a list and print the counts."""
    parser = arguments("Send a contact list, without a journal.")
    parser.add_argument("--no-limit", action="store_true")
    given = parser.parse_args()
    counts = Counts()
    uvloop.run(send_all(given, counts))
    show(counts)


if __name__ == "__main__":
    main()
