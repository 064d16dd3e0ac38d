"""What a client did wrong, or what can't be done now: problem details (RFC 9457).

A problem names the place (a JSON pointer, a query parameter, a header) and what was expected there.
What was found is never repeated: it may be contact data or a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

MEDIA_TYPE = "application/problem+json"

TYPE_PREFIX = "urn:phonon-bulk:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem. Its name is for programs, its title for people."""

    name: str
    status: HTTPStatus
    title: str

    @property
    def type(self) -> str:
        """The URI by which a program knows it."""
        return TYPE_PREFIX + self.name


BAD_HTTP = Kind("bad-http", HTTPStatus.BAD_REQUEST, "This is not HTTP as it should be")
NOT_JSON = Kind("not-json", HTTPStatus.BAD_REQUEST, "The body is not JSON")
BAD_PARAMETER = Kind(
    "bad-parameter", HTTPStatus.BAD_REQUEST, "A query parameter or a header can't be used"
)
NO_FLOW = Kind("no-flow", HTTPStatus.BAD_REQUEST, "Nothing says to which flow the calls go")
NO_TOKEN = Kind("no-token", HTTPStatus.UNAUTHORIZED, "The bearer token is missing or wrong")
WEB_PAGE = Kind("web-page", HTTPStatus.FORBIDDEN, "Without a token, web pages are kept out")
NOT_FOUND = Kind("not-found", HTTPStatus.NOT_FOUND, "There is nothing under this path")
INTAKE_OFF = Kind("intake-off", HTTPStatus.NOT_FOUND, "The intake is turned off")
WRONG_METHOD = Kind("wrong-method", HTTPStatus.METHOD_NOT_ALLOWED, "This is not done so here")
TOO_SLOW = Kind("too-slow", HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly")
TOO_LARGE = Kind("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large")
TOO_MANY_CALLS = Kind(
    "too-many-calls", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "There are too many calls"
)
WRONG_TYPE = Kind(
    "wrong-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not sent as JSON"
)
WRONG_EXPECT = Kind("wrong-expect", HTTPStatus.EXPECTATION_FAILED, "The Expect header can't be met")
BAD_CALLS = Kind(
    "bad-calls", HTTPStatus.UNPROCESSABLE_ENTITY, "The calls can't be taken as they are"
)
KEY_REUSED = Kind(
    "key-reused", HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key was used before"
)
OVERLOADED = Kind("overloaded", HTTPStatus.TOO_MANY_REQUESTS, "Too many calls wait already")
LONG_HEADERS = Kind(
    "long-headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large"
)
FAULT = Kind("fault", HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the program itself")
BLOCKED = Kind("blocked", HTTPStatus.SERVICE_UNAVAILABLE, "Nothing can be sent to the flow now")
JOURNAL = Kind("journal", HTTPStatus.SERVICE_UNAVAILABLE, "The journal can't be used now")
FULL = Kind("full", HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open")

KINDS: tuple[Kind, ...] = (
    BAD_HTTP,
    NOT_JSON,
    BAD_PARAMETER,
    NO_FLOW,
    NO_TOKEN,
    WEB_PAGE,
    NOT_FOUND,
    INTAKE_OFF,
    WRONG_METHOD,
    TOO_SLOW,
    TOO_LARGE,
    TOO_MANY_CALLS,
    WRONG_TYPE,
    WRONG_EXPECT,
    BAD_CALLS,
    KEY_REUSED,
    OVERLOADED,
    LONG_HEADERS,
    FAULT,
    BLOCKED,
    JOURNAL,
    FULL,
)
"""Every problem there is, by status."""


@dataclass(frozen=True, slots=True)
class At:
    """One place where something is wrong, and what was expected there."""

    where: str
    """A JSON pointer into the body (empty: the body as a whole), or a name."""
    detail: str
    kind: str = "pointer"
    """"pointer", "parameter" or "header"."""


@dataclass(eq=False)
class ProblemError(Exception):
    """A request is answered with a problem."""

    kind: Kind
    detail: str
    at: Sequence[At] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.kind.name

    def body(self) -> bytes:
        """Return it as a client reads it: `application/problem+json`."""
        return orjson.dumps(
            {
                "type": self.kind.type,
                "title": self.kind.title,
                "status": int(self.kind.status),
                "detail": self.detail,
                "errors": [{one.kind: one.where, "detail": one.detail} for one in self.at],
            }
        )


def parameter(name: str, detail: str) -> ProblemError:
    """Return the problem of a query parameter."""
    return _named(name, detail, "parameter")


def header(name: str, detail: str) -> ProblemError:
    """Return the problem of a header."""
    return _named(name, detail, "header")


def _named(name: str, detail: str, kind: str) -> ProblemError:
    return ProblemError(BAD_PARAMETER, f"{name}: {detail}", [At(name, detail, kind)])


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header that says when to try again: whole seconds, at least one."""
    return {"Retry-After": str(max(1, -int(-seconds // 1)))}
