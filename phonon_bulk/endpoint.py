"""Posts one body and says what came back. The only module that knows aiohttp's client.

Every failure of the network becomes an `Answer` here: NOT_SENT where no byte of the request can
have reached the provider, LOST where it may have. What decides is not the kind of the error but
whether there was a connection: aiohttp says when a request gets one, and whatever happens before
that (DNS, TCP, TLS, a proxy's CONNECT, time-outs of these) can't have sent a byte.
"""

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from phonon_bulk import __version__
from phonon_bulk.config import EndpointSettings, is_loopback
from phonon_bulk.response import Answer, Verdict, read

MAX_ANSWER_BYTES = 4_000_000
"""More than this of an answer is not read; 500 calls' details are under 100 KB."""

_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"phonon-bulk/{__version__}",
}


class _NotHeld(Exception):  # noqa: N818 - a turn of events, raised and caught in this module
    """The request is not to be sent any more, and not a byte of it was."""


class _Progress:
    """How far one request got; aiohttp's trace marks it."""

    __slots__ = ("_held", "connected")

    def __init__(self, held: Callable[[], Awaitable[bool]]) -> None:
        self._held = held
        self.connected = False

    async def mark_connected(self) -> None:
        """Take note that there is a connection: from here on bytes may leave."""
        if not await self._held():
            raise _NotHeld
        self.connected = True


async def _always() -> bool:
    return True


class Endpoint:
    """One URL, one pool of connections to it. Use it as an async context manager."""

    def __init__(
        self, name: str, settings: EndpointSettings, clock: Callable[[], float] = time.time
    ) -> None:
        """Post to `settings.url` in the dialect of `name` ("bulk" or "realtime").

        A proxy named by the environment (HTTPS_PROXY, NO_PROXY) is used, but never for this
        machine itself.
        """
        self.name = name
        self._url = settings.url
        self._host = urlsplit(settings.url).hostname or settings.url
        self._proxy = proxy_for(settings.url)
        self._connections = settings.most_workers
        self._timeout = aiohttp.ClientTimeout(
            total=settings.timeout, sock_connect=settings.connect_timeout
        )
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_mark_connected)
        trace.on_connection_reuseconn.append(_mark_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=self._timeout,
            headers=_HEADERS,
            trace_configs=[trace],
            # The environment was looked at once, above: aiohttp would do so for every request, and
            # would send what it finds in ~/.netrc along.
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes, held: Callable[[], Awaitable[bool]] = _always) -> Answer:
        """Post `body` once and return what it led to; never raises for a failure of the network.

        `held` is asked when there is a connection, before the first byte leaves: False holds the
        request back, because this process may no longer send it. What it takes counts as part of
        the time for connecting and answering.

        aiohttp repeats no POST by itself, and a redirect is not followed: the body holds the
        security id and goes where the settings say, or nowhere.
        """
        if self._session is None:
            raise RuntimeError("the endpoint is not open")
        progress = _Progress(held)
        try:
            return await self._exchange(self._session, body, progress)
        except _NotHeld:
            return Answer(Verdict.HELD_BACK, "it could no longer be sent when its turn came")
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            if progress.connected:
                return Answer(Verdict.LOST, self._why_lost(error))
            return Answer(Verdict.NOT_SENT, self._why_not_sent(error))

    async def _exchange(
        self, session: aiohttp.ClientSession, body: bytes, progress: _Progress
    ) -> Answer:
        async with session.post(
            self._url,
            data=body,
            allow_redirects=False,
            proxy=self._proxy,
            trace_request_ctx=progress,
        ) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                received += chunk
                if len(received) > MAX_ANSWER_BYTES:
                    return Answer(
                        Verdict.UNCLEAR,
                        f"HTTP {response.status} with an answer of over {MAX_ANSWER_BYTES} bytes",
                        http_status=response.status,
                    )
            return read(
                self.name,
                response.status,
                bytes(received),
                now=self._clock(),
                headers=response.headers,
            )

    # ---- failures in our own words: foreign ones may hold what was sent

    def _why_not_sent(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            where = f"the proxy {without_login(self._proxy or '')}"
        else:
            where = self._host
        return f"{where} can't be reached: {self._why_no_connection(error)}"

    def _why_no_connection(self, error: Exception) -> str:
        match error:
            case aiohttp.ClientConnectorDNSError():
                return "the name can't be resolved (DNS)"
            case aiohttp.ClientConnectorCertificateError():
                why = getattr(error.certificate_error, "verify_message", "")
                return f"its TLS certificate is not valid ({why or 'it can not be verified'})"
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return "TLS could not be agreed on"
            case aiohttp.ClientHttpProxyError():
                return f"it answers HTTP {error.status}"
            case TimeoutError():
                return "no connection in time"
            case aiohttp.ClientConnectorError():
                return _os_text(error.os_error)
            case OSError():
                return _os_text(error)
            case UnicodeError():
                return "it is no host name"
            case _:
                return f"no connection ({type(error).__name__})"

    def _why_lost(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {self._timeout.total:g} seconds"
            case aiohttp.ServerDisconnectedError():
                return "the connection was closed before an answer came"
            case aiohttp.ClientPayloadError():
                return "the answer was cut off"
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return "the connection broke (TLS)"
            case OSError(errno=None):  # aiohttp's own words, and the url in them
                return "the connection broke while the request was on its way"
            case OSError():
                return f"the connection broke ({_os_text(error)})"
            case _:
                return f"the answer is no HTTP ({type(error).__name__})"


async def _mark_connected(_session: Any, context: Any, _parameters: Any) -> None:
    await context.trace_request_ctx.mark_connected()


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, or None."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy or None


def without_login(proxy: str) -> str:
    """Return a proxy's host and port, without the login that its URL may hold."""
    parts = urlsplit(proxy)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _os_text(error: OSError) -> str:
    """Return the system's words for an error; asyncio puts its own before the number's."""
    if error.errno is None:
        return (error.strerror or type(error).__name__).lower()
    return os.strerror(error.errno).lower()
