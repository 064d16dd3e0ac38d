"""What is answered to whoever watches."""

from typing import Any

import orjson
import pytest

from phonon_bulk.observe import pages
from phonon_bulk.observe.look import Look
from phonon_bulk.observe.metrics import Metrics
from phonon_bulk.observe.standing import Standing

WELL = Standing(since=0.0)
SECRET = "9190000 /var/lib/phonon-bulk"


async def test_metrics() -> None:
    """The metrics are answered as Prometheus reads them."""
    status, content_type, body = await pages.metrics(Metrics(lambda: WELL, Look))
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"phonon_bulk_build_info" in body


async def test_healthz() -> None:
    """A process whose tasks live is well."""
    assert await pages.healthz([]) == (200, "text/plain; charset=utf-8", b"ok\n")


async def test_healthz_with_a_task_that_ended() -> None:
    """Tasks that ended are named."""
    status, _, body = await pages.healthz(["looking", "watching folders"])
    assert status == 503
    assert b"ended: looking, watching folders" in body


@pytest.mark.parametrize(
    ("standing", "reasons"),
    [
        (WELL, []),
        (Standing(0.0, journal_problem=SECRET), [pages.JOURNAL_NOT_WRITABLE]),
        (Standing(0.0, blocked=(SECRET, SECRET), barred=True), [pages.BLOCKED]),
        (Standing(0.0, blocked=(SECRET, SECRET)), []),
        (Standing(0.0, resting=(SECRET,)), []),
        (Standing(0.0, draining=True), [pages.DRAINING]),
        (
            Standing(0.0, journal_problem=SECRET, blocked=(SECRET,), barred=True, draining=True),
            [pages.JOURNAL_NOT_WRITABLE, pages.BLOCKED, pages.DRAINING],
        ),
    ],
)
async def test_readyz(standing: Standing, reasons: list[str]) -> None:
    """It is ready or says why not, in words that are open to all."""
    status, content_type, body = await pages.readyz(standing)
    answer: dict[str, Any] = orjson.loads(body)
    assert status == (503 if reasons else 200)
    assert content_type == "application/json"
    assert answer["ready"] is (not reasons)
    assert [reason["reason"] for reason in answer["reasons"]] == reasons
    assert all(reason["what_to_do"] for reason in answer["reasons"])
    assert SECRET.encode() not in body
