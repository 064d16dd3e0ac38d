"""Posts one body and says what came back. The only module that knows aiohttp's client.

Every failure of the network becomes an `Answer` here: NOT_SENT where no byte of the request can
have reached the provider, LOST where it may have.
"""

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

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


class Endpoint:
    """One URL, one pool of connections to it. Use it as an async context manager."""

    def __init__(
        self, name: str, settings: EndpointSettings, clock: Callable[[], float] = time.time
    ) -> None:
        """Post to `settings.url` in the dialect of `name` ("bulk" or "realtime")."""
        self.name = name
        self._url = settings.url
        self._host = urlsplit(settings.url).hostname or settings.url
        self._connections = settings.workers
        self._timeout = aiohttp.ClientTimeout(
            total=settings.timeout, sock_connect=settings.connect_timeout
        )
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=self._timeout,
            headers=_HEADERS,
            # A company's proxy is honoured; a simulator on this machine is never behind one.
            trust_env=not is_loopback(self._host),
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

    async def post(self, body: bytes) -> Answer:
        """Post `body` once and return what it led to; never raises for a failure of the network.

        aiohttp repeats no POST by itself, and a redirect is not followed: the body holds the
        security id and goes where the settings say, or nowhere.
        """
        if self._session is None:
            raise RuntimeError("the endpoint is not open")
        try:
            return await self._exchange(self._session, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return self._failure(error)

    async def _exchange(self, session: aiohttp.ClientSession, body: bytes) -> Answer:
        async with session.post(self._url, data=body, allow_redirects=False) as response:
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

    def _failure(self, error: Exception) -> Answer:
        """Say what a failure means. The texts are ours: foreign ones may hold what we sent."""
        why = self._why_not_sent(error)
        if why is not None:
            return Answer(Verdict.NOT_SENT, f"{self._host} can't be reached: {why}")
        return Answer(Verdict.LOST, self._why_lost(error))

    def _why_not_sent(self, error: Exception) -> str | None:
        match error:
            case aiohttp.ClientConnectorDNSError():
                return "the name can't be resolved (DNS)"
            case aiohttp.ClientConnectorCertificateError():
                return f"its TLS certificate is not valid ({error.certificate_error})"
            case aiohttp.ClientSSLError():
                return "TLS could not be agreed on"
            case aiohttp.ClientHttpProxyError():
                return f"the proxy answers HTTP {error.status}"
            case aiohttp.ClientConnectorError():
                return _os_text(error.os_error)
            case aiohttp.ConnectionTimeoutError():
                return f"no connection in {self._timeout.sock_connect:g} seconds"
            case aiohttp.InvalidURL():
                return "the URL is not valid"
            case _:
                return None

    def _why_lost(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {self._timeout.total:g} seconds"
            case aiohttp.ServerDisconnectedError():
                return "the connection was closed before an answer came"
            case aiohttp.ClientPayloadError():
                return "the answer was cut off"
            case OSError():
                return f"the connection broke ({_os_text(error)})"
            case _:
                return f"the answer is no HTTP ({type(error).__name__})"


def _os_text(error: OSError) -> str:
    """Return the system's words for an error; asyncio puts its own before the number's."""
    if error.errno is None:
        return (error.strerror or type(error).__name__).lower()
    return os.strerror(error.errno).lower()
