"""What stands in the query and the headers of a request: read and checked. Pure."""

import re
from collections.abc import Mapping, Sequence
from email.message import Message

from phonon_bulk.intake.orders import FLOW_ID
from phonon_bulk.intake.problems import WRONG_TYPE, ProblemError, header, parameter

MAX_WAIT = 60
"""Seconds that a client may wait for its calls to be sent."""

MAX_KEY = 255
"""Characters of an Idempotency-Key."""

IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"

_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_NUMBER = re.compile(r"[0-9.eE+-]{1,32}")
_JSON = "application/json"


def read_query(pairs: Sequence[tuple[str, str]], known: Sequence[str]) -> Mapping[str, str]:
    """Return the query as a mapping. Raises ProblemError if a name is unknown, or comes twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise parameter(name[:64], f"unknown; known here: {', '.join(known) or 'none'}")
        if name in found:
            raise parameter(name, "expected once, found twice")
        found[name] = value
    return found


def read_wait(query: Mapping[str, str]) -> float:
    """Return for how many seconds to wait; 0 if nothing is said. Raises ProblemError."""
    text = query.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text) if _NUMBER.fullmatch(text) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT:
        raise parameter("wait", f"expected a number of seconds from 0 to {MAX_WAIT}")
    return seconds


def read_flow(query: Mapping[str, str]) -> str | None:
    """Return the flow that the query names, if it does. Raises ProblemError."""
    text = query.get("flow-id")
    if text is not None and not FLOW_ID.fullmatch(text):
        raise parameter("flow-id", "expected 8 letters and digits")
    return text


def read_key(values: Sequence[str]) -> str | None:
    """Return the Idempotency-Key among the values of that header. Raises ProblemError."""
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise header(IDEMPOTENCY_KEY, f"expected one, of 1 to {MAX_KEY} visible ASCII characters")
    return values[0]


def refuse_other_media(content_type: str | None, content_encoding: str | None) -> None:
    """Raise ProblemError if the body is anything but plain JSON in UTF-8.

    It is also what keeps a web page's form out: a form can't send this type.
    """
    if content_encoding is not None and content_encoding.strip().lower() != "identity":
        raise _wrong_type("the body must not be compressed: leave Content-Encoding out")
    if content_type == _JSON:
        return
    message = Message()
    message["Content-Type"] = content_type or "text/plain"
    charset = message.get_param("charset", "utf-8")
    if message.get_content_type() != _JSON:
        raise _wrong_type(f"expected Content-Type: {_JSON}")
    if str(charset).lower() not in {"utf-8", "utf8"}:
        raise _wrong_type("expected UTF-8, which needs no charset in the Content-Type")


def _wrong_type(detail: str) -> ProblemError:
    return ProblemError(WRONG_TYPE, detail, headers={"Accept-Post": _JSON})
