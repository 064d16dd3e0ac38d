"""The OpenAPI 3.1 description of the intake, as it is served. A test holds the server to it."""

from typing import Any

import orjson

from phonon_bulk import __version__
from phonon_bulk.batch import MAX_BODY_BYTES, MAX_CALLS
from phonon_bulk.config import KEY_PREFIX
from phonon_bulk.intake import problems
from phonon_bulk.intake.answers import ENDS, JSON, MOVING, SETTLED
from phonon_bulk.intake.orders import (
    API_VERSION,
    FLOW_ID,
    MAX_IDENTIFIER,
    MAX_KEY_NAME,
    MAX_NUMBERS,
    MAX_PROBLEMS,
    NUMBER,
)
from phonon_bulk.intake.parameters import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    MAX_KEY,
    MAX_WAIT,
)
from phonon_bulk.intake.problems import Kind

_Json = dict[str, Any]

_FROM_ALL = (
    problems.BAD_HTTP,
    problems.BAD_PARAMETER,
    problems.NO_TOKEN,
    problems.WEB_PAGE,
    problems.INTAKE_OFF,
    problems.TOO_SLOW,
    problems.LONG_HEADERS,
    problems.FAULT,
    problems.FULL,
)
OF_POST: tuple[Kind, ...] = (
    *_FROM_ALL,
    problems.NOT_JSON,
    problems.NO_FLOW,
    problems.TOO_LARGE,
    problems.TOO_MANY_CALLS,
    problems.WRONG_TYPE,
    problems.WRONG_EXPECT,
    problems.BAD_CALLS,
    problems.KEY_REUSED,
    problems.OVERLOADED,
    problems.BLOCKED,
    problems.JOURNAL,
)
"""The problems that POST /v1/calls may answer with."""

OF_GET: tuple[Kind, ...] = (*_FROM_ALL, problems.NOT_FOUND, problems.JOURNAL)
"""The problems that GET /v1/calls/{id} may answer with."""

_HEADERS_OF: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
}


def _ref(kind: str, name: str) -> _Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _text(description: str, **more: Any) -> _Json:
    return {"type": "string", "description": description, **more}


def _object(required: list[str], properties: _Json, description: str = "") -> _Json:
    return {
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


_CALL = _object(
    ["client-identifier", "contact-numbers"],
    {
        "client-identifier": _text(
            "By which you know the call; it comes back in the answer. Not blank, without NUL.",
            minLength=1,
            maxLength=MAX_IDENTIFIER,
            pattern=r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085\ufeff][^\u0000]*$",
        ),
        "start-time": _text(
            "When the call is to be placed; left out: now. The date (in India) may not have passed;"
            " a past time of today means at once. Without an offset it is the time in India.",
            format="date-time",
        ),
        "contact-numbers": {
            "type": "array",
            "description": "Alternates of one customer, tried in turn until one connects.",
            "minItems": 1,
            "maxItems": MAX_NUMBERS,
            "items": _text("Digits with country code.", pattern=_whole(NUMBER.pattern)),
        },
        "keys": {
            "type": "array",
            "description": "Flow variables, each at most once.",
            "items": _ref("schemas", "Key"),
        },
    },
    "One customer to be reached.",
)

_KEY = _object(
    ["name", "value"],
    {
        "name": _text(
            "The name of the flow variable.",
            maxLength=MAX_KEY_NAME,
            pattern=_whole(KEY_PREFIX.replace("$", r"\$").replace(".", r"\.") + r"[^\u0000]+"),
        ),
        "value": _text("Its value, without NUL.", pattern=r"^[^\u0000]*$"),
    },
)

_CALL_LIST: _Json = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_CALLS,
    "items": _ref("schemas", "Call"),
}

_REQUEST = _object(
    ["calls"],
    {
        "api-version": {"const": API_VERSION},
        "flow-id": _text("The flow that is started.", pattern=_whole(FLOW_ID.pattern)),
        "calls": _ref("schemas", "CallList"),
    },
    "The provider's own request, without a security id, which must not be sent.",
)

_NULL_OR_TEXT = {"type": ["string", "null"]}

_CALL_STATE = _object(
    ["client-identifier", "state", "reason", "request-id", "phonon-uuid"],
    {
        "client-identifier": {"type": "string"},
        "state": {"enum": [*MOVING, *ENDS]},
        "reason": {**_NULL_OR_TEXT, "description": "Why, if it was not accepted."},
        "request-id": {**_NULL_OR_TEXT, "description": "The provider's, once accepted."},
        "phonon-uuid": {**_NULL_OR_TEXT, "description": "The provider's, of this call."},
    },
    "What has become of one call so far.",
)

_TICKET = _object(
    ["id", "state", "came-at", "run", "calls"],
    {
        "id": _text("By which the request is asked for.", pattern="^[0-9a-f]{32}$"),
        "state": {
            "enum": [*MOVING, SETTLED],
            "description": "settled: nothing more happens to any of its calls by itself.",
        },
        "came-at": _text("When it was kept.", format="date-time"),
        "run": {"type": "integer", "description": "The run that it belongs to."},
        "calls": {
            "type": "array",
            "description": "In the order in which they came; empty once contact data was deleted.",
            "items": _ref("schemas", "CallState"),
        },
    },
    "What has become of a request so far.",
)

_ERROR = _object(
    ["detail"],
    {
        "pointer": _text("A JSON pointer into the body; empty: the body as a whole."),
        "parameter": _text("The name of a query parameter."),
        "header": _text("The name of a header."),
        "detail": _text("What was expected. What was found is not repeated."),
    },
)

_PROBLEM = _object(
    ["type", "title", "status", "detail", "errors"],
    {
        "type": {"enum": [kind.type for kind in problems.KINDS]},
        "title": {"type": "string"},
        "status": {"enum": sorted({int(kind.status) for kind in problems.KINDS})},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "maxItems": MAX_PROBLEMS,
            "items": _ref("schemas", "Error"),
        },
    },
    "Problem details (RFC 9457).",
)

_WAIT: _Json = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait until all calls have come to an end.",
    "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT, "default": 0},
}
_FLOW: _Json = {
    "name": "flow-id",
    "in": "query",
    "description": "The flow, where the body names none; left out: intake.flow_id of the settings.",
    "schema": {"type": "string", "pattern": _whole(FLOW_ID.pattern)},
}
_IDEMPOTENCY: _Json = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "A request with a key that was used before places nothing, and is answered with"
    " what became of the first.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY,
        "pattern": r"^[\x21-\x7e]+$",
    },
}
_ID: _Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id that was answered with.",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}

_HEADERS: _Json = {
    "Location": {"description": "Where it is asked for.", "schema": {"type": "string"}},
    IDEMPOTENCY_REPLAYED: {
        "description": "Its key came before: nothing new was kept.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Seconds after which it is worth to try again.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}},
}


def _content(media: str, schema: str) -> _Json:
    return {media: {"schema": _ref("schemas", schema)}}


def _with_headers(*names: str) -> _Json:
    return {"headers": {name: _ref("headers", name) for name in names}}


def _taken(description: str) -> _Json:
    link = {"operationId": "look", "parameters": {"id": "$response.body#/id"}}
    return {
        "description": description,
        **_with_headers("Location", IDEMPOTENCY_REPLAYED),
        "content": _content(JSON, "Ticket"),
        "links": {"look": link},
    }


def _problem_responses(kinds: tuple[Kind, ...]) -> _Json:
    """Return the responses for the statuses of `kinds`, each with what may be the matter."""
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(int(kind.status), []).append(kind)
    return {
        str(status): {
            "description": "; ".join(f"{kind.name}: {kind.title}" for kind in found) + ".",
            **_with_headers(*_HEADERS_OF.get(status, ())),
            "content": _content(problems.MEDIA_TYPE, "Problem"),
        }
        for status, found in sorted(by_status.items())
    }


_POST: _Json = {
    "operationId": "take",
    "summary": "Take calls, and have them sent at once",
    "description": "The calls are durable in the journal before this is answered.",
    "parameters": [_WAIT, _FLOW, _IDEMPOTENCY],
    "requestBody": {
        "required": True,
        "description": f"At most {MAX_BODY_BYTES} bytes of JSON.",
        "content": _content(JSON, "Body"),
    },
    "responses": {
        "200": _taken("Kept, and all calls have come to an end."),
        "202": _taken("Kept, and some calls are still to be sent."),
        **_problem_responses(OF_POST),
    },
}

_GET: _Json = {
    "operationId": "look",
    "summary": "What became of the calls of a request",
    "parameters": [_ID, _WAIT],
    "responses": {
        "200": {
            "description": "What became of them so far.",
            "content": _content(JSON, "Ticket"),
        },
        **_problem_responses(OF_GET),
    },
}

_DESCRIBE: _Json = {
    "operationId": "describe",
    "summary": "This description",
    "responses": {
        "200": {
            "description": "OpenAPI 3.1.",
            "content": {JSON: {"schema": {"type": "object"}}},
        },
        **_problem_responses(_FROM_ALL),
    },
}

DOCUMENT: _Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "phonon-bulk: the intake",
        "version": __version__,
        "description": "Single calls that must go out now.",
    },
    "servers": [{"url": "/"}],
    # Without worker.token_file, programs on the same machine need none.
    "security": [{"token": []}, {}],
    "paths": {
        "/v1/calls": {"post": _POST},
        "/v1/calls/{id}": {"get": _GET},
        "/v1/openapi.json": {"get": _DESCRIBE},
    },
    "components": {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "headers": _HEADERS,
        "schemas": {
            "Body": {"oneOf": [_ref("schemas", name) for name in ("Call", "CallList", "Request")]},
            "Call": _CALL,
            "CallList": _CALL_LIST,
            "Key": _KEY,
            "Request": _REQUEST,
            "CallState": _CALL_STATE,
            "Ticket": _TICKET,
            "Error": _ERROR,
            "Problem": _PROBLEM,
        },
    },
}

DESCRIPTION = orjson.dumps(DOCUMENT)
"""It as JSON."""
