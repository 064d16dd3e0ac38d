"""What the journal says for the metrics, read from a real file beside one who writes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_batch, make_run

from phonon_bulk.batch import State
from phonon_bulk.errors import JournalUnusable
from phonon_bulk.journal import Moment, Settlement
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.observe.look import Look, look_into
from phonon_bulk.observe.metrics import Metrics
from phonon_bulk.observe.standing import Standing
from phonon_bulk.schedule import Ask, Limits
from phonon_bulk.throttle import BackOff, No

NOW = 1_795_400_000.0
BULK = ("default", "bulk")
HEAD = b"h" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """Return an empty journal."""
    journal = SqliteJournal(path)
    yield journal
    await journal.close()


async def lease(journal: SqliteJournal, *, endpoint: str = "bulk") -> None:
    """Ask for a slot under a limit of 600 requests a minute."""
    ask = Ask("default", endpoint, journal.owner, 1, 1.0, Limits(600), 0.5, 0.0, (1,))
    await journal.lease(ask, journal.now)


async def test_an_empty_journal(journal: SqliteJournal, path: Path) -> None:
    """Of a journal that was never used there is nothing to say."""
    del journal
    assert look_into(path) == Look([])


async def test_a_queue(journal: SqliteJournal, path: Path) -> None:
    """Batches in all states, and the limit under which they go."""
    opened = await journal.open_run(make_run(), NOW)
    batches = [make_batch(range(10 * n + 1, 10 * n + 11)) for n in range(4)]
    await journal.append(opened.run, batches, [], after_row=0, last_row=40)
    await lease(journal)
    now = journal.now()
    first, second = await journal.claim(
        opened.run, owner=journal.owner, limit=2, now=now, lease=60.0
    )
    await journal.send(first, HEAD, journal.owner, now, 60.0)
    doubt = Settlement(state=State.IN_DOUBT, verdict="lost")
    await journal.settle(first.batch, doubt, journal.owner, NOW)

    look = look_into(path)

    (backlog,) = look.backlogs
    assert backlog.calls == {State.READY: 20, State.CLAIMED: 10, State.IN_DOUBT: 10}
    assert backlog.oldest_at == NOW
    assert look.rates[BULK].present == Limits(requests=600)
    assert look.tokens[BULK] <= 2
    assert second.calls == 10


async def test_the_age_of_what_is_about_to_be_sent(journal: SqliteJournal, path: Path) -> None:
    """What a process holds waits still: an endpoint that fails for hours must not look well."""
    opened = await journal.open_run(make_run(), NOW)
    later = await journal.open_run(make_run(endpoint="realtime"), NOW + 60)
    for number in (opened.run, later.run):
        await journal.append(number, [make_batch([1])], [], after_row=0, last_row=1)
        await journal.claim(number, owner=journal.owner, limit=2, now=journal.now(), lease=60.0)
    bulk, realtime = look_into(path).backlogs
    assert bulk.calls == realtime.calls == {State.CLAIMED: 1}
    assert (bulk.oldest_at, realtime.oldest_at) == (NOW, NOW + 60)


async def test_an_endpoint_where_nothing_waits(journal: SqliteJournal, path: Path) -> None:
    """An endpoint that was used is shown for good, or a graph of it would end."""
    await lease(journal, endpoint="realtime")
    (backlog,) = look_into(path).backlogs
    assert (backlog.account, backlog.endpoint) == ("default", "realtime")
    assert (backlog.calls, backlog.oldest_at) == ({}, None)


async def test_an_endpoint_that_rests(journal: SqliteJournal, path: Path) -> None:
    """While an endpoint is left alone there is no token."""
    await lease(journal)
    now = journal.now()
    no = No(now.steady, retry_after=20.0, reason="HTTP 429: too many requests")
    await journal.said_no(*BULK, no, BackOff(1.0, 60.0, chance=1.0), now)
    look = look_into(path)
    assert look.tokens[BULK] == 0
    assert 19 < look.rates[BULK].rests <= 20


async def test_a_limit_of_calls(journal: SqliteJournal, path: Path) -> None:
    """Where calls are limited, what was granted in the last minute counts."""
    ask = Ask("default", "bulk", journal.owner, 1, 1.0, Limits(calls=600), 0.5, 0.0, (500,))
    now = journal.now()
    moment = Moment(now.wall, now.steady - 30.0)
    await journal.lease(ask, lambda: moment)
    assert look_into(path).tokens[BULK] == 100
    await journal.lease(replace(ask, wants=(100,)), lambda: moment)
    assert look_into(path).tokens[BULK] == 0


def test_no_journal(path: Path) -> None:
    """A journal that is not there is an error, and is not made."""
    with pytest.raises(JournalUnusable):
        look_into(path)
    assert not path.exists()


def take_away(path: Path) -> None:
    """Delete the journal."""
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)


def damage(path: Path) -> None:
    """Put something else where the journal was and is not any more."""
    assert not path.exists()
    path.write_bytes(b"no journal at all" * 100)


async def test_a_journal_that_is_away(path: Path) -> None:
    """The metrics are answered all the while; that they are asked for makes no journal."""
    journal = SqliteJournal(path)
    await lease(journal)
    await journal.close()
    steady = 0.0
    metrics = Metrics(lambda: Standing(NOW), lambda: look_into(path), steady=lambda: steady)
    assert b"phonon_bulk_journal_readable 1.0" in await metrics.text()
    take_away(path)
    steady = 10.0
    assert b"phonon_bulk_journal_readable 0.0" in await metrics.text()
    steady = 20.0
    damage(path)
    assert b"phonon_bulk_journal_readable 0.0" in await metrics.text()
