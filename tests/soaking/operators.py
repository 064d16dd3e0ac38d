"""Those who submit lists, and hold, let go, cancel and prune runs; each by a process of its own."""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from builders import FLOW_ID
from soaking.stage import BAD_NUMBERS, Stage, say

from phonon_bulk.journal import Control, Run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.export import contacts
from phonon_bulk.report.summary import summarize

_CAMPAIGN = """\
[campaign]
name = "{name}"
flow_id = "{flow_id}"
endpoint = "{endpoint}"
[source]
path = "{path}"
"""
_MOST_RUNS = 1_000_000
_JOURNAL_AWAY = 5
"""Exit code where the journal was locked for too long: it is tried again."""

_SETTLE_SECONDS = 600.0
_PROOF_SECONDS = 45.0
"""In the end the worker has so long to prove doubts; then the provider is asked."""

_A_MOMENT = 5.0
"""The same where nothing but doubts is left of a run."""

_STATES_OF_END = frozenset({"done", "cancelled"})


@dataclass(slots=True)
class List:
    """A list that was submitted."""

    number: int
    names: tuple[str, ...]
    run: int | None = None
    """Once it was told."""
    cancelled: bool = False
    pruned: dict[str, str] | None = field(default=None, repr=False)
    """The states of its contacts, by client-identifier, before they were pruned."""


class Operators:
    """All of them, and the lists that they submitted."""

    def __init__(self, stage: Stage, pace: float, largest: int) -> None:
        """Submit a list about every `pace` seconds, of up to `largest` contacts."""
        self.lists: list[List] = []
        self._stage = stage
        self._pace = pace
        self._largest = largest

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to go on for the whole soak."""
        return [self._submit(), self._let_go(), self._look(), self._prune()]

    # ---- lists

    async def _submit(self) -> None:
        chance = self._stage.chance("lists")
        async with asyncio.TaskGroup() as others:
            while not self._stage.over.is_set():
                one = self._write(chance)
                await self._submitted(one)
                what = chance.choices(["leave", "pause", "cancel"], [70, 20, 10])[0]
                if what != "leave" and one.run is not None:
                    others.create_task(self._hold(one, what, self._pace * chance.random()))
                await self._stage.rest(self._pace * chance.uniform(0.2, 1.2))

    def _write(self, chance: random.Random) -> List:
        """Write a list and its campaign."""
        number = len(self.lists) + 1
        size = chance.choice([1, 30, 400, self._largest // 4, self._largest])
        names = tuple(f"L{number:04d}-{row:06d}" for row in range(1, size + 1))
        lines = ["tel1,client-identifier,$flow.key.Name"]
        lines += [f"9190{number * 15_000 + row:08d},{name},Asha" for row, name in enumerate(names)]
        if chance.random() < 0.2:
            lines[1] = f"{chance.choice(BAD_NUMBERS)},{names[0]},Asha"
        path = self._stage.desk.write(f"list-{number}.csv", "\n".join(lines) + "\n").name
        campaign = _CAMPAIGN.format(
            name=f"soak-{number % 3}",
            flow_id=FLOW_ID,
            endpoint="realtime" if chance.random() < 0.1 else "bulk",
            path=path,
        )
        self._stage.desk.write(f"campaign-{number}.toml", campaign)
        self.lists.append(one := List(number, names))
        return one

    async def _submitted(self, one: List) -> None:
        """Submit a list; again if the journal was locked for too long."""
        for _ in range(10):
            arguments = "submit", f"campaign-{one.number}.toml", "--json", "-q"
            ended = await self._stage.run(*arguments, ends=(0, 2, _JOURNAL_AWAY))
            if ended.exit == 0:
                one.run = ended.summary["run"]
                return
        self._stage.wrong.append(
            f"list {one.number} can't be submitted: {ended.err.strip()[-300:]}"
        )

    # ---- runs

    async def _hold(self, one: List, what: str, after: float) -> None:
        """Pause or cancel a run after some seconds."""
        await self._stage.rest(after)
        flags = ["-y"] if what == "cancel" else []
        # 2: it was done already, or the journal was locked for too long.
        ended = await self._stage.run(what, str(one.run), *flags, ends=(0, 2, _JOURNAL_AWAY))
        one.cancelled |= what == "cancel" and ended.exit == 0

    async def _let_go(self) -> None:
        """Let go on what was paused, or stopped by the provider."""
        chance = self._stage.chance("let go")
        while not self._stage.over.is_set():
            await self._stage.rest(self._pace * chance.uniform(0.5, 1.5))
            await self._resume_held()

    async def _resume_held(self) -> None:
        for run in await asyncio.to_thread(self._runs):
            if run.control in (Control.PAUSED, Control.STOPPED):
                arguments = "resume", str(run.id), "--to-worker", "-q"
                await self._stage.run(*arguments, ends=(0, 2, _JOURNAL_AWAY))

    def _runs(self) -> list[Run]:
        with SqliteBooks(self._stage.journal) as books:
            return books.runs(_MOST_RUNS)

    async def _look(self) -> None:
        """Look whether all promises are kept, while everything goes on."""
        chance = self._stage.chance("look")
        while not self._stage.over.is_set():
            await self._stage.rest(self._pace * chance.uniform(4, 8))
            await self._stage.run("audit", ends=(0, 2, _JOURNAL_AWAY))
            await self._stage.run("status", "--json", ends=(0, 1, 2, 3, 4, 5))

    # ---- contact data that leaves

    async def _prune(self) -> None:
        """Prune a run that has ended, now and then, and keep what was known of it."""
        chance = self._stage.chance("prune")
        while not self._stage.over.is_set():
            await self._stage.rest(self._pace * chance.uniform(3, 6))
            ended = await asyncio.to_thread(self._ended)
            if ended:
                await self._prune_one(chance.choice(ended))

    def _ended(self) -> list[List]:
        with SqliteBooks(self._stage.journal) as books:
            return [
                one
                for one in self.lists
                if one.run is not None
                and one.pruned is None
                and summarize(books, one.run).state in _STATES_OF_END
            ]

    async def _prune_one(self, one: List) -> None:
        assert one.run is not None
        known = await asyncio.to_thread(states_of, self._stage, one.run)
        arguments = "prune", "--older-than", "0", "--run", str(one.run), "-q"
        ended = await self._stage.run(*arguments, ends=(0, 2, _JOURNAL_AWAY))
        if ended.exit == 0:
            one.pruned = known

    # ---- in the end

    async def settle(self) -> None:
        """Wait until every run has ended; doubts that stay are settled as the ledger says."""
        for one in self.lists:
            if one.run is None:
                await self._submitted(one)
        began = self._stage.seconds()
        while open_runs := await asyncio.to_thread(self._open_runs):
            waited = self._stage.seconds() - began
            if waited > _SETTLE_SECONDS:
                self._stage.wrong.append(f"runs that do not end: {sorted(open_runs)[:10]}")
                return
            await self._resume_held()
            for run, state in open_runs.items():
                only_doubts = state in {"in_doubt", "cancelled"} and waited > _A_MOMENT
                if only_doubts or waited > _PROOF_SECONDS:
                    await self._ask_the_provider(run)
            await asyncio.sleep(1.0)

    def _open_runs(self) -> dict[int, str]:
        """Return the runs with something to send, or in doubt, and their states."""
        found = {}
        with SqliteBooks(self._stage.journal) as books:
            for run in books.runs(_MOST_RUNS):
                summary = summarize(books, run.id)
                if summary.to_send or summary.in_doubt:
                    found[run.id] = summary.state
        return found

    async def _ask_the_provider(self, run: int) -> None:
        """Settle each doubt of a run as a person does who has asked the provider."""
        with SqliteBooks(self._stage.journal) as books:
            doubts = {doubt.batch for doubt in books.doubts(run)}
            if not doubts:
                return
            names = {
                contact.batch: contact.client_identifier
                for contact in contacts(books, run)
                if contact.batch in doubts
            }
        ledger = await asyncio.to_thread(self._stage.simulator.ledger)
        taken = {call["client-identifier"] for call in ledger}
        for batch, name in names.items():
            flag = "--accepted" if name in taken else "--resend"
            # 2: it has been settled meanwhile, by proof.
            await self._stage.run("resolve", str(run), str(batch), flag, ends=(0, 2))
            say(f"resolve: run {run}, batch {batch} {flag}")


def states_of(stage: Stage, run: int) -> dict[str, str]:
    """Return the states of a run's contacts, by client-identifier."""
    found: dict[str, str] = {}
    with SqliteBooks(stage.journal) as books:
        for contact in contacts(books, run):
            name = contact.client_identifier or f"unknown {contact.row}"
            if name in found:
                stage.wrong.append(f"run {run} has a contact twice")
            found[name] = str(contact.state)
    return found
