"""Single calls behind the door: kept before they are answered, sent at once, gathered."""

import asyncio
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest
from builders import FLOW_ID
from working import beside, of, settings_for, single, states, until, working

from phonon_bulk.errors import JournalError
from phonon_bulk.intake.door import BlockedError, KeyReusedError, OverloadedError
from phonon_bulk.journal import Control, Kind, Order
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.export import contacts
from phonon_bulk.report.summary import summarize
from phonon_bulk.simulator import Rules
from phonon_bulk.worker.process import Worker
from phonon_bulk.worker.realtime import Realtime

LIMITED = Rules(bulk_requests_per_minute=None, realtime_requests_per_minute=500)


async def test_a_call_leaves_at_once_and_alone(tmp_path: Path) -> None:
    """Kept, posted and answered, with the provider's ids; on the real-time endpoint."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        for row in range(1, 6):
            ticket, is_new = await door.admit(single(row))
            assert is_new
            done = await door.wait(ticket.id, 10)
            assert of(done) == ["accepted"]
            assert done is not None
            assert done.calls[0].request_id
            assert done.calls[0].phonon_uuid
            assert done.calls[0].client_identifier == f"ACC{row:07d}"
        assert [request["calls"] for request in desk.requests] == [1] * 5
        assert {request["endpoint"] for request in desk.requests} == {"realtime"}
        with SqliteBooks(desk.path) as books:
            (run,) = books.runs(5)
            assert (run.kind, run.rows, run.calls) == (Kind.INTAKE, 5, 5)
            assert [contact.row for contact in contacts(books, run.id)] == [1, 2, 3, 4, 5]
            assert summarize(books, run.id).accepted == 5


async def test_it_is_in_the_journal_before_it_is_answered(tmp_path: Path) -> None:
    """What admit returns for is durable: another process sees it at once."""
    async with working(tmp_path) as desk:
        desk.phonon.simulator.change({"faults": ["delay:0.5"]})
        ticket, _ = await desk.worker.realtime.admit(single(1, 2))
        with SqliteBooks(desk.path) as books:
            order = books.order(ticket.id)
            assert order is not None
            assert sum(books.counts(order.run).calls.values()) == 2
        assert of(await desk.worker.realtime.wait(ticket.id, 10)) == ["accepted"] * 2


async def test_the_first_calls_come_all_at_once(tmp_path: Path) -> None:
    """However many find that nobody sends to the flow yet, one begins to, and ends as it should."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        tickets = await asyncio.gather(*(door.admit(single(row)) for row in range(1, 51)))
        ends = await asyncio.gather(*(door.wait(ticket.id, 20) for ticket, _ in tickets))
        assert [of(end) for end in ends] == [["accepted"]] * 50
        assert set(desk.numbers.values()) == {1}
        await desk.stop()


async def test_ended_at_once_while_a_call_is_in_flight(tmp_path: Path) -> None:
    """It may have been placed: it is in doubt, and the next worker proves it."""
    async with working(tmp_path) as desk:
        desk.phonon.simulator.change({"faults": ["delay:5"]})
        ticket, _ = await desk.worker.realtime.admit(single(1))
        await until(lambda: len(desk.requests) == 1)
        desk.worker.stop()
        desk.worker.abort()
        await asyncio.wait_for(desk.life, 4)
        assert states(desk.path, ticket.run) == {"in_doubt": 1}


async def test_many_at_once_are_gathered(tmp_path: Path) -> None:
    """Two thousand arrive together where 500 requests a minute are allowed: a few requests do."""
    limit = {"ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "500"}
    async with working(tmp_path, LIMITED, **limit) as desk:
        door = desk.worker.realtime
        await door.wait((await door.admit(single(1)))[0].id, 10)  # the run is open
        began = time.monotonic()
        tickets = await asyncio.gather(*(door.admit(single(row)) for row in range(2, 2002)))
        ends = await asyncio.gather(*(door.wait(ticket.id, 20) for ticket, _ in tickets))
        seconds = time.monotonic() - began
        assert [of(end) for end in ends] == [["accepted"]] * 2000
        assert set(desk.numbers.values()) == {1}
        assert len(desk.numbers) == 2001
        # The limit lets through some eight requests a second.
        assert len(desk.requests) - 1 <= seconds * 8.4 + 2
        assert max(request["calls"] for request in desk.requests) > 100
        assert max(request["calls"] for request in desk.requests) <= 500
        with SqliteBooks(desk.path) as books:
            (run,) = books.runs(5)
            made = summarize(books, run.id)
            assert (made.rows, made.accepted, made.to_send) == (2001, 2001, 0)
            rows = [contact.row for contact in contacts(books, run.id)]
            assert rows == list(range(1, 2002))
        # Each ticket names its own call.
        named = [end.calls[0].client_identifier for end in ends if end is not None]
        assert named == [f"ACC{row:07d}" for row in range(2, 2002)]


async def test_orders_of_several_calls_stay_whole_in_their_tickets(tmp_path: Path) -> None:
    """Gathered with others, each order knows its own calls, in its own order."""
    limit = {"ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "120"}
    async with working(tmp_path, **limit) as desk:
        door = desk.worker.realtime
        orders = [single(*range(n * 10, n * 10 + n)) for n in range(1, 10)]
        tickets = [(await door.admit(order))[0] for order in orders]
        for order, ticket in zip(orders, tickets, strict=True):
            done = await door.wait(ticket.id, 20)
            assert done is not None
            names = [call.client_identifier for call in order.calls]
            assert [call.client_identifier for call in done.calls] == names
            assert of(done) == ["accepted"] * len(names)


async def test_a_bad_call_among_gathered_ones_is_refused_by_itself(tmp_path: Path) -> None:
    """The request is split until it stands alone; the others are placed, once."""
    limit = {"ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "1200"}
    rules = Rules(
        bulk_requests_per_minute=None,
        realtime_requests_per_minute=None,
        bad_numbers=frozenset({"919900000007"}),
    )
    async with working(tmp_path, rules, **limit) as desk:
        door = desk.worker.realtime
        await door.wait((await door.admit(single(100)))[0].id, 10)
        tickets = [(await door.admit(single(row)))[0] for row in range(1, 21)]
        ends = [of(await door.wait(ticket.id, 20)) for ticket in tickets]
        assert [row for row, end in enumerate(ends, 1) if end != ["accepted"]] == [7]
        assert ends[6] == ["refused"]
        assert set(desk.numbers.values()) == {1}


async def test_a_repeated_request_is_harmless(tmp_path: Path) -> None:
    """The same key and request give the same ticket; with another request it is refused."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        ticket, is_new = await door.admit(single(1, key="order-1"))
        again = await asyncio.gather(*(door.admit(single(1, key="order-1")) for _ in range(20)))
        assert is_new
        assert {(other.id, new) for other, new in again} == {(ticket.id, False)}
        with pytest.raises(KeyReusedError):
            await door.admit(single(2, key="order-1"))
        await door.wait(ticket.id, 10)
        assert len(desk.numbers) == 1
        assert set(desk.numbers.values()) == {1}
        assert b"order-1" not in desk.path.read_bytes()


async def test_too_much_is_refused_and_forgotten(tmp_path: Path) -> None:
    """Over max_waiting nothing is kept, and the client is told when to try again."""
    more = {
        "INTAKE__MAX_WAITING": "10",
        "ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "60",
    }
    async with working(tmp_path, **more) as desk:
        door = desk.worker.realtime
        desk.phonon.simulator.change({"faults": ["delay:0.3"]})
        await door.admit(single(*range(1, 11)))
        with pytest.raises(OverloadedError) as caught:
            await door.admit(single(11))
        assert caught.value.retry_after >= 1
        await until(lambda: len(desk.numbers) == 10)
        await until(lambda: desk.worker.standing().accepted == 10)
        await asyncio.sleep(1.1)
        ticket, _ = await door.admit(single(11))
        assert of(await door.wait(ticket.id, 10)) == ["accepted"]


async def test_paused_cancelled_and_stopped(tmp_path: Path) -> None:
    """A held run takes no calls, and says why; a cancelled one is followed by another."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        ticket, _ = await door.admit(single(1))
        assert of(await door.wait(ticket.id, 10)) == ["accepted"]
        run = ticket.run
        async with beside(desk.path) as journal:
            await journal.control(run, Control.PAUSED, [Control.GO])
            await until(lambda: desk.worker.standing().sending == ())
            with pytest.raises(BlockedError, match="paused"):
                await door.admit(single(2))
            await journal.control(run, Control.GO, [Control.PAUSED])
            ticket, _ = await door.admit(single(3))
            assert of(await door.wait(ticket.id, 10)) == ["accepted"]
            await journal.cancel(run, time.time(), "cancelled by Asha")
        # What was sent after a person took the run back is not meant by it.
        ticket, _ = await door.admit(single(5))
        assert ticket.run != run
        assert of(await door.wait(ticket.id, 10)) == ["accepted"]
        desk.worker.stop()
        with pytest.raises(BlockedError, match="stopping"):
            await door.admit(single(6))


async def test_many_that_come_at_once_do_not_slip_through(tmp_path: Path) -> None:
    """Those that are being kept just now count: not one more than max_waiting is taken."""
    limit = {"INTAKE__MAX_WAITING": "10", "ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "6"}
    async with working(tmp_path, **limit) as desk:
        door = desk.worker.realtime
        tries = [door.admit(single(row)) for row in range(1, 101)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, OverloadedError)]
        assert len(refused) == 90
        with SqliteBooks(desk.path) as books:
            assert sum(run.calls for run in books.runs(5)) == 10


async def test_who_waits_while_settings_are_reloaded_waits_on(tmp_path: Path) -> None:
    """The answer comes after the reload, and is told."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        desk.phonon.simulator.change({"faults": ["status:429"]})
        ticket, _ = await door.admit(single(1))
        waiting = asyncio.create_task(door.wait(ticket.id, 20))
        await asyncio.sleep(0.1)
        desk.worker.opened.clear()
        desk.worker.reload(settings_for(desk.phonon, desk.path))
        await asyncio.wait_for(desk.worker.opened.wait(), 10)
        assert not waiting.done()
        desk.phonon.simulator.change({"faults": []})
        assert of(await asyncio.wait_for(waiting, 10)) == ["accepted"]


async def test_who_is_inside_while_settings_are_reloaded_is_served(tmp_path: Path) -> None:
    """The journal is closed once those who use it have left."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        await door.admit(single(1))
        behind, inside, go_on = door._behind, threading.Event(), threading.Event()
        assert behind is not None
        find = behind.tickets.order

        def slow(number: str) -> Order | None:
            inside.set()
            go_on.wait(10)
            return find(number)

        behind.tickets.order = slow  # type: ignore[method-assign]
        looking = asyncio.create_task(door.look("0" * 32))
        await asyncio.to_thread(inside.wait, 10)
        desk.worker.opened.clear()
        desk.worker.reload(settings_for(desk.phonon, desk.path))
        await until(lambda: door._behind is not behind)
        await asyncio.sleep(0.1)
        assert not desk.worker.opened.is_set()
        go_on.set()
        assert await asyncio.wait_for(looking, 10) is None
        await asyncio.wait_for(desk.worker.opened.wait(), 10)


async def test_who_waits_while_the_worker_stops_is_told_what_came(tmp_path: Path) -> None:
    """An answer that comes while what is under way is ended; or else how far it is."""
    limit = {"ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "6"}
    async with working(tmp_path, **limit) as desk:
        door = desk.worker.realtime
        desk.phonon.simulator.change({"faults": ["delay:0.5"]})
        sent, _ = await door.admit(single(1))
        await until(lambda: len(desk.requests) == 1)
        kept, _ = await door.admit(single(2))
        waits = [asyncio.create_task(door.wait(one.id, 20)) for one in (sent, kept)]
        await desk.stop()
        ends = await asyncio.wait_for(asyncio.gather(*waits), 5)
        assert [of(end) for end in ends] == [["accepted"], ["waiting"]]


async def test_reloaded_while_calls_come(tmp_path: Path) -> None:
    """Again and again: each is kept, sent once, and none is in doubt."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        tickets: list[str] = []
        for row in range(1, 201):
            if row % 40 == 0:
                desk.worker.reload(settings_for(desk.phonon, desk.path))
            tickets.append((await door.admit(single(row)))[0].id)
            await asyncio.sleep(0.002)
        ends = [of(await door.wait(ticket, 10)) for ticket in tickets]
        assert ends == [["accepted"]] * len(tickets)
        assert set(desk.numbers.values()) == {1}
        assert len(desk.numbers) == len(tickets)
        # One that was about to leave is held back, and leaves with the new settings.
        assert {posted.state for posted in desk.posted} <= {"accepted", "ready"}


async def test_a_clock_that_is_set_back_over_midnight(tmp_path: Path) -> None:
    """The day that has come again has a closed run: its calls go to another."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        first, _ = await door.admit(single(1))
        assert of(await door.wait(first.id, 10)) == ["accepted"]
        behind = door._behind
        assert behind is not None
        await behind.journal.finish_reading(first.run, time.time())
        second, _ = await door.admit(single(2))
        assert second.run != first.run
        assert of(await door.wait(second.id, 10)) == ["accepted"]


async def test_what_waited_for_too_long_is_not_sent(tmp_path: Path) -> None:
    """After expire_after a call is expired, whatever held it up; it is never sent late."""
    async with working(tmp_path, INTAKE__EXPIRE_AFTER="1") as desk:
        door = desk.worker.realtime
        desk.phonon.simulator.change({"faults": ["status:429"]})
        ticket, _ = await door.admit(single(1))
        await asyncio.sleep(1.2)
        desk.phonon.simulator.change({"faults": []})
        done = await door.wait(ticket.id, 10)
        assert of(done) == ["expired"]
        assert done is not None
        assert "intake.expire_after" in (done.calls[0].reason or "")
        assert len(desk.numbers) == 0


async def test_a_lost_answer_is_a_doubt_and_then_known(tmp_path: Path) -> None:
    """The connection breaks after the provider took it: replayed, and accepted once."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        await door.wait((await door.admit(single(1)))[0].id, 10)
        desk.phonon.simulator.change({"faults": ["drop-after#1"]})
        ticket, _ = await door.admit(single(2))
        end = await door.wait(ticket.id, 10)
        assert of(end)[0] in {"in_doubt", "accepted"}
        await until(lambda: states(desk.path, ticket.run) == {"accepted": 2})
        assert of(await door.look(ticket.id)) == ["accepted"]
        assert set(desk.numbers.values()) == {1}


async def test_what_was_kept_is_sent_after_a_restart(tmp_path: Path) -> None:
    """The worker ends before what it has kept is sent: the next one sends it."""
    limit = {"ENDPOINTS__REALTIME__REQUESTS_PER_MINUTE": "6"}
    async with working(tmp_path, **limit) as desk:
        door = desk.worker.realtime
        tickets = [(await door.admit(single(row)))[0] for row in range(1, 6)]
        await desk.stop()
        assert len(desk.numbers) < 5
        other = Worker(settings_for(desk.phonon, desk.path))
        life = asyncio.create_task(other.run())
        try:
            await other.opened.wait()
            for ticket in tickets:
                await until(lambda: states(desk.path, tickets[0].run) == {"accepted": 5})
                assert of(await other.realtime.look(ticket.id)) == ["accepted"]
        finally:
            other.stop()
            await asyncio.wait_for(life, 10)
        assert set(desk.numbers.values()) == {1}


async def test_without_a_journal_nothing_is_taken(tmp_path: Path) -> None:
    """A client is told so, and knows that its call was not kept."""
    async with working(tmp_path) as desk:
        realtime = Realtime(desk.worker.settings)
        with pytest.raises(JournalError):
            await realtime.admit(single(1))


async def test_flows_have_runs_of_their_own(tmp_path: Path) -> None:
    """So that each can be paused and counted by itself."""
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        one, _ = await door.admit(single(1))
        other, _ = await door.admit(single(2, flow_id="OTHER000"))
        assert one.run != other.run
        assert of(await door.wait(one.id, 10)) == ["accepted"]
        assert of(await door.wait(other.id, 10)) == ["accepted"]
        with SqliteBooks(desk.path) as books:
            assert {run.flow_id for run in books.runs(5)} == {FLOW_ID, "OTHER000"}


async def test_look_knows_only_what_it_was_told(tmp_path: Path) -> None:
    """An id that nobody was given is nothing."""
    async with working(tmp_path) as desk:
        assert await desk.worker.realtime.look("0" * 32) is None
        assert await desk.worker.realtime.wait(sha256(b"").hexdigest()[:32], 1) is None


async def test_made_up_flows_do_not_make_it_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many flows and no more; those that are open go on."""
    monkeypatch.setattr("phonon_bulk.worker.realtime.MOST_FLOWS", 3)
    async with working(tmp_path) as desk:
        door = desk.worker.realtime
        for number in range(3):
            await door.admit(single(number + 1, flow_id=f"FLOW000{number}"))
        with pytest.raises(BlockedError, match="3 flows"):
            await door.admit(single(9, flow_id="FLOW0009"))
        ticket, _ = await door.admit(single(4, flow_id="FLOW0000"))
        assert of(await door.wait(ticket.id, 10)) == ["accepted"]
