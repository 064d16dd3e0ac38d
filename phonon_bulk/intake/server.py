"""Listens: the intake under /v1, and the pages that show how the process is.

    POST /v1/calls           takes calls
    GET  /v1/calls/{id}      what became of them
    GET  /v1/openapi.json    the description of these

A request goes through in this order: is it let in (the token is looked at before the body is read),
is there such a path and method, is what it says right, and only then is it kept.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web
from pydantic import SecretStr

from phonon_bulk.config import Address
from phonon_bulk.errors import JournalError, UnusableError
from phonon_bulk.intake import problems
from phonon_bulk.intake.answers import Reply
from phonon_bulk.intake.calls import Calls
from phonon_bulk.intake.connections import (
    COMMON_HEADERS,
    Connection,
    Limits,
    Listener,
    fitting_connections,
    problem_response,
)
from phonon_bulk.intake.door import Door
from phonon_bulk.intake.gate import Gate
from phonon_bulk.intake.openapi import DESCRIPTION
from phonon_bulk.intake.parameters import read_query
from phonon_bulk.intake.problems import ProblemError, retry_after
from phonon_bulk.intake.token import refuse_open_door

log = structlog.get_logger("phonon_bulk.intake")

CALLS, TICKET, OPENAPI = "/v1/calls", "/v1/calls/{id}", "/v1/openapi.json"
NO_ROUTE = "none"
"""The route of what matches no path, as `answered` is told it."""

CLIENT_GONE = 499
"""The status that is counted where a client hung up before it was answered; nginx has it too."""

_TICKET_PATH = re.compile(r"/v1/calls/([0-9a-f]{32})")
_INTAKE = "/v1/"
_READING = ("GET", "HEAD")
_BACKLOG = 1024
_JOURNAL_RETRY = 5.0
"""Seconds after which a journal that failed may be there again."""

_LAST_ANSWERS_SECONDS = 5.0
"""For answers under way, once told to stop; those who wait for calls are answered at once."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the process itself under a path of its own: /metrics, say."""

    path: str
    open: bool
    """Whether it needs no token."""
    answer: Callable[[], Awaitable[tuple[int, str, bytes]]]
    """Returns status, content type and body."""


@dataclass(frozen=True, slots=True)
class Server:
    """What listens."""

    address: Address
    """Where, really: port 0 has become the one that was free."""
    listener: Listener

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.listener.connections)


@dataclass(frozen=True, slots=True)
class _Route:
    """What a path leads to."""

    name: str
    methods: tuple[str, ...]
    answer: Callable[[web.BaseRequest], Awaitable[Reply]]
    open: bool = False


def _ignore(_route: str, _status: int, _seconds: float) -> None:
    return None


@asynccontextmanager
async def serve(
    address: Address,
    token: SecretStr | None,
    door: Door | None,
    pages: Sequence[Page] = (),
    *,
    flow_id: Callable[[], str | None] = lambda: None,
    answered: Callable[[str, int, float], None] = _ignore,
    clock: Callable[[], float] = time.time,
    limits: Limits | None = None,
) -> AsyncIterator[Server]:
    """Listen within the block.

    Without a `door` the intake is turned off, and only the pages are there. `flow_id` gives the
    flow of requests that name none; `answered` is told route, status and seconds of each answer.
    At the end, those who wait for their calls are answered at once.

    Raises SettingsError if others than this machine could come in without a token, UnusableError if
    it can't listen there.
    """
    refuse_open_door(address, token)
    limits = limits or Limits(connections=fitting_connections())
    ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    intake = None if door is None else Calls(door, flow_id, clock, ending, limits.body)
    desk = _Desk(Gate(token), _routes(intake, pages), answered, is_off=door is None)
    listener = Listener(desk.handle, limits, lambda status: answered(NO_ROUTE, status, 0.0))
    runner = web.ServerRunner(listener, shutdown_timeout=_LAST_ANSWERS_SECONDS)
    await runner.setup()
    try:
        yield Server(await _listen(runner, address), listener)
    finally:
        ending.set_result(None)
        await runner.cleanup()


async def _listen(runner: web.ServerRunner, address: Address) -> Address:
    try:
        await web.TCPSite(runner, address.host, address.port, backlog=_BACKLOG).start()
    except OSError as error:
        raise UnusableError(
            f"worker.listen: nothing can listen on {address} ({error.strerror or error}); is a"
            " worker running there already? Choose another port, or 0 for any that is free"
        ) from error
    host, port = runner.addresses[0][:2]
    return Address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _routes(intake: "Calls | None", pages: Sequence[Page]) -> dict[str, _Route]:
    routes = {page.path: _Route(page.path, _READING, _page(page), open=page.open) for page in pages}
    if intake is not None:
        routes[CALLS] = _Route(CALLS, ("POST",), intake.take)
        routes[TICKET] = _Route(TICKET, _READING, intake.show)
        routes[OPENAPI] = _Route(OPENAPI, _READING, _describe)
    return routes


def _page(page: Page) -> Callable[[web.BaseRequest], Awaitable[Reply]]:
    async def answer(_request: web.BaseRequest) -> Reply:
        status, content_type, body = await page.answer()
        return Reply(status, body, content_type=content_type)

    return answer


async def _describe(request: web.BaseRequest) -> Reply:
    read_query(list(request.query.items()), ())
    return Reply(HTTPStatus.OK, DESCRIPTION)


class _Desk:
    """Handles every request: lets it in, finds its route, makes an answer of whatever happens."""

    def __init__(
        self,
        gate: Gate,
        routes: Mapping[str, _Route],
        answered: Callable[[str, int, float], None],
        *,
        is_off: bool,
    ) -> None:
        """`is_off`: there is no intake behind it."""
        self._gate = gate
        self._routes = routes
        self._is_off = is_off
        self._answered = answered

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        began = time.perf_counter()
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - `Listener` makes no other
        connection.begin()
        route = self._route(request.path)
        status = CLIENT_GONE
        try:
            response = await self._respond(request, route)
            status = response.status
        finally:
            connection.end()
            name = NO_ROUTE if route is None else route.name
            self._answered(name, status, time.perf_counter() - began)
        if not request.content.is_eof():  # what is left of the body would be taken for a request
            response.force_close()
        return response

    def _route(self, path: str) -> _Route | None:
        return self._routes.get(TICKET if _TICKET_PATH.fullmatch(path) else path)

    async def _respond(self, request: web.BaseRequest, route: _Route | None) -> web.Response:
        try:
            return _response(await self._reply(request, route))
        except ProblemError as problem:
            return problem_response(problem)
        except JournalError:
            return problem_response(_journal_problem())
        except Exception as error:  # noqa: BLE001 - a client is answered, whatever happens
            name = NO_ROUTE if route is None else route.name
            # Neither message nor trace: they may quote what the client sent.
            log.error("intake.fault", route=name, error=type(error).__name__)  # noqa: TRY400
            detail = "this was not foreseen; see the log of the worker (intake.fault)"
            return problem_response(ProblemError(problems.FAULT, detail))

    async def _reply(self, request: web.BaseRequest, route: _Route | None) -> Reply:
        if route is None or not route.open:
            self._gate.check(request.headers)
        if route is None:
            raise self._no_such_path(request.path)
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            raise ProblemError(
                problems.WRONG_METHOD,
                f"this path takes {allowed.replace(', ', ' and ')}",
                headers={"Allow": allowed},
            )
        return await route.answer(request)

    def _no_such_path(self, path: str) -> ProblemError:
        if self._is_off and path.startswith(_INTAKE):
            detail = "this worker takes no calls by HTTP: intake.enabled is false in its settings"
            return ProblemError(problems.INTAKE_OFF, detail)
        detail = f"there are {CALLS}, {TICKET} and {OPENAPI}"
        return ProblemError(problems.NOT_FOUND, detail)


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type, **COMMON_HEADERS, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


def _journal_problem() -> ProblemError:
    return ProblemError(
        problems.JOURNAL,
        "send it again later, with the same Idempotency-Key if calls were sent: only what was"
        " answered with 202 is surely kept",
        headers=retry_after(_JOURNAL_RETRY),
    )
