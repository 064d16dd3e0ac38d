"""Killed before and after the changes that torture seldom or never sees."""

import signal
import sqlite3
from pathlib import Path

import pytest
from desk import Desk, Start

SABOTEUR = str(Path(__file__).parents[1] / "saboteur")
CALLS = 2_000
BOTH = pytest.mark.parametrize("when", ["before", "after"])
LATER = (
    'not_after = "2090-01-01T00:00:00+05:30"\n[source]\npath = "list.csv"\n'
    '[mapping]\ncontact_numbers = "tel1"\nclient_identifier = "client-identifier"\n'
    'start_time = "2099-01-01T10:00:00+05:30"\n'
)


def killed_at(desk: Desk, point: str, *arguments: str) -> None:
    """Run a command that is killed at the point."""
    kept = desk.environment
    desk.environment = {**kept, "PYTHONPATH": SABOTEUR, "SABOTEUR_KILL": f"{point}#1"}
    process = desk.start(*arguments)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "the point was not reached"
    desk.environment = kept


@BOTH
def test_expiring(desk: Desk, simulate: Start, when: str) -> None:
    """What expires does so once, and nothing of it is sent, whenever the process dies."""
    simulator = simulate()
    desk.settings(simulator.url)
    campaign = f'[campaign]\nname = "late"\nflow_id = "QG8k000A"\n{LATER}'
    desk.write("campaign.toml", campaign)
    desk.contacts(CALLS)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    clock = desk.write("clock", str(65 * 365.25 * 86_400))
    desk.environment = {"PYTHONPATH": SABOTEUR, "SABOTEUR_CLOCK": str(clock)}
    killed_at(desk, f"{when}:each:expire", "resume", "1", "-q")
    ended = desk.run("resume", "1", "--json")
    assert (ended.exit, ended.summary["expired"]) == (1, CALLS)
    assert simulator.requests() == []
    assert desk.run("audit").exit == 0


@BOTH
def test_refusing_what_is_damaged(desk: Desk, simulate: Start, when: str) -> None:
    """A damaged body is refused once, and the others are sent once."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(CALLS)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    connection = sqlite3.connect(desk.folder / "journal.db", isolation_level=None)
    connection.execute("UPDATE body SET calls = zeroblob(50) WHERE batch = 1")
    connection.close()
    killed_at(desk, f"{when}:each:refuse", "resume", "1", "-q")
    ended = desk.run("resume", "1", "--json")
    assert (ended.summary["refused"], ended.summary["accepted"]) == (500, CALLS - 500)
    placed = [call["client-identifier"] for call in simulator.ledger()]
    assert len(placed) == len(set(placed)) == CALLS - 500


@BOTH
@pytest.mark.parametrize("flag", ["--accepted", "--resend", "--abandon"])
def test_resolving(desk: Desk, simulate: Start, when: str, flag: str) -> None:
    """What a person decides is recorded whole or not at all."""
    simulator = simulate("--fault", "drop-after#2")
    desk.settings(simulator.url, workers=1, sending={"replay_within": 0})
    desk.campaign()
    desk.contacts(CALLS)
    assert desk.run("run", "campaign.toml", "-q").exit == 4
    killed_at(desk, f"{when}:resolve", "resolve", "1", "--all", flag)
    left = desk.run("status", "1", "--json").summary["in_doubt"]
    assert left == (500 if when == "before" else 0)
    if left:
        assert desk.run("resolve", "1", "--all", flag).exit == 0
    ended = desk.run("resume", "1", "--json")
    expected = {"--accepted": (0, CALLS, 0), "--resend": (0, CALLS, 0)}
    found = (ended.exit, ended.summary["accepted"], ended.summary["abandoned"])
    assert found == expected.get(flag, (1, CALLS - 500, 500))
    assert len(simulator.ledger()) == CALLS
    assert desk.run("audit").exit == 0
