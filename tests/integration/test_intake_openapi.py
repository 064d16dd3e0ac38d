"""The description that is served is true: schemathesis makes requests from it, and judges answers.

The server runs in a thread of its own, with an event loop of its own, as schemathesis waits for
each answer.
"""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
import schemathesis
from fake_door import FakeDoor
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig

from phonon_bulk.config import Address
from phonon_bulk.intake.door import Order, Ticket
from phonon_bulk.intake.openapi import DOCUMENT
from phonon_bulk.intake.server import serve

TOKEN = "a token of the tests, made up".replace(" ", "-")
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 30
REFUSED = ["400", "401", "404", "405", "413", "415", "422"]

# A start date that has passed is refused, and that a schema can't say.
schemathesis.openapi.format(
    "date-time",
    st.datetimes(
        min_value=datetime(2027, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2900, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ).map(lambda moment: moment.replace(microsecond=0).isoformat()),
)


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Leave of flow variables with one name the first: that neither can be said by a schema."""
    calls = body.get("calls", [body]) if isinstance(body, dict) else body
    for call in calls if isinstance(calls, list) else []:
        keys = call.get("keys") if isinstance(call, dict) else None
        if isinstance(keys, list) and all(isinstance(key, dict) for key in keys):
            call["keys"] = list({repr(key.get("name")): key for key in keys}.values())
    return body


class _Forgetful(FakeDoor):
    """Knows no key again: which one was used before is no matter of the schema either."""

    async def known(self, _order: Order) -> Ticket | None:
        return None


class _Served(threading.Thread):
    """A server with a fake door, in a thread."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.address = ""
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        door = _Forgetful()
        door.settles = True
        address, token = Address("127.0.0.1:0"), SecretStr(TOKEN)
        async with serve(address, token, door, flow_id=lambda: "QG8k000A") as server:
            self.address = str(server.address)
            self._up.set()
            await self._end.wait()

    def __enter__(self) -> str:
        self.start()
        assert self._up.wait(10)
        return f"http://{self.address}"

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self.join(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return where a server is."""
    with _Served() as base:
        yield base


CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"mode": "all", "deterministic": True, "max-examples": EXAMPLES},
        # 501 calls are no call too few, but a body too large.
        "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
    }
)
schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_answers_are_as_described(case: schemathesis.Case[Any], url: str) -> None:
    """Right requests are taken, wrong ones refused, and each answer is as its schema says."""
    case.call_and_validate(base_url=url, headers=AUTHORIZED)
