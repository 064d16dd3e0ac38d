"""The worker on a real journal: it notices, obeys, survives, and ends as it is told."""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest
from builders import SECURITY_ID
from working import UNLIMITED, beside, settings_for, states, submitted, until, working

from phonon_bulk.errors import JournalUnusable
from phonon_bulk.journal import Control
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.simulator import Rules, parse_fault, serving
from phonon_bulk.worker import looking
from phonon_bulk.worker.process import Worker
from phonon_bulk.worker.pruning import prune_once


def control_of(path: Path, run: int) -> Control:
    """Return what is to happen with a run."""
    with SqliteBooks(path) as books:
        return books.run(run).control


async def test_what_is_submitted_is_sent(tmp_path: Path) -> None:
    """Runs that are there, and runs that come while it works; each contact once."""
    async with working(tmp_path) as desk:
        first = await submitted(desk.path, range(1, 51))
        await until(lambda: states(desk.path, first) == {"accepted": 50})
        second = await submitted(desk.path, range(101, 121))
        await until(lambda: states(desk.path, second) == {"accepted": 20})
        await until(lambda: desk.worker.standing().sending == ())
        assert set(desk.numbers.values()) == {1}
        assert len(desk.numbers) == 70
        assert desk.worker.standing().accepted == 70
        with SqliteBooks(desk.path) as books:
            assert books.at_work() == []
    assert sum(posted.calls for posted in desk.posted) == 70
    assert {(posted.account, posted.endpoint) for posted in desk.posted} == {("default", "bulk")}


async def test_it_notices_within_a_second(tmp_path: Path) -> None:
    """With the default pace of looking, from the commit to the provider."""
    async with working(tmp_path, WORKER__LOOK_EVERY="0.5") as desk:
        await asyncio.sleep(0.3)
        run = await submitted(desk.path, range(1, 6))
        began = time.monotonic()
        await until(lambda: states(desk.path, run) == {"accepted": 5})
        assert time.monotonic() - began < 1.0


async def test_a_list_that_is_still_read_is_sent_as_far_as_it_is(tmp_path: Path) -> None:
    """The worker neither waits for the rest nor takes it for done."""
    async with working(tmp_path) as desk:
        run = await submitted(desk.path, range(1, 11), read=False)
        await until(lambda: states(desk.path, run) == {"accepted": 10})
        await until(lambda: desk.worker.standing().sending == ())
        with SqliteBooks(desk.path) as books:
            assert books.run(run).read_at is None


async def test_paused_and_resumed(tmp_path: Path) -> None:
    """Once the pause is in the journal not one batch more leaves; resumed, the rest does."""
    async with working(tmp_path, ENDPOINTS__BULK__REQUESTS_PER_MINUTE="600") as desk:
        run = await submitted(desk.path, range(1, 101), size=1)
        await until(lambda: len(desk.requests) >= 3)
        async with beside(desk.path) as journal:
            await journal.control(run, Control.PAUSED, [Control.GO])
            left = desk.phonon.simulator.ledger.summary()["bulk"]["requests"]
            await asyncio.sleep(0.5)
            # One may have been marked in the moment before the pause.
            assert len(desk.requests) <= left + 1
            await until(lambda: desk.worker.standing().sending == ())
            assert states(desk.path, run).keys() == {"accepted", "ready"}
            before = len(desk.requests)
            await journal.control(run, Control.GO, [Control.PAUSED])
        await until(lambda: len(desk.requests) >= before + 3)
        assert set(desk.numbers.values()) == {1}


async def test_cancelled(tmp_path: Path) -> None:
    """What is not sent is cancelled, also what the worker held; nothing of it is sent any more."""
    async with working(tmp_path, ENDPOINTS__BULK__REQUESTS_PER_MINUTE="600") as desk:
        run = await submitted(desk.path, range(1, 101), size=1)
        await until(lambda: len(desk.requests) >= 3)
        async with beside(desk.path) as journal:
            await journal.cancel(run, time.time(), "cancelled by Asha")
        await until(lambda: states(desk.path, run).keys() == {"accepted", "cancelled"})
        assert sum(states(desk.path, run).values()) == 100
        assert states(desk.path, run)["accepted"] == len(desk.numbers) < 20


async def test_a_run_that_the_provider_stops_waits_and_the_others_go_on(tmp_path: Path) -> None:
    """A wrong flow stops its run alone, and the standing says why."""
    rules = Rules(
        bulk_requests_per_minute=None,
        realtime_requests_per_minute=None,
        flow_ids=frozenset({"QG8k000A"}),
    )
    async with working(tmp_path, rules) as desk:
        wrong = await submitted(desk.path, range(1, 11), flow_id="WRONG000")
        right = await submitted(desk.path, range(11, 21))
        await until(lambda: states(desk.path, right) == {"accepted": 10})
        await until(lambda: control_of(desk.path, wrong) is Control.STOPPED)
        await until(lambda: desk.worker.standing().sending == ())
        assert states(desk.path, wrong) == {"ready": 10}
        (blocked,) = desk.worker.standing().blocked
        assert blocked.startswith(f"run {wrong}: ")
        assert "Invalid Flow ID" in blocked
        assert not desk.worker.standing().barred
        async with beside(desk.path) as journal:  # mended, as `resume` does it
            await journal.amend(wrong, "QG8k000A", None)
            await journal.control(wrong, Control.GO, [Control.STOPPED])
        await until(lambda: states(desk.path, wrong) == {"accepted": 10})
        assert desk.worker.standing().blocked == ()


async def test_an_account_that_is_not_set_costs_its_run_alone(tmp_path: Path) -> None:
    """It is said once, and after the settings are mended and reloaded the run is sent."""
    async with working(tmp_path) as desk:
        run = await submitted(desk.path, range(1, 6), account="south")
        other = await submitted(desk.path, range(6, 11))
        await until(lambda: states(desk.path, other) == {"accepted": 5})
        await until(lambda: desk.worker.standing().blocked != ())
        assert states(desk.path, run) == {"ready": 5}
        desk.worker.reload(
            settings_for(desk.phonon, desk.path, ACCOUNTS__SOUTH__SECURITY_ID=SECURITY_ID)
        )
        await until(lambda: states(desk.path, run) == {"accepted": 5})


async def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    """The provider is away for longer than give_up_after: the worker does not give up."""
    rules = Rules(
        bulk_requests_per_minute=None,
        realtime_requests_per_minute=None,
        faults=(parse_fault("status:503"),),
    )
    async with working(tmp_path, rules, SENDING__GIVE_UP_AFTER="0.1") as desk:
        run = await submitted(desk.path, range(1, 21), size=1)
        await asyncio.sleep(1.0)
        (resting,) = desk.worker.standing().resting
        assert resting.startswith(f"run {run}: HTTP 503")
        desk.phonon.simulator.change({"faults": []})
        await until(lambda: states(desk.path, run) == {"accepted": 20})
        await until(lambda: desk.worker.standing().resting == ())
        assert set(desk.numbers.values()) == {1}


async def test_the_journal_is_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is moved away under the worker, and back: the worker waits, and goes on."""
    monkeypatch.setattr(looking, "_AT_LEAST", 1.0)  # an idle one writes so often
    folder = tmp_path / "state"
    folder.mkdir()
    async with working(folder, SENDING__JOURNAL_WAIT="0.2") as desk:
        first = await submitted(desk.path, range(1, 11))
        await until(lambda: states(desk.path, first) == {"accepted": 10})
        await until(lambda: desk.worker.standing().sending == ())
        # Another program holds it locked: for longer than journal_wait.
        lock = sqlite3.connect(desk.path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        await until(lambda: desk.worker.standing().journal_problem is not None)
        lock.execute("ROLLBACK")
        lock.close()
        await until(lambda: desk.worker.standing().journal_problem is None)
        second = await submitted(desk.path, range(11, 21))
        await until(lambda: states(desk.path, second) == {"accepted": 10})
        assert set(desk.numbers.values()) == {1}


async def test_a_journal_that_can_not_be_opened_at_the_start_is_an_error(tmp_path: Path) -> None:
    """Whoever set the path wrong hears of it at once."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no journal" * 100)
    async with serving() as phonon:
        worker = Worker(settings_for(phonon, path))
        with pytest.raises(JournalUnusable):
            await worker.run()


async def test_stopped_while_it_sends(tmp_path: Path) -> None:
    """What is under way ends, nothing is in doubt, the rest stays ready; nobody is at work."""
    rules = Rules(
        bulk_requests_per_minute=None,
        realtime_requests_per_minute=None,
        faults=(parse_fault("delay:0.2"),),
    )
    async with working(tmp_path, rules) as desk:
        run = await submitted(desk.path, range(1, 401), size=1)
        await until(lambda: len(desk.requests) >= 40)
        await desk.stop()
        assert states(desk.path, run).keys() == {"accepted", "ready"}
        assert states(desk.path, run)["accepted"] == len(desk.numbers)
        assert not [name for name in os.listdir(tmp_path) if "alive" in name]  # noqa: PTH208 - at once
    with SqliteBooks(desk.path) as books:
        assert books.at_work() == []


async def test_ended_at_once(tmp_path: Path) -> None:
    """What was in flight is in doubt, not lost."""
    rules = Rules(
        bulk_requests_per_minute=None,
        realtime_requests_per_minute=None,
        faults=(parse_fault("delay:5"),),
    )
    async with working(tmp_path, rules) as desk:
        run = await submitted(desk.path, range(1, 41), size=1)
        await until(lambda: states(desk.path, run).get("sending") == 32)
        desk.worker.stop()
        await asyncio.sleep(0.1)
        assert not desk.life.done()
        desk.worker.abort()
        await asyncio.wait_for(desk.life, 5)
        assert states(desk.path, run) == {"in_doubt": 32, "ready": 8}
        assert desk.worker.aborted


async def test_reloaded_under_way(tmp_path: Path) -> None:
    """Other settings take hold without a contact lost or called twice."""
    async with working(tmp_path, ENDPOINTS__BULK__REQUESTS_PER_MINUTE="300") as desk:
        run = await submitted(desk.path, range(1, 101), size=1)
        await until(lambda: len(desk.requests) >= 2)
        desk.worker.reload(
            settings_for(desk.phonon, desk.path, ENDPOINTS__BULK__REQUESTS_PER_MINUTE="off")
        )
        await until(lambda: states(desk.path, run) == {"accepted": 100})
        assert set(desk.numbers.values()) == {1}


async def test_two_workers_share_a_journal(tmp_path: Path) -> None:
    """Both send, each contact once; when one ends the other goes on."""
    async with working(tmp_path) as one:
        other = Worker(settings_for(one.phonon, one.path))
        life = asyncio.create_task(other.run())
        await other.opened.wait()
        run = await submitted(one.path, range(1, 1001), size=1)
        await until(lambda: len(one.requests) >= 100)
        other.stop()
        await asyncio.wait_for(life, 10)
        await until(lambda: states(one.path, run) == {"accepted": 1000})
        assert set(one.numbers.values()) == {1}


async def test_more_runs_than_it_may_send_at_once(tmp_path: Path) -> None:
    """The others wait for one of them to end, and none is forgotten."""
    async with working(tmp_path, WORKER__RUNS="2") as desk:
        runs = [await submitted(desk.path, range(n * 10, n * 10 + 10)) for n in range(1, 7)]
        await until(lambda: all(states(desk.path, run) == {"accepted": 10} for run in runs))
        assert set(desk.numbers.values()) == {1}


async def test_a_task_that_dies_takes_the_worker_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cleanly: what is under way is settled, and the process ends with the error."""

    async def dies(*_: object) -> None:
        await asyncio.sleep(0.2)
        raise ZeroDivisionError

    monkeypatch.setattr("phonon_bulk.worker.process.count_waiting", dies)
    async with serving(UNLIMITED) as phonon:
        path = tmp_path / "journal.db"
        worker = Worker(settings_for(phonon, path))
        life = asyncio.create_task(worker.run())
        await worker.opened.wait()
        run = await submitted(path, range(1, 101), size=1)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(life, 10)
        assert "sending" not in states(path, run)
        assert "in_doubt" not in states(path, run)


async def test_idle_costs_next_to_nothing(tmp_path: Path) -> None:
    """No busy polling: a second of idleness takes a few milliseconds of CPU."""
    async with working(tmp_path, WORKER__LOOK_EVERY="0.5") as desk:
        run = await submitted(desk.path, range(1, 11))
        await until(lambda: states(desk.path, run) == {"accepted": 10})
        await until(lambda: desk.worker.standing().sending == ())
        await asyncio.sleep(0.5)
        began = os.times()
        await asyncio.sleep(2.0)
        ended = os.times()
        used = ended.user - began.user + ended.system - began.system
        assert used < 0.2  # far above what it takes, far below what polling would


async def test_it_prunes(tmp_path: Path) -> None:
    """Contact data that is old enough leaves while the worker works; counts stay."""
    async with working(tmp_path) as desk:
        old = await submitted(desk.path, range(1, 11))
        await until(lambda: states(desk.path, old) == {"accepted": 10})
        await until(lambda: desk.worker.standing().sending == ())
        async with beside(desk.path) as journal:
            await prune_once(journal, 3, time.time() + 2 * 86_400)
            with SqliteBooks(desk.path) as books:
                assert books.run(old).pruned_at is None
            await prune_once(journal, 3, time.time() + 5 * 86_400)
        with SqliteBooks(desk.path) as books:
            assert books.run(old).pruned_at is not None
        new = await submitted(desk.path, range(11, 21))
        await until(lambda: states(desk.path, new) == {"accepted": 10})
        assert states(desk.path, old) == {"accepted": 10}
    assert b"919900000001" not in desk.path.read_bytes()


async def test_it_prunes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With worker.prune_after_days, without being asked."""
    asked: list[int] = []

    async def prune(_journal: object, days: int, _now: float) -> None:
        asked.append(days)

    monkeypatch.setattr("phonon_bulk.worker.pruning.prune_once", prune)
    monkeypatch.setattr("phonon_bulk.worker.pruning._FIRST_AFTER", 0.05)
    monkeypatch.setattr("phonon_bulk.worker.pruning._EVERY", 0.05)
    async with working(tmp_path, WORKER__PRUNE_AFTER_DAYS="30"):
        await until(lambda: len(asked) >= 2)
    assert set(asked) == {30}
