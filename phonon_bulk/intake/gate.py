"""Who is let in: by the token or, without one, from this machine and not from a web page. Pure.

On loopback without a token, whoever can reach the port is trusted. A web page in a browser on this
machine can reach it too, so such requests are kept out: browsers send Origin along, and a page that
has its own name point to this machine (DNS rebinding) is known by the Host.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from pydantic import SecretStr

from phonon_bulk.config import is_loopback
from phonon_bulk.intake.problems import NO_TOKEN, WEB_PAGE, ProblemError

_SCHEME = "bearer"


class Gate:
    """Lets in whoever has the token; without one, programs on this machine."""

    def __init__(self, token: SecretStr | None) -> None:
        """None: no token is needed."""
        self._expected = None if token is None else _hash(token.get_secret_value())

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ProblemError if the request is not to be let in."""
        if self._expected is None:
            _refuse_web_page(headers)
        else:
            self._refuse_without_token(headers.get("Authorization"))

    def _refuse_without_token(self, authorization: str | None) -> None:
        # Hashes of equal length are compared, so the time tells nothing of the token.
        assert self._expected is not None  # noqa: S101 - see `check`
        scheme, _, presented = (authorization or "").partition(" ")
        same = hmac.compare_digest(_hash(presented.strip()), self._expected)
        if same and scheme.lower() == _SCHEME:
            return
        challenge = 'Bearer realm="phonon-bulk"'
        raise ProblemError(
            NO_TOKEN,
            "send the header Authorization: Bearer TOKEN, with the token that the worker was given"
            " (worker.token_file)",
            headers={
                "WWW-Authenticate": challenge + (', error="invalid_token"' if presented else "")
            },
        )


def _hash(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _refuse_web_page(headers: Mapping[str, str]) -> None:
    if "Origin" in headers:
        raise ProblemError(
            WEB_PAGE,
            "requests with an Origin header come from web pages; to take them all the same, set"
            " worker.token_file",
        )
    if not _is_here(headers.get("Host", "")):
        raise ProblemError(
            WEB_PAGE,
            "the Host header must be this machine's own (127.0.0.1, [::1] or localhost); to use"
            " another name, set worker.token_file",
        )


def _is_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)
