"""Which runs a worker sends: none is starved, forgotten, or sent as it should not be any more."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from builders import FLOW_ID, make_batch
from working import UNLIMITED, beside, of, settings_for, single, states, submitted, until, working

from phonon_bulk.call import today_in_india
from phonon_bulk.config import Campaign
from phonon_bulk.jobs.opening import Job, set_going
from phonon_bulk.journal import Control, NewOrder
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.simulator import Rules, parse_fault, serving
from phonon_bulk.worker.realtime import new_run

TOO_MANY = Rules(
    bulk_requests_per_minute=None,
    realtime_requests_per_minute=None,
    faults=(parse_fault("status:429"),),
)
RESTS = {"SENDING__BACK_OFF_FIRST": "30", "SENDING__BACK_OFF_MOST": "30"}
"""With `TOO_MANY` the endpoint is left alone for as long as a test takes."""


async def kept(path: Path) -> int:
    """Put a single call into today's run, as a worker that has ended; return the run."""
    today = today_in_india(time.time())
    async with serving(UNLIMITED) as phonon:
        new = new_run(settings_for(phonon, path), FLOW_ID, today)
    async with beside(path) as journal:
        run = (await journal.open_run(new, time.time())).run
        order = NewOrder("0" * 32, run, make_batch([900], today), None, b"r" * 32)
        await journal.admit(order, None, journal.now)
    return run


async def test_single_calls_take_no_room_from_lists(tmp_path: Path) -> None:
    """They stay for a day, and worker.runs is for lists."""
    async with working(tmp_path, WORKER__RUNS="1") as desk:
        for number in range(3):
            order = single(number + 1, flow_id=f"FLOW000{number}")
            ticket, _ = await desk.worker.realtime.admit(order)
            assert of(await desk.worker.realtime.wait(ticket.id, 10)) == ["accepted"]
        run = await submitted(desk.path, range(101, 111))
        await until(lambda: states(desk.path, run) == {"accepted": 10})


async def test_single_calls_do_not_wait_behind_lists(tmp_path: Path) -> None:
    """What was kept before a restart is sent at once, though lists fill all the room there is."""
    path = tmp_path / "journal.db"
    lists = [await submitted(path, range(n * 100, n * 100 + 50), size=1) for n in (1, 2)]
    run = await kept(path)
    async with working(
        tmp_path, WORKER__RUNS="1", ENDPOINTS__BULK__REQUESTS_PER_MINUTE="60"
    ) as desk:
        await until(lambda: states(desk.path, run) == {"accepted": 1}, 10)
        assert states(desk.path, lists[1]) == {"ready": 50}


async def test_a_pause_is_noticed_while_the_endpoint_rests(tmp_path: Path) -> None:
    """What was claimed is given back, so that it can be cancelled, or sent by somebody else."""
    async with working(tmp_path, TOO_MANY, **RESTS) as desk:
        run = await submitted(desk.path, range(1, 101), size=1)
        await until(lambda: len(desk.posted) > 0)
        async with beside(desk.path) as journal:
            await journal.control(run, Control.PAUSED, [Control.GO])
            await until(lambda: states(desk.path, run) == {"ready": 100}, 5)
            await until(lambda: desk.worker.standing().sending == ())
            await journal.cancel(run, time.time(), "cancelled by Asha")
        assert states(desk.path, run) == {"cancelled": 100}


async def test_another_flow_takes_hold_while_it_is_sent(tmp_path: Path) -> None:
    """As after `resume --flow-id`, also if nobody had noticed a pause before it."""
    async with working(tmp_path, ENDPOINTS__BULK__REQUESTS_PER_MINUTE="1800") as desk:
        run = await submitted(desk.path, range(1, 61), size=1)
        await until(lambda: len(desk.requests) >= 2)
        senders = desk.worker._senders
        assert senders is not None

        def flow() -> str:
            sender = senders.of(run)
            return "" if sender is None else sender._head.flow_id

        assert flow() == FLOW_ID
        async with beside(desk.path) as journal:
            await journal.amend(run, "OTHER000", None)
        await until(lambda: flow() == "OTHER000", 5)
        await until(lambda: states(desk.path, run) == {"accepted": 60})
        assert set(desk.numbers.values()) == {1}


async def test_a_run_goes_on_once_what_was_changed_is_kept(tmp_path: Path) -> None:
    """A worker may take it up at that moment, and the old flow would stop it once more."""
    path, seen = tmp_path / "journal.db", list[str]()
    run = await submitted(path, range(1, 6), flow_id="WRONG000")

    class Watched(SqliteJournal):
        async def control(
            self, run: int, wanted: Control, allowed: Sequence[Control], reason: str | None = None
        ) -> None:
            with SqliteBooks(path) as books:
                seen.append(books.run(run).flow_id)
            await super().control(run, wanted, allowed, reason)

    journal = Watched(path)
    await journal.control(run, Control.STOPPED, [Control.GO], "Invalid Flow ID")
    campaign = Campaign(name="test", flow_id=FLOW_ID)
    await set_going(journal, Job(run, campaign, FLOW_ID, None, None), end_reading=False)
    await journal.close()
    assert seen == ["WRONG000", FLOW_ID]


async def test_a_run_that_can_not_be_sent_is_forgotten_when_it_is_taken_back(
    tmp_path: Path,
) -> None:
    """It says nothing any more of whether the worker is well."""
    async with working(tmp_path) as desk:
        run = await submitted(desk.path, range(1, 6), account="south")
        await until(lambda: desk.worker.standing().blocked != ())
        async with beside(desk.path) as journal:
            await journal.cancel(run, time.time(), "cancelled by Asha")
        await until(lambda: desk.worker.standing().blocked == (), 5)


async def test_paused_before_anything_was_sent_and_resumed_at_once(tmp_path: Path) -> None:
    """It is tried again as soon as it may be, and not half a minute later."""
    async with working(tmp_path, TOO_MANY, **RESTS) as desk:
        first = await submitted(desk.path, range(1, 3), size=1)
        await until(lambda: len(desk.posted) > 0)  # what comes next waits for its slot
        run = await submitted(desk.path, range(11, 13), size=1)
        await until(lambda: run in desk.worker.standing().sending)
        async with beside(desk.path) as journal:
            await journal.control(run, Control.PAUSED, [Control.GO])
            await until(lambda: run not in desk.worker.standing().sending, 5)
            await journal.control(run, Control.GO, [Control.PAUSED])
        await until(lambda: run in desk.worker.standing().sending, 5)
        assert first in desk.worker.standing().sending


async def test_the_journal_is_moved_away_and_put_back(tmp_path: Path) -> None:
    """No other is made in its place: what was put into that would be gone when it comes back."""
    folder = tmp_path / "state"
    folder.mkdir()
    async with working(folder) as desk:
        run = await submitted(desk.path, range(1, 11))
        await until(lambda: states(desk.path, run) == {"accepted": 10})
        await until(lambda: desk.worker.standing().sending == ())
        aside = tmp_path / "aside"
        folder.rename(aside)
        await until(lambda: desk.worker.standing().journal_problem is not None)
        await asyncio.sleep(1.2)  # longer than it waits before it tries again
        assert not folder.exists()
        assert "not there any more" in (desk.worker.standing().journal_problem or "")
        aside.rename(folder)
        await until(lambda: desk.worker.standing().journal_problem is None)
        second = await submitted(desk.path, range(11, 21))
        await until(lambda: states(desk.path, second) == {"accepted": 10})
        assert states(desk.path, run) == {"accepted": 10}
        assert set(desk.numbers.values()) == {1}
        await until(lambda: desk.worker.standing().sending == ())
        with SqliteBooks(desk.path) as books:
            assert books.at_work() == []


async def test_another_security_id_takes_hold_with_a_reload(tmp_path: Path) -> None:
    """The run that was stopped for the wrong one goes on with the right one."""
    rules = Rules(bulk_requests_per_minute=None, security_ids=frozenset({"n" * 64}))
    async with working(tmp_path, rules) as desk:
        run = await submitted(desk.path, range(1, 6), size=1)
        await until(lambda: desk.worker.standing().blocked != ())
        desk.worker.reload(settings_for(desk.phonon, desk.path, SECURITY_ID="n" * 64))
        async with beside(desk.path) as journal:
            await journal.control(run, Control.GO, [Control.STOPPED])
        await until(lambda: states(desk.path, run) == {"accepted": 5})
        assert set(desk.numbers.values()) == {1}


WHITELIST = Rules(
    bulk_requests_per_minute=None,
    realtime_requests_per_minute=None,
    flow_ids=frozenset({FLOW_ID}),
)


async def test_a_flow_id_that_a_client_made_up_stops_its_run_alone(tmp_path: Path) -> None:
    """The worker is ready for all others, and says what is stopped."""
    async with working(tmp_path, WHITELIST, INTAKE__FLOW_ID=FLOW_ID) as desk:
        door = desk.worker.realtime
        await door.admit(single(1, flow_id="MADEUP00"))
        await until(lambda: desk.worker.standing().blocked != ())
        assert not desk.worker.standing().barred
        ticket, _ = await door.admit(single(2))
        answer = await door.wait(ticket.id, 10)
        assert answer is not None
        assert [call.state for call in answer.calls] == ["accepted"]


@pytest.mark.parametrize("intake", ["true", "false"])
async def test_what_stops_the_account_stops_the_worker(tmp_path: Path, intake: str) -> None:
    """Whoever was told so by a list's run, single calls would fare no better."""
    rules = replace(WHITELIST, security_ids=frozenset({"9" * 64}))
    async with working(tmp_path, rules, INTAKE__ENABLED=intake) as desk:
        await submitted(desk.path, range(1, 3))
        await until(lambda: desk.worker.standing().barred)


async def test_the_flow_that_is_set_is_refused(tmp_path: Path) -> None:
    """Then nothing that clients post without naming a flow can be sent."""
    rules = replace(WHITELIST, flow_ids=frozenset({"OTHER000"}))
    async with working(tmp_path, rules, INTAKE__FLOW_ID=FLOW_ID) as desk:
        await desk.worker.realtime.admit(single(1))
        await until(lambda: desk.worker.standing().barred)


async def test_idle_between_single_calls(tmp_path: Path) -> None:
    """Their run lasts all day; it is sent only while a call waits for its answer."""
    rules = replace(UNLIMITED, faults=(parse_fault("delay:0.5"),))
    async with working(tmp_path, rules) as desk:
        ticket, _ = await desk.worker.realtime.admit(single(1))
        await until(lambda: desk.worker.standing().sending == (ticket.run,))
        await until(lambda: desk.worker.standing().sending == ())
        assert desk.worker.standing().accepted == 1
