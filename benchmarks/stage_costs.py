"""Counts the CPU time of each stage that a contact goes through, each by itself.

    python benchmarks/stage_costs.py LIST.csv

For `stages.py`, which starts it in a folder with phonon-bulk.toml and campaign.toml. A stage is the
package's own function over the whole list, with all that it needs in memory already; nothing else
is done meanwhile, so what all threads of the process take (`time.process_time`) is the stage's.
What is done for each batch is done for 32 of them at once, as by the workers.

    look over         every byte of the file: SHA-256, UTF-8, quotes, where rows end
    read              Arrow: text to columns
    write calls       DuckDB: checks, and each call's JSON
    pack              calls to batches
    compress, hash    what is frozen
    commit            batches into the journal, on disk
    claim             batches out of the journal
    thaw              what was frozen
    mark as sending   on disk, before the first byte leaves
    post              the body joined and sent with the package's endpoint, the answer read
    settle            what follows from the answer, on disk

The floor is the same bodies posted from memory: no list, no journal. Prints one JSON object, in
microseconds a contact.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import aiohttp
import orjson

from phonon_bulk.batch import SECURITY_ID_LENGTH, Batch, Head, room_for_calls
from phonon_bulk.cli.session import run_loop
from phonon_bulk.config import Campaign, Settings, load_campaign, load_settings
from phonon_bulk.dispatch.settling import settlement_of
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.jobs.opening import new_run
from phonon_bulk.journal import Claim
from phonon_bulk.journal.frozen import compress, thaw
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.packing import Chunk, Packer
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import Facts, decide
from phonon_bulk.source.contacts import ContactList, open_list
from phonon_bulk.source.formats.opening import Options, open_part
from phonon_bulk.source.formats.stored import LocalFile
from phonon_bulk.source.formats.tables import Part
from phonon_bulk.submit import Portion, portions

WORKERS = 32
_LEASE = 3600.0
"""Seconds."""
_ENDPOINT, _BARE = 1, 2
"""Variants: the floors' bodies differ by a space or two from those before, as they must."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Meter:
    """Counts what stages take."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what the block takes, on all threads."""
        gc.collect()
        began = time.process_time()
        yield
        self.cpu_seconds[name] = time.process_time() - began

    def each(self, contacts: int) -> dict[str, float]:
        """Return the microseconds a contact."""
        return {name: round(cpu / contacts * 1e6, 3) for name, cpu in self.cpu_seconds.items()}


# ---- from the list to batches


@dataclass(frozen=True, slots=True)
class _Read:
    """What has been read of a part."""

    rows: int
    read: Sequence[Any]

    def tables(self, before: int, after_row: int) -> Iterator[Any]:
        """See `Part`."""
        assert before == after_row == 0  # noqa: S101 - one part, read from its beginning
        yield from self.read


def read_list(meter: Meter, campaign: Campaign, path: Path, room: int) -> list[Chunk]:
    """Look a list over, read it, and write its calls."""
    with meter.stage("look over"):
        contacts = open_list(campaign, [str(path)])
    part = open_part(LocalFile(path), Options())
    with meter.stage("read"):
        tables = list(part.tables(0, 0))
    in_memory = replace(contacts, _parts=(cast(Part, _Read(part.rows, tables)),))
    with meter.stage("write calls"):
        return list(in_memory.chunks(run=1, now=time.time(), room=room))


def freeze(meter: Meter, chunks: Sequence[Chunk], room: int) -> list[Portion]:
    """Pack calls, compress and hash them; return what goes into the journal."""
    packer, batches = Packer(room), list[Batch]()
    with meter.stage("pack"):
        for chunk in chunks:
            batches += packer.add(chunk.calls)
        batches += packer.finish()
    with meter.stage("compress"):
        for batch in batches:
            compress(batch.data)
    with meter.stage("hash"):
        for batch in batches:
            sha256(batch.data).digest()
    return list(portions(iter(chunks), room, 0))


# ---- from batches to answers


async def at_once(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Do `work` with all items, so many at a time as there are workers; keep their order."""
    done: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for place, item in waiting:
            done[place] = await work(item)

    async with asyncio.TaskGroup() as workers:
        for _ in range(WORKERS):
            workers.create_task(worker())
    return [done[place] for place in range(len(items))]


async def into_journal(
    meter: Meter, journal: SqliteJournal, run: int, portions: Sequence[Portion]
) -> list[Claim]:
    """Append everything, and claim it."""
    with meter.stage("commit"):
        for portion in portions:
            await journal.append(
                run,
                portion.batches,
                portion.left_out,
                after_row=portion.after_row,
                last_row=portion.last_row,
                notes=portion.notes,
            )
    claims: list[Claim] = []
    with meter.stage("claim"):
        while some := await journal.claim(
            run, owner=journal.owner, limit=WORKERS, now=journal.now(), lease=_LEASE
        ):
            claims += some
    return claims


async def send(
    meter: Meter, journal: SqliteJournal, endpoint: Endpoint, head: Head, claims: Sequence[Claim]
) -> list[bytes]:
    """Mark, post and settle all batches; return their calls."""
    owner = journal.owner
    with meter.stage("thaw"):
        calls = [thaw(claim.body) for claim in claims]

    async def mark(claim: Claim) -> None:
        digest = head.digest(claim.variant)
        marked = await journal.send(claim, digest, owner, journal.now(), _LEASE)
        assert marked == 1  # noqa: S101 - else it is a repeat

    async def post(pair: tuple[Claim, bytes]) -> Answer:
        claim, calls = pair
        return await endpoint.post(head.body(calls, claim.variant))

    async def settle(pair: tuple[Claim, Answer]) -> None:
        claim, answer = pair
        facts = Facts(claim.calls, claim.variant, doubted=False, denied=False)
        settlement = settlement_of(decide(answer, facts), answer, claim, 0.0)
        await journal.settle(claim.batch, settlement, owner, time.time())

    with meter.stage("mark as sending"):
        await at_once(mark, claims)
    with meter.stage("post"):
        answers = await at_once(post, list(zip(claims, calls, strict=True)))
    _check(answers)
    with meter.stage("settle"):
        await at_once(settle, list(zip(claims, answers, strict=True)))
    return calls


def _check(answers: Sequence[Answer]) -> None:
    for answer in answers:
        if answer.verdict is not Verdict.ACCEPTED:
            raise RuntimeError(f"a batch was not accepted: {answer!r}")


# ---- the floor


async def floor_of_endpoint(
    meter: Meter, endpoint: Endpoint, head: Head, calls: Sequence[bytes]
) -> None:
    """Post bodies from memory with the package's endpoint."""
    bodies = [head.body(one, _ENDPOINT) for one in calls]
    with meter.stage("the package's endpoint"):
        answers = await at_once(endpoint.post, bodies)
    _check(answers)


async def floor_of_aiohttp(meter: Meter, url: str, head: Head, calls: Sequence[bytes]) -> None:
    """Post bodies from memory with aiohttp, and nothing around it."""
    bodies = [head.body(one, _BARE) for one in calls]
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=WORKERS),
        headers={"Content-Type": "application/json"},
    ) as session:

        async def post(body: bytes) -> int:
            async with session.post(url, data=body) as response:
                return int(orjson.loads(await response.read())["api-response-code"])

        with meter.stage("bare aiohttp"):
            codes = await at_once(post, bodies)
    if set(codes) != {202}:
        raise RuntimeError(f"not all bodies were accepted: {sorted(set(codes))}")


# ---- all of it


async def measure(
    settings: Settings, campaign: Campaign, contacts: ContactList, portions: list[Portion]
) -> tuple[Meter, Meter]:
    """Measure from the journal on; return the stages, and the floors."""
    stages, floors = Meter(), Meter()
    chosen = settings.endpoint(campaign.endpoint)
    security_id = settings.security_id(campaign.account).get_secret_value()
    head = Head(security_id, campaign.flow_id)
    journal = SqliteJournal(settings.journal_path)
    try:
        run = (await journal.open_run(new_run(campaign, contacts, time.time()), time.time())).run
        claims = await into_journal(stages, journal, run, portions)
        async with Endpoint(campaign.endpoint, chosen) as endpoint:
            calls = await send(stages, journal, endpoint, head, claims)
            await floor_of_endpoint(floors, endpoint, head, calls)
        await floor_of_aiohttp(floors, chosen.url, head, calls)
    finally:
        await journal.close()
    return stages, floors


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, metavar="LIST.csv")
    path = parser.parse_args().path
    settings, campaign = load_settings(None, os.environ, {}), load_campaign(Path("campaign.toml"))
    room = room_for_calls(campaign.flow_id, SECURITY_ID_LENGTH)
    gc.freeze()  # as the program does
    stages = Meter()
    frozen = freeze(stages, read_list(stages, campaign, path, room), room)
    contacts = open_list(campaign, [str(path)])
    sent, floors = run_loop(settings, measure(settings, campaign, contacts, frozen))
    each = stages.each(contacts.rows) | sent.each(contacts.rows)
    record = {"stages": each, "floor": floors.each(contacts.rows)}
    print(orjson.dumps(record).decode())


if __name__ == "__main__":
    main()
