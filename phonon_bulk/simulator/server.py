"""The simulator's HTTP: two endpoints for calls, and a few for whoever tries things on.

    POST /bulk/kairos-apis/outbound/create      as https://central-api.phonon.io
    POST /realtime/kairos-apis/outbound/create  as https://central.phonon.io
    GET  /ledger            NDJSON: one line for each accepted call
    GET  /ledger/requests   NDJSON: one line for each request received
    GET  /ledger/summary    JSON: the sums of each endpoint
    POST /reset             empties the books, and forgets checksums and rates
    POST /rules             JSON object of rules to change from now on; names as in options.py
    GET  /health            JSON, once it answers at all

Times in the books are in seconds since the epoch. This module has all the effects there are.
"""

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator.ledger import Ledger
from phonon_bulk.simulator.options import Endpoint, Rules
from phonon_bulk.simulator.provider import Reply, Simulator

PATH = "/kairos-apis/outbound/create"
"""Of both endpoints; they differ in the host, so the simulator puts the endpoint's name before."""

_READ_BYTES = 64 * 1024 * 1024
"""Of one body, at most; far above what the rules allow, so that they give the answer."""

_BUFFER_BYTES = 512 * 1024
"""A whole body of the largest size, so that reading it never pauses."""

_LAST_ANSWERS_SECONDS = 0.2
"""How long answers under way (a delay, most likely) may take once told to stop."""

_LINES = 1000
"""Lines of NDJSON written at once."""

_COLLECT_AFTER = 200_000
"""New objects after which the collector of cycles runs, in a process that only serves."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that is being served at `base_url`."""

    simulator: Simulator
    base_url: str

    @property
    def bulk_url(self) -> str:
        """What `endpoints.bulk.url` is to be set to."""
        return f"{self.base_url}/{Endpoint.BULK}{PATH}"

    @property
    def realtime_url(self) -> str:
        """What `endpoints.realtime.url` is to be set to."""
        return f"{self.base_url}/{Endpoint.REALTIME}{PATH}"

    def settings(self) -> str:
        """Return the lines of phonon-bulk.toml that send to this simulator, within its rates."""
        lines = []
        for endpoint, url in zip(Endpoint, (self.bulk_url, self.realtime_url), strict=True):
            limits = self.simulator.rules.limits(endpoint)
            lines += [f"[endpoints.{endpoint}]", f'url = "{url}"']
            if limits.requests is not None:
                lines.append(f"requests_per_minute = {limits.requests}")
            if limits.calls is not None:
                lines.append(f"calls_per_minute = {limits.calls}")
        return "\n".join(lines)

    @property
    def ledger(self) -> Ledger:
        """The books, live."""
        return self.simulator.ledger


@asynccontextmanager
async def serving(
    rules: Rules | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Running]:
    """Serve a simulator within the block; port 0 picks a free one.

    Raises UnusableError if it can't listen there.
    """
    simulator = Simulator(rules, clock=clock)
    runner = web.AppRunner(
        application(simulator),
        access_log=None,
        auto_decompress=False,  # that a body may be compressed is documented nowhere
        read_bufsize=_BUFFER_BYTES,
        shutdown_timeout=_LAST_ANSWERS_SECONDS,
    )
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield Running(simulator, f"http://{_authority(host, runner.addresses[0][1])}")
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnusableError(
            f"the simulator can't listen on {_authority(host, port)} ({reason}); "
            "choose another --port, or 0 for any that is free"
        ) from error


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(
    rules: Rules,
    host: str,
    port: int,
    announce: Callable[[Running], None],
    *,
    use_uvloop: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called once it listens.

    Raises UnusableError if it can't listen there.
    """
    _spare_the_collector()
    with asyncio.Runner(loop_factory=_loop_factory() if use_uvloop else None) as runner:
        runner.run(_serve_until_told(rules, host, port, announce))


def _spare_the_collector() -> None:
    """Let the cyclic collector run seldom: a parsed body is thousands of objects and no cycle.

    At the usual threshold it takes a third of the time that a request takes.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve_until_told(
    rules: Rules, host: str, port: int, announce: Callable[[Running], None]
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with serving(rules, host, port) as running:
        announce(running)
        await told.wait()


def application(simulator: Simulator) -> web.Application:
    """Return the application with every path."""
    app = web.Application(client_max_size=_READ_BYTES)
    app.add_routes(
        [web.post(f"/{endpoint}{PATH}", _create(simulator, endpoint)) for endpoint in Endpoint]
    )
    desk = _Desk(simulator)
    app.add_routes(
        [
            web.get("/ledger", desk.calls),
            web.get("/ledger/requests", desk.requests),
            web.get("/ledger/summary", desk.summary),
            web.post("/reset", desk.reset),
            web.post("/rules", desk.rules),
            web.get("/health", desk.health),
        ]
    )
    return app


def _create(simulator: Simulator, endpoint: Endpoint) -> _Handler:
    async def create(request: web.Request) -> web.Response:
        body = await request.read()
        reply = simulator.receive(
            endpoint, body, remote=request.remote or "", content_type=request.content_type
        )
        if reply.delay:
            await asyncio.sleep(reply.delay)
        return _response(request, reply)

    return create


def _response(request: web.Request, reply: Reply) -> web.Response:
    if reply.status is not None:
        return web.Response(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=reply.headers,
        )
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # goes nowhere: the connection is closed


class _Desk:
    """Where the books are read and the rules are changed."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def calls(self, request: web.Request) -> web.StreamResponse:
        return await _ndjson(request, self._simulator.ledger.calls())

    async def requests(self, request: web.Request) -> web.StreamResponse:
        return await _ndjson(request, self._simulator.ledger.requests())

    async def summary(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.ledger.summary())

    async def reset(self, _request: web.Request) -> web.Response:
        self._simulator.reset()
        return _json({"reset": True})

    async def rules(self, request: web.Request) -> web.Response:
        try:
            values = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            values = None
        if not isinstance(values, dict):
            return _json({"error": "send a JSON object of rules"}, status=400)
        try:
            self._simulator.change(values)
        except UnusableError as error:
            return _json({"error": str(error)}, status=400)
        return _json({"changed": sorted(values)})

    async def health(self, _request: web.Request) -> web.Response:
        return _json({"health": "ok"})


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


async def _ndjson(request: web.Request, lines: Iterable[dict[str, Any]]) -> web.StreamResponse:
    """Stream the lines, so that a long ledger is never in memory as a whole."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for chunk in _chunks(lines):
        await response.write(chunk)
    await response.write_eof()
    return response


def _chunks(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    rest = iter(lines)
    while some := list(islice(rest, _LINES)):
        yield b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in some)
