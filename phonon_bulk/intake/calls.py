"""What is done under /v1/calls: take calls, and tell what became of them."""

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from aiohttp import web

from phonon_bulk.batch import MAX_BODY_BYTES
from phonon_bulk.errors import JournalError
from phonon_bulk.intake import problems
from phonon_bulk.intake.answers import Reply, path_of, ticket_body
from phonon_bulk.intake.door import (
    BlockedError,
    Door,
    KeyReusedError,
    Order,
    OverloadedError,
    Ticket,
)
from phonon_bulk.intake.orders import Draft, read_draft
from phonon_bulk.intake.parameters import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    read_flow,
    read_key,
    read_query,
    read_wait,
    refuse_other_media,
)
from phonon_bulk.intake.problems import ProblemError, retry_after


class Calls:
    """The paths under /v1/calls."""

    def __init__(
        self,
        door: Door,
        flow_id: Callable[[], str | None],
        clock: Callable[[], float],
        ending: "asyncio.Future[None]",
        body_seconds: float,
    ) -> None:
        """Take calls through `door`, and let nobody wait any more once `ending` is done.

        A body has to be there within `body_seconds`.
        """
        self._door = door
        self._flow_id = flow_id
        self._clock = clock
        self._ending = ending
        self._body_seconds = body_seconds

    async def take(self, request: web.BaseRequest) -> Reply:
        """POST /v1/calls."""
        headers = request.headers
        refuse_other_media(headers.get("Content-Type"), headers.get("Content-Encoding"))
        query = read_query(list(request.query.items()), ("wait", "flow-id"))
        wait, flow_id = read_wait(query), read_flow(query) or self._flow_id()
        key = read_key(headers.getall(IDEMPOTENCY_KEY, []))
        body = await self._body(request)
        draft = read_draft(body, flow_id=flow_id, key=key, now=self._clock())
        ticket, is_new = await self._admit(draft)
        if wait and not ticket.settled:
            ticket = await self._waited_for(ticket, wait)
        return _told(ticket, is_new=is_new)

    async def show(self, request: web.BaseRequest) -> Reply:
        """GET /v1/calls/{id}."""
        wait = read_wait(read_query(list(request.query.items()), ("wait",)))
        number = request.path.rpartition("/")[2]
        ticket = await (self._wait(number, wait) if wait else self._door.look(number))
        if ticket is None:
            raise ProblemError(problems.NOT_FOUND, "no request has this id")
        return Reply(HTTPStatus.OK, ticket_body(ticket))

    # ---- reading

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        await _go_on(request)
        try:
            async with asyncio.timeout(self._body_seconds):
                return await _read_all(request)
        except TimeoutError:
            detail = f"the body did not come within {self._body_seconds:g} seconds"
            raise ProblemError(problems.TOO_SLOW, detail) from None
        except (ConnectionError, web.RequestPayloadError):
            raise ProblemError(problems.BAD_HTTP, "the body broke off") from None

    # ---- keeping

    async def _admit(self, draft: Draft) -> tuple[Ticket, bool]:
        """Have an order kept, or find it if it was kept before."""
        order = draft.order
        try:
            draft.refuse_late()
            return await _to_its_end(self._door.admit(order))
        except KeyReusedError:
            raise _key_reused() from None
        except (ProblemError, OverloadedError, BlockedError) as refused:
            known = await self._known(order)
            if known is None:
                raise _refusal(refused) from None
            return known, False

    async def _known(self, order: Order) -> Ticket | None:
        """Return the ticket of an order that was kept before.

        A client that repeats what was taken must not be told that it was not, just because it would
        not be taken now.
        """
        if order.key is None:
            return None
        try:
            return await self._door.known(order)
        except KeyReusedError:
            raise _key_reused() from None

    # ---- waiting

    async def _waited_for(self, ticket: Ticket, seconds: float) -> Ticket:
        """Return what became of an order that was kept, whatever the journal does from now on."""
        try:
            return await self._wait(ticket.id, seconds) or ticket
        except JournalError:
            return ticket

    async def _wait(self, number: str, seconds: float) -> Ticket | None:
        """Wait for an order, but no longer than there is anybody to be answered by."""
        waiting = asyncio.create_task(self._door.wait(number, seconds))
        try:
            either: set[asyncio.Future[Any]] = {waiting, self._ending}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
        finally:
            waiting.cancel()
        return await self._door.look(number)


async def _go_on(request: web.BaseRequest) -> None:
    """Tell a client to send the body, if it asked before."""
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise ProblemError(problems.WRONG_EXPECT, "expected 100-continue, or no such header")
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _read_all(request: web.BaseRequest) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


async def _to_its_end(work: Coroutine[Any, Any, tuple[Ticket, bool]]) -> tuple[Ticket, bool]:
    """Return what `work` returns, and let it come to its end also if the client has gone by then.

    An order is kept and sent, or neither.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _told(ticket: Ticket, *, is_new: bool) -> Reply:
    headers = {"Location": path_of(ticket)}
    if not is_new:
        headers[IDEMPOTENCY_REPLAYED] = "true"
    status = HTTPStatus.OK if ticket.settled else HTTPStatus.ACCEPTED
    return Reply(status, ticket_body(ticket), headers)


def _refusal(refused: ProblemError | OverloadedError | BlockedError) -> ProblemError:
    match refused:
        case OverloadedError():
            detail = "too many calls wait to be sent already; nothing was kept"
            return ProblemError(
                problems.OVERLOADED, detail, headers=retry_after(refused.retry_after)
            )
        case BlockedError():
            return ProblemError(problems.BLOCKED, f"{refused}; nothing was kept")
        case ProblemError():
            return refused


def _key_reused() -> ProblemError:
    return ProblemError(
        problems.KEY_REUSED,
        "it came before with other calls or another flow; use a new key for each new request."
        " Nothing was kept",
        [problems.At(IDEMPOTENCY_KEY, "expected a key that was not used before", "header")],
    )


def _too_large() -> ProblemError:
    detail = f"a body has at most {MAX_BODY_BYTES:,} bytes; send the calls in several requests"
    return ProblemError(problems.TOO_LARGE, detail)
