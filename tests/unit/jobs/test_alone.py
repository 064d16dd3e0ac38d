"""`--alone`: who is at work on a campaign, and who gives way."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from builders import FLOW_ID, SECURITY_ID, make_run
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.config import Campaign, Settings, load_settings
from phonon_bulk.errors import Exit, NotNowError
from phonon_bulk.jobs import alone
from phonon_bulk.jobs.alone import refuse_beside_others, to_yield_to, wait_to_be_alone
from phonon_bulk.journal import AtWork
from phonon_bulk.journal.sqlite import SqliteJournal


def campaign(**changes: str) -> Campaign:
    """Return the campaign that `make_run` makes runs of."""
    made = make_run()
    whose = {"name": made.campaign, "account": made.account, "endpoint": made.endpoint}
    return Campaign.model_validate({**whose, "flow_id": FLOW_ID, **changes})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a journal of their own."""
    environ = {
        "PHONON_BULK_JOURNAL": str(tmp_path / "journal.db"),
        "PHONON_BULK_SECURITY_ID": SECURITY_ID,
        "HOME": str(tmp_path),
    }
    return load_settings(None, environ, {})


@pytest.fixture
async def journals(settings: Settings) -> AsyncIterator[tuple[SqliteJournal, SqliteJournal]]:
    """Return the same journal as two processes have it."""
    both = (SqliteJournal(settings.journal_path), SqliteJournal(settings.journal_path))
    yield both
    for journal in both:
        await journal.close()


Journals = tuple[SqliteJournal, SqliteJournal]


def test_without_a_journal_nobody_is_at_work(settings: Settings) -> None:
    """Nor is one made by looking."""
    refuse_beside_others(settings, campaign())
    assert not settings.journal_path.exists()


async def test_who_is_at_work_is_named(settings: Settings, journals: Journals) -> None:
    """Run, host, process and since when, in one sentence; exit 5."""
    other = journals[0]
    run = (await other.open_run(make_run(), 0.0)).run
    refuse_beside_others(settings, campaign())
    await other.begin_work(run, "sends", 1_795_000_000.0)
    with pytest.raises(NotNowError) as told:
        refuse_beside_others(settings, campaign())
    host, pid, _ = other.owner.split(":")
    assert f"run {run} of this campaign is being worked on by process {pid} on {host}" in str(
        told.value
    )
    assert "since 2026-11-1" in str(told.value)
    assert told.value.exit_code is Exit.STOPPED
    await other.end_work(run, "sends")
    refuse_beside_others(settings, campaign())


@pytest.mark.parametrize("changes", [{"name": "other"}, {"account": "b"}, {"endpoint": "realtime"}])
async def test_other_campaigns_are_none_of_its_business(
    settings: Settings, journals: Journals, changes: dict[str, str]
) -> None:
    """Name, account and endpoint make a campaign the same."""
    run = (await journals[0].open_run(make_run(), 0.0)).run
    await journals[0].begin_work(run, "sends", 0.0)
    refuse_beside_others(settings, campaign(**changes))


async def test_of_two_at_once_one_goes_on(settings: Settings, journals: Journals) -> None:
    """Both have announced themselves: the later one gives up, the earlier one waits for that."""
    first, second = journals
    run = (await first.open_run(make_run(), 0.0)).run
    await first.begin_work(run, "sends", 1.0)
    await second.begin_work(run, "sends", 2.0)
    waiting = asyncio.create_task(wait_to_be_alone(settings, campaign(), first.owner))
    with pytest.raises(NotNowError):
        await wait_to_be_alone(settings, campaign(), second.owner)
    assert not waiting.done()
    await second.end_work(run, "sends")
    await waiting


async def test_one_that_does_not_give_up_is_left_alone(
    settings: Settings, journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started without --alone, or has looked before this one was there."""
    monkeypatch.setattr(alone, "PATIENCE", 0.0)
    first, second = journals
    run = (await first.open_run(make_run(), 0.0)).run
    await first.begin_work(run, "sends", 1.0)
    await second.begin_work(run, "sends", 2.0)
    with pytest.raises(NotNowError):
        await wait_to_be_alone(settings, campaign(), first.owner)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_exactly_one_of_many_does_not_give_way(sinces: list[int]) -> None:
    """Whoever looks, all that see the same agree who was first."""
    there = [AtWork(1, f"host:{n}:x", "sends", float(since)) for n, since in enumerate(sinces)]
    stay = [one for one in there if to_yield_to(there, one.owner) is None]
    assert len(stay) == 1
    assert stay[0].since == min(sinces)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_never_two_in_any_order_of_steps(order: tuple[int, ...]) -> None:
    """Two processes announce themselves and look, in any order: at most one sees nobody."""
    steps = [(process, step) for process in "ab" for step in ("announce", "look")]
    played = [steps[number] for number in order]
    if any(played.index((p, "look")) < played.index((p, "announce")) for p in "ab"):
        return
    there: set[str] = set()
    sees_nobody = []
    for process, step in played:
        if step == "announce":
            there.add(process)
        elif there == {process}:
            sees_nobody.append(process)
    assert len(sees_nobody) <= 1
