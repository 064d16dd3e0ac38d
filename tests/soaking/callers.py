"""Programs that hand single calls to a worker by HTTP, and do not give up."""

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from soaking.stage import Stage, until

from phonon_bulk.call import today_in_india

_CALLERS = 3
_TRY_AGAIN = 0.5
"""Seconds after which a caller tries again what was not taken."""

_GIVE_UP = 60.0
"""Seconds after which a caller leaves it, until the end."""

_TICKETS = 1_000
"""Requests that are asked for in the end."""

_BUSY = (429, 503)


@dataclass(slots=True)
class Asked:
    """What one request asks for, and the id that it was told, once it was."""

    key: str
    names: tuple[str, ...]
    body: bytes
    id: str | None = None


class Callers:
    """All of them, and what they asked for."""

    def __init__(self, stage: Stage, pace: float) -> None:
        """Have each rest for about a quarter of `pace` seconds after a request."""
        self.orders: list[Asked] = []
        self._stage = stage
        self._rest = pace / 4
        self._number = 0

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to go on for the whole soak."""
        return [self._call(number) for number in range(_CALLERS)]

    async def _call(self, number: int) -> None:
        chance = self._stage.chance(f"caller {number}")
        async with aiohttp.ClientSession() as session:
            while not self._stage.over.is_set():
                await self._one(session, chance)
                await self._stage.rest(chance.expovariate(1 / self._rest))

    async def _one(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        """Ask for something: one call, a list, or many single ones at once; perhaps twice."""
        what = chance.choices(["single", "list", "burst"], [80, 15, 5])[0]
        sizes = {"single": [1], "list": [chance.choice([2, 20, 100])], "burst": [1] * 100}[what]
        asked = [self._order(size) for size in sizes]
        wait = chance.choice([0.0, 0.0, 0.0, 2.0])
        self._stage.done[f"HTTP: {what}"] += 1
        await self._all(session, asked, wait)
        if chance.random() < 0.2:
            self._stage.done["HTTP: repeated"] += 1
            await self._all(session, [*asked, *asked], wait)

    async def _all(
        self, session: aiohttp.ClientSession, asked: Sequence[Asked], wait: float
    ) -> None:
        async with asyncio.TaskGroup() as posts:
            for one in asked:
                posts.create_task(self._ask(session, one, wait))

    def _order(self, size: int) -> Asked:
        names, calls = [], []
        tomorrow = today_in_india(time.time() + 86_400)
        for _ in range(size):
            self._number += 1
            name = f"S{self._number:07d}"
            names.append(name)
            calls.append(
                {
                    "client-identifier": name,
                    "start-time": f"{tomorrow}T10:00:00+05:30",
                    "contact-numbers": [f"9190{50_000_000 + self._number:08d}"],
                    "keys": [{"name": "$flow.key.Name", "value": f"Asha {name}"}],
                }
            )
        key = f"key-{self._stage.seed}-{names[0]}"
        order = Asked(key, tuple(names), orjson.dumps(calls if size > 1 else calls[0]))
        self.orders.append(order)
        return order

    async def _ask(self, session: aiohttp.ClientSession, order: Asked, wait: float) -> None:
        deadline = time.monotonic() + _GIVE_UP
        while not await self._asked(session, order, wait):
            if self._stage.over.is_set() or time.monotonic() > deadline:
                return
            await self._stage.rest(_TRY_AGAIN)

    async def _asked(self, session: aiohttp.ClientSession, order: Asked, wait: float) -> bool:
        """Ask once; say whether there was a clear answer."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": order.key}
        query = {"wait": f"{wait:g}"} if wait else {}
        url, stage = f"{self._stage.url}/v1/calls", self._stage
        try:
            async with session.post(
                url, data=order.body, headers=headers, params=query
            ) as response:
                answer = orjson.loads(await response.read())
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            stage.done[f"HTTP: no answer, {type(error).__name__}"] += 1
            return False
        if response.status in _BUSY:
            stage.done[f"HTTP: {response.status}"] += 1
            return False
        if response.status not in (200, 202):
            stage.wrong.append(f"POST: {response.status} {answer.get('detail')}")
            return True
        if order.id not in (None, answer["id"]):
            stage.wrong.append("a repeated request was told another id")
        order.id = answer["id"]
        return True

    # ---- in the end

    async def ask_again(self) -> None:
        """Ask for what no clear answer came to; there is one now."""
        left = [order for order in self.orders if order.id is None]
        self._stage.done["HTTP: asked again in the end"] = len(left)
        async with aiohttp.ClientSession() as session:
            for order in left:
                await until(lambda o=order: self._asked(session, o, 0.0), "a call is not taken")  # type: ignore[misc]

    async def tickets(self) -> dict[str, str]:
        """Return the states of some of the calls, by client-identifier, as the worker tells."""
        chance, found = self._stage.chance("tickets"), dict[str, str]()
        some = chance.sample(self.orders, min(len(self.orders), _TICKETS))
        async with aiohttp.ClientSession() as session:
            for order in some:
                async with session.get(f"{self._stage.url}/v1/calls/{order.id}") as response:
                    answer = orjson.loads(await response.read())
                calls = answer.get("calls", [])
                if tuple(call["client-identifier"] for call in calls) != order.names:
                    self._stage.wrong.append(f"GET: {response.status}, and not its calls")
                found |= {call["client-identifier"]: call["state"] for call in calls}
        return found
