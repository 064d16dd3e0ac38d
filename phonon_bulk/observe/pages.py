"""What the process answers to whoever watches it: /metrics, /healthz, /readyz.

Plain functions; a server puts them under their paths. /healthz and /readyz are open, also to the
network, so they say what is the matter in fixed words only: no path, no name, no text of an error.
The log and `phonon-bulk status` say the rest. /metrics needs the token where there is one.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

import orjson

from phonon_bulk.observe.metrics import Metrics
from phonon_bulk.observe.standing import Standing

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

JOURNAL_NOT_WRITABLE, BLOCKED, DRAINING = "journal_not_writable", "blocked", "draining"


class Answer(NamedTuple):
    """One answer: what a server sends."""

    status: int
    content_type: str
    body: bytes


async def metrics(metrics: Metrics) -> Answer:
    """Return all metrics. It is 200 also if the journal can't be read."""
    return Answer(HTTPStatus.OK, _METRICS, await metrics.text())


async def healthz(ended: Sequence[str]) -> Answer:
    """Say whether the process is well: its tasks live, and as this is answered its loop turns.

    `ended` are the names of tasks that should go on and do not. A journal that is away, or a
    provider that refuses everything, is no reason to start the process anew; see `readyz`.
    """
    if not ended:
        return Answer(HTTPStatus.OK, _TEXT, b"ok\n")
    text = f"ended: {', '.join(ended)}\nThe process should end by itself; if not, restart it.\n"
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, text.encode())


async def readyz(standing: Standing) -> Answer:
    """Say whether calls can be taken and sent; 503 with the reasons if not."""
    reasons = [{"reason": reason, "what_to_do": what} for reason, what in _reasons(standing)]
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return Answer(status, _JSON, orjson.dumps({"ready": not reasons, "reasons": reasons}) + b"\n")


def _reasons(standing: Standing) -> Iterator[tuple[str, str]]:
    if standing.journal_problem is not None:
        yield JOURNAL_NOT_WRITABLE, "see the log of the worker, and whether the disk is full"
    if standing.barred:
        yield BLOCKED, "the provider takes nothing; `phonon-bulk runs` lists what is stopped"
    if standing.draining:
        yield DRAINING, "it was told to stop, and ends what is under way"
