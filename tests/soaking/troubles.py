"""What befalls a worker: its provider, its journal, its settings, its own life."""

import asyncio
import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Coroutine
from typing import Any

from soaking.stage import Stage, say

_AWAY = ("status:503", "drop-before", "delay:6")
WEATHER: tuple[tuple[str, ...], ...] = (
    ("delay:0.5",),
    ("delay:2@0.3",),
    ("delay:6@0.1",),  # longer than the client waits
    ("drop-after@0.3",),
    ("drop-before@0.3",),
    ("code:206+taken@0.3", "code:206@0.2"),
    ("code:500+taken@0.2", "code:500@0.3"),
    ("status:502+taken@0.3", "status:500@0.2"),
    ("status:429@0.3",),
    ("garbage@0.3",),
    ("code:400@0.05",),
    ("code:212@0.2",),  # no balance: what is sent is stopped until somebody lets it go on
    ("drop-after@0.1", "code:206+taken@0.1", "status:503+taken@0.1", "garbage@0.1", "delay:0.2"),
    *((fault,) for fault in _AWAY),
)
"""The provider's bad spells: each of the simulator's faults, and being away altogether."""

_ROUGH = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGTERM, None)
"""How a worker is ended; None is SIGTERM twice."""

_TWICE = 1.2
"""Seconds between two SIGTERMs, so that they are not taken for one."""


class Troubles:
    """All of them."""

    def __init__(self, stage: Stage, pace: float) -> None:
        """Have one of a kind about every `pace` seconds."""
        self._stage = stage
        self._pace = pace
        self._ends = stage.chance("ends")

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to go on for the whole soak."""
        return [self._weather(), self._locks(), self._reloads()]

    async def end(self) -> None:
        """Have the provider be well from now on."""
        await asyncio.to_thread(self._stage.simulator.change, faults=[])

    # ---- the provider

    async def _weather(self) -> None:
        """Have a bad spell after each good one; all kinds, in an order of chance, then again."""
        chance, spells = self._stage.chance("weather"), list[tuple[str, ...]]()
        while not self._stage.over.is_set():
            await self.end()
            await self._stage.rest(self._pace * chance.uniform(0.5, 1.5))
            if not spells:
                spells = chance.sample(WEATHER, len(WEATHER))
            await asyncio.to_thread(self._stage.simulator.change, faults=list(spells.pop()))
            self._stage.done["bad spell"] += 1
            await self._stage.rest(self._pace * chance.uniform(0.3, 1.0))

    # ---- the journal

    async def _locks(self) -> None:
        """Hold the journal locked now and then: for less than the worker waits, or for longer."""
        chance = self._stage.chance("locks")
        while not self._stage.over.is_set():
            await self._stage.rest(self._pace * chance.uniform(2, 4))
            await asyncio.to_thread(self._lock, chance.choice([0.5, 1.0, 3.0]))
            self._stage.done["journal locked"] += 1

    def _lock(self, seconds: float) -> None:
        with contextlib.closing(
            sqlite3.connect(self._stage.journal, isolation_level=None, timeout=10)
        ) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    # ---- the settings

    async def _reloads(self) -> None:
        """Have the settings read anew, changed or not."""
        chance = self._stage.chance("reloads")
        while not self._stage.over.is_set():
            await self._stage.rest(self._pace * chance.uniform(1, 3))
            self._stage.settle_in(
                look_every=chance.choice([0.1, 0.5, 0.5]),
                workers=chance.choice(["8", "32", '"auto"']),
            )
            shown = chance.random() < 0.3
            if self._stage.is_ready:  # before it is, and when it ends, they would end it
                self._stage.signal(signal.SIGUSR1 if shown else signal.SIGHUP)
                self._stage.done["SIGUSR1" if shown else "SIGHUP"] += 1

    # ---- the worker's own life

    async def end_worker(self) -> None:
        """Let the worker live for a while, end it somehow, and start another."""
        stage, chance = self._stage, self._ends
        await stage.rest(self._pace * chance.uniform(0.5, 2.5))
        how, stage.is_ready = chance.choice(_ROUGH), False
        code = await self._ended(how, chance)
        # Told twice, it may have had nothing under way; then the second meets it at its very end.
        twice = (5, 0, -signal.SIGTERM)
        expected = {signal.SIGKILL: (-signal.SIGKILL,), signal.SIGTERM: (0,), None: twice}[how]
        name = how.name if how else "SIGTERM twice"
        stage.done[name] += 1
        if code not in expected:
            stage.wrong.append(f"the worker ended with {code} after {name}")
        say(f"{name}: the worker ended with {code}")
        await stage.start()

    async def _ended(self, how: signal.Signals | None, chance: random.Random) -> int:
        self._stage.signal(how or signal.SIGTERM)
        if how is None:
            await asyncio.sleep(_TWICE + chance.random())
            self._stage.signal(signal.SIGTERM)
        return await self._stage.ended()
