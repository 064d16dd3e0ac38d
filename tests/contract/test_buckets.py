"""What every journal must do for the limit: one schedule for all, whoever asks, and its books."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from builders import make_batch, make_run

from phonon_bulk.batch import State
from phonon_bulk.journal import Journal, Moment, Settlement
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.schedule import Ask, Lease, Limits, window_of
from phonon_bulk.throttle import BackOff, No

NOW = 1_795_400_000.0
REQUESTS = Limits(requests=600)
CALLS = Limits(calls=30_000)
WAIT = BackOff(1.0, 60.0, chance=1.0)


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


@pytest.fixture
async def other(journal: Journal, path: Path) -> AsyncIterator[Journal]:
    """Return the same journal, opened by another process."""
    del journal  # it must be there first
    other = SqliteJournal(path)
    yield other
    await other.close()


def ask(owner: str = "a", *wants: int, limits: Limits = REQUESTS, **more: object) -> Ask:
    """Return an ask of one process."""
    base = Ask("default", "bulk", owner, 1, 1.0, limits, headroom=0.5, ramp=0.0, wants=wants)
    return replace(base, **more)  # type: ignore[arg-type]


async def lease(journal: Journal, asked: Ask, at: float = 0.0) -> Lease:
    """Ask at so many seconds after NOW."""
    return await journal.lease(asked, lambda: Moment(NOW + at, NOW + at))


async def test_two_share_one_schedule(journal: Journal, other: Journal) -> None:
    """However two processes alternate, their slots are as far apart as the limit wants."""
    slots: list[float] = []
    for tick in range(60):
        for one, owner in ((journal, "a"), (other, "b")):
            slots += (await lease(one, ask(owner, 1, 1, 1, run=ord(owner)), tick / 20)).slots
    gaps = [after - before for before, after in pairwise(slots)]
    assert len(slots) >= 28
    assert min(gaps) >= window_of(0.5) / 600 - 1e-6


async def test_many_at_once(journal: Journal, other: Journal) -> None:
    """Asks that arrive together are granted one after the other, none twice."""
    asks = [
        lease(one, ask(f"{owner}{n}", 500, limits=Limits(requests=30_000)))
        for n in range(10)
        for one, owner in ((journal, "a"), (other, "b"))
    ]
    slots = [slot for granted in await asyncio.gather(*asks) for slot in granted.slots]
    assert len(slots) == len(set(slots)) == 20


async def test_the_schedule_outlives_its_processes(journal: Journal, path: Path) -> None:
    """A process that is started anew goes on where the one before it was."""
    first = (await lease(journal, ask("a", 1))).slots
    await journal.close()
    again = SqliteJournal(path)
    second = await lease(again, ask("b", 1), 0.01)
    later = await lease(again, ask("b", 1), 0.1)
    await again.close()
    assert second.slots == []
    assert later.slots[0] - first[0] == pytest.approx(window_of(0.5) / 600)


async def test_calls_of_the_last_minute_are_known(journal: Journal, other: Journal) -> None:
    """Two that take calls in turn never have more than the limit granted within a window."""
    granted: list[tuple[float, int]] = []
    sizes = [500, 1, 499, 320, 77]
    for tick in range(2600):
        one, owner = ((journal, "a"), (other, "b"))[tick % 2]
        want = sizes[len(granted) % len(sizes)]
        got = await lease(one, ask(owner, want, limits=CALLS, run=tick % 2), tick / 20)
        granted += [(slot, want) for slot in got.slots]
    for start, (at, _) in enumerate(granted):
        within = [n for slot, n in granted[start:] if slot < at + window_of(0.5) - 1e-6]
        assert sum(within) <= 30_000
    assert sum(n for _, n in granted) > 1.9 * 30_000


async def test_the_time_is_that_of_its_turn(
    journal: SqliteJournal, other: Journal, path: Path
) -> None:
    """An ask that waited for another program's lock is granted slots of now, and harms nobody."""
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    asked = asyncio.create_task(journal.lease(ask("a", 1), journal.now))
    await asyncio.sleep(0.7)  # longer than the headroom
    blocker.execute("COMMIT")
    blocker.close()
    freed = journal.now().steady
    assert (await asked).slots[0] >= freed - 0.2
    later = await other.lease(ask("b", 1, run=2), lambda: Moment(freed + 1, freed + 1))
    assert len(later.slots) == 1


async def test_accounts_and_endpoints_have_limits_of_their_own(journal: Journal) -> None:
    """What one sends takes nothing from the others."""
    for account, endpoint in (("default", "bulk"), ("default", "realtime"), ("south", "bulk")):
        asked = ask("a", 1, account=account, endpoint=endpoint, limits=Limits(requests=1))
        assert len((await lease(journal, asked)).slots) == 1


async def test_who_leaves_is_not_waited_for(journal: Journal, other: Journal) -> None:
    """Its part goes to the others, and its limits hold no more."""
    low = ask("b", 1, limits=Limits(requests=60), run=2)
    assert (await lease(other, low)).rate.limits == Limits(requests=60)
    assert (await lease(journal, ask("a", 1), 0.1)).rate.limits == Limits(requests=60)
    await other.leave("default", "bulk", "b")
    assert (await lease(journal, ask("a", 1), 0.2)).rate.limits == REQUESTS


async def test_limits_in_force_are_recorded(journal: Journal, path: Path) -> None:
    """Each change once: by the settings of who sends, by hand, and lifted; the books have them."""
    moment = Moment(NOW + 1, NOW + 1)
    for at in (0.0, 0.5):
        await lease(journal, ask("a", 1), at)
    ordered, settings = Limits(requests=60), Limits(600, None)
    await journal.order_limits("default", "bulk", ordered, settings=settings, who="x@y", now=moment)
    held = await lease(journal, ask("a", 1), 1.5)
    assert (held.rate.limits, held.rate.by_hand) == (ordered, True)
    with SqliteBooks(path) as books:
        rate = books.rate("default", "bulk")
        assert rate is not None
        assert (rate.limits, rate.by_hand) == (ordered, True)
    await journal.order_limits(
        "default", "bulk", Limits(), settings=settings, who="x@y", now=moment
    )
    assert (await lease(journal, ask("a", 1), 2.5)).rate.limits == REQUESTS
    with SqliteBooks(path) as books:
        changes = [(change.limits.requests, change.why) for change in books.limit_changes()]
        assert books.rate("default", "realtime") is None
    assert changes == [(600, "settings"), (60, "set by x@y"), (600, "lifted by x@y")]


async def post(journal: Journal, at: float, verdict: str) -> None:
    """Send one batch of 500 calls of a new run, and settle it."""
    opened = await journal.open_run(make_run(list_sha256=f"{at}"), NOW)
    await journal.append(opened.run, [make_batch(range(1, 501))], [], after_row=0, last_row=500)
    moment = Moment(NOW + at, NOW + at)
    (claim,) = await journal.claim(opened.run, owner="a", limit=1, now=moment, lease=60)
    sent = await journal.send(claim, str(at).encode().ljust(32), "a", moment, 60)
    assert isinstance(sent, int)
    taken = verdict == "accepted"
    state = State.ACCEPTED if taken else State.READY
    settlement = Settlement(state, verdict, accepted=500 * taken, reason=None if taken else "no")
    await journal.settle(claim.batch, settlement, "a", NOW + at)


async def test_a_no_holds_all_back(journal: Journal, other: Journal) -> None:
    """The rate falls by what is recorded, for every process, and the books say why."""
    await lease(journal, ask("a", 1))
    for at in (-61.0, 0.0, 1.0, 2.0):
        await post(journal, at, "accepted")
    await post(journal, 3.0, "throttled")
    no = No(NOW + 3.0, 5.0, "HTTP 429: too many requests")
    held = await journal.said_no("default", "bulk", no, WAIT, Moment(NOW + 3.1, NOW + 3.1))
    assert (held.requests, held.calls, held.factor) == (3, 1500, 0.5)
    assert held.good == pytest.approx(SLOWEST_PART)
    assert (await lease(other, ask("b", 1, run=2), 7.0)).slots == []
    after = await lease(other, ask("b", 1, run=2), 8.2)
    assert len(after.slots) == 1
    assert after.rate.why == "HTTP 429: too many requests"
    assert after.rate.present == Limits(requests=300)


SLOWEST_PART = 60 / 600


async def test_a_no_under_no_limit_only_rests(journal: Journal) -> None:
    """There is nothing to halve."""
    free = ask("a", 1, limits=Limits())
    await lease(journal, free)
    no = No(NOW, 5.0, "HTTP 429")
    held = await journal.said_no("default", "bulk", no, WAIT, Moment(NOW, NOW))
    assert held.rest_until == NOW + 5
    assert (await lease(journal, free, 1.0)).slots == []
    assert len((await lease(journal, free, 5.0)).slots) == 1


async def test_new_limits_are_not_held_to_what_old_ones_taught(journal: Journal) -> None:
    """Who follows the advice, by settings or by hand, has the limit at once; a rest stays."""
    first = ask("a", 1, limits=Limits(requests=30_000))
    await lease(journal, first)
    for at in (1.0, 3.0):
        no = No(NOW + at, 1.0, "HTTP 429")
        await journal.said_no("default", "bulk", no, WAIT, Moment(NOW + at, NOW + at))
    held = await lease(journal, first, 5.0)
    assert held.rate.factor <= 0.5
    advised = ask("b", 500, limits=Limits(30_000, 30_000))
    await lease(journal, advised, 6.0)
    assert (await lease(journal, advised, 8.0)).rate.factor == 1.0
    no = No(NOW + 9.0, 1.0, "HTTP 429")
    await journal.said_no("default", "bulk", no, WAIT, Moment(NOW + 9.0, NOW + 9.0))
    await journal.order_limits(
        "default",
        "bulk",
        Limits(requests=6000),
        settings=Limits(),
        who="x@y",
        now=Moment(NOW + 9.1, NOW + 9.1),
    )
    assert (await lease(journal, advised, 9.5)).slots == []
    assert (await lease(journal, advised, 10.5)).rate.factor == 1.0


async def test_one_order_after_another(journal: Journal) -> None:
    """The second leaves the first in force: it names another unit."""
    moment = Moment(NOW, NOW)
    for limits in (Limits(requests=100), Limits(calls=5000)):
        await journal.order_limits(
            "default", "bulk", limits, settings=Limits(), who="x@y", now=moment
        )
    assert (await lease(journal, ask("a", 1))).rate.limits == Limits(100, 5000)


async def test_a_throttle_of_another_version(journal: SqliteJournal) -> None:
    """What can't be read is forgotten; nothing else stops for it."""
    await lease(journal, ask("a", 1))
    await journal._writer.do(lambda db: db.execute("UPDATE bucket SET throttle = '{\"at\": 1}'"))
    assert (await lease(journal, ask("a", 1), 1.0)).rate.factor == 1.0
    with SqliteBooks(journal.path) as books:
        assert books.rate("default", "bulk") is not None
