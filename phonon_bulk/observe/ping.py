"""`--ping URL`: tells a service that waits for it that a command began, and how it ended.

The form is that of healthchecks.io and those who do as it does: `URL/start`, then `URL` or
`URL/fail`, with a text that the service shows. It is done in a thread of its own, so that a service
that is slow or away delays no call; what goes wrong is a warning, and nothing else. The URL is a
secret of sorts (who knows it can report in our name): only its host is ever shown.
"""

import http.client
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

import structlog

from phonon_bulk import __version__
from phonon_bulk.config.values import is_loopback
from phonon_bulk.errors import Exit, SettingsError

log = structlog.get_logger("phonon_bulk.ping")

TIMEOUT = 10.0
"""Seconds for one try."""
TRIES = 3
MOST_BYTES = 10_000
"""Of the text."""
LONGEST = TRIES * (TIMEOUT + 1.0)
"""Seconds for which the end of a command waits for its last ping."""
SUCCESS = frozenset({Exit.DONE, Exit.SOME_FAILED})
"""Ends that are no alarm: a list with a bad row in it is not one each night."""
_PLAIN = re.compile(r"[^\s@\x00-\x1f\x7f-\U0010ffff]+")
_PAUSE = 1.0
"""Seconds between tries."""


def read_url(text: str) -> SplitResult:
    """Return the URL to be pinged.

    Raises SettingsError if it is neither https:// nor http:// to this machine itself, which names
    nothing of the URL.
    """
    expected = "--ping: expected https://HOST/…, or http:// to this machine itself"
    try:
        url = urlsplit(text.strip())
        host, _ = url.hostname, url.port
    except ValueError:
        raise SettingsError([expected]) from None
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(host or ""))
    if not host or not is_safe or not _PLAIN.fullmatch(text.strip()):
        raise SettingsError([f"{expected}, without a user and a password in it"])
    return url


class Ping:
    """Pings a URL from a thread of its own, in order."""

    def __init__(
        self,
        url: SplitResult,
        *,
        timeout: float = TIMEOUT,
        longest: float = LONGEST,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ping `url`; `timeout` and `longest` are in seconds, see `TIMEOUT` and `LONGEST`."""
        self._url = url
        self._timeout = timeout
        self._longest = longest
        self._pause = pause
        self._opener = _opener_for(url)
        self._ending = threading.Event()
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ping", daemon=True)

    def begin(self) -> None:
        """Tell that the command began; return at once."""
        self._waiting.put(self._request("/start", None))
        self._thread.start()

    def end(self, exit_code: Exit, text: str) -> None:
        """Tell how the command ended; return when that is told, or could not be.

        A success is exit 0 or 1. A beginning that is not told by then is not tried again.
        """
        self._ending.set()
        body = text.encode()[:MOST_BYTES].decode(errors="ignore").encode()
        self._waiting.put(self._request("" if exit_code in SUCCESS else "/fail", body))
        self._thread.join(self._longest)
        if self._thread.is_alive():
            self._warn(f"no answer within {self._longest:g} s")

    def _request(self, suffix: str, body: bytes | None) -> Request:
        path = self._url.path.rstrip("/") + suffix
        url = self._url._replace(path=path or "/", fragment="").geturl()
        headers = {"User-Agent": f"phonon-bulk/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return Request(url, body, headers)  # noqa: S310 - `read_url` has looked at its scheme

    def _work(self) -> None:
        self._try(self._waiting.get(), is_last=False)
        self._try(self._waiting.get(), is_last=True)

    def _try(self, request: Request, *, is_last: bool) -> None:
        for number in range(1, TRIES + 1):
            problem = self._post(request)
            if problem is None or (self._ending.is_set() and not is_last):
                return
            if number < TRIES:
                self._pause(_PAUSE)
        self._warn(problem)

    def _post(self, request: Request) -> str | None:
        """Return what went wrong, without the URL; None if nothing did."""
        try:
            with self._opener.open(request, timeout=self._timeout):
                return None
        except HTTPError as error:
            error.close()
            return f"it answered HTTP {error.code}"
        except URLError as error:
            return _kind(error.reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _kind(error)

    def _warn(self, problem: str | None) -> None:
        log.warning("ping.failed", host=self._url.hostname, what=problem)


def _kind(error: object) -> str:
    """Return the kind of an error: its text may hold what was asked for."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) else None
    return text or type(error).__name__


class _NoRedirects(HTTPRedirectHandler):
    """Follows none: what is told is for the host that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Say that there is no next request."""


def _opener_for(url: SplitResult) -> OpenerDirector:
    """Return what opens it: certificates are verified, proxies are those of the environment."""
    handlers: list[BaseHandler] = [_NoRedirects()]
    if is_loopback(url.hostname or ""):
        handlers.append(ProxyHandler({}))
    return build_opener(*handlers)
