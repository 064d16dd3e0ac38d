"""Nobody is called twice, whoever sleeps, whatever the clock says, however often it is started."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from builders import FLOW_ID
from desk import Desk, Simulator, Start, agree

CALLS = 20_000
SABOTEUR = str(Path(__file__).parents[1] / "saboteur")
LATER = (
    '[mapping]\ncontact_numbers = "tel1"\nclient_identifier = "client-identifier"\n'
    'start_time = "2099-01-01T10:00:00+05:30"\n'
)
"""A mapping with a start-time that no clock of these tests reaches."""


def placed_once(desk: Desk, simulator: Simulator, calls: int = CALLS) -> None:
    """Hold that every call was placed exactly once, and is accepted in the journal."""
    times = Counter(call["client-identifier"] for call in simulator.ledger())
    assert len(times) == calls
    assert set(times.values()) == {1}
    assert {line["state"] for line in desk.export()} == {"accepted"}


def test_suspended_and_woken(desk: Desk, simulate: Start) -> None:
    """A process sleeps past its leases; another does its work; awake, it harms nothing."""
    simulator = simulate("--fault", "delay:0.05")
    desk.settings(simulator.url, workers=2, sending={"lease": 10, "replay_after": 0.2})
    desk.campaign()
    desk.contacts(CALLS)
    sleeper = desk.start("run", "campaign.toml", "--json")
    simulator.wait_for(4)
    sleeper.send_signal(signal.SIGSTOP)
    other = desk.run("resume", "1", "--json")
    assert (other.exit, other.summary["accepted"]) == (0, CALLS)
    sent = len(simulator.requests())
    sleeper.send_signal(signal.SIGCONT)
    woken = desk.end(sleeper)
    assert (woken.exit, woken.summary["accepted"]) == (0, CALLS)
    assert len(simulator.requests()) == sent
    placed_once(desk, simulator)
    assert desk.run("audit").exit == 0


def with_a_clock(desk: Desk, off: float) -> Path:
    """Let the command's wall clock be off by what stands in a file; return the file."""
    clock = desk.write("clock", str(off))
    desk.environment = {"PYTHONPATH": SABOTEUR, "SABOTEUR_CLOCK": str(clock)}
    return clock


def set_to(clock: Path, off: float) -> None:
    """Set the clock, never to nothing in between."""
    new = clock.with_name("clock.new")
    new.write_text(str(off))
    new.replace(clock)


def test_the_clock_jumps_under_way(desk: Desk, simulate: Start) -> None:
    """The wall clock is set by hours, back and forth, while it sends: all is as if it were not."""
    simulator = simulate("--fault", "delay:0.1")
    desk.settings(simulator.url, workers=2)
    desk.campaign(rest=LATER)
    desk.contacts(CALLS)
    clock = with_a_clock(desk, 0)
    process = desk.start("run", "campaign.toml", "--json")
    for number, hours in enumerate((-5, 5, -30, 30, 0), 1):
        simulator.wait_for(number * 4)
        set_to(clock, hours * 3600)
    ended = desk.end(process)
    assert (ended.exit, ended.summary["in_doubt"]) == (0, 0)
    agree(desk, simulator)
    placed_once(desk, simulator)


def kill_under_way(desk: Desk, simulator: Simulator) -> None:
    """Start the campaign and kill it when some batches are accepted and others under way."""
    process = desk.start("run", "campaign.toml", "-q")
    simulator.wait_for(4)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("hours", [-5, 0])
def test_the_clock_is_set_back_after_a_kill(desk: Desk, simulate: Start, hours: int) -> None:
    """Killed, and started again with a clock hours behind: doubts are proved all the same."""
    simulator = simulate("--fault", "delay:0.1", "--fault", "drop-after@0.2")
    desk.settings(simulator.url, workers=4, sending={"replay_after": 0.2})
    desk.campaign(rest=LATER)
    desk.contacts(CALLS)
    clock = with_a_clock(desk, 0)
    kill_under_way(desk, simulator)
    set_to(clock, hours * 3600)
    assert desk.run("resume", "1", "-q").exit == 0
    placed_once(desk, simulator)


def test_a_clock_set_forward_makes_doubts_wait(desk: Desk, simulate: Start) -> None:
    """Hours ahead after a kill, the age of a doubt can't be known: it waits; set right, it goes."""
    simulator = simulate("--fault", "delay:0.1")
    desk.settings(simulator.url, workers=4, sending={"replay_after": 0.2})
    desk.campaign(rest=LATER)
    desk.contacts(CALLS)
    clock = with_a_clock(desk, 0)
    kill_under_way(desk, simulator)
    set_to(clock, 5 * 3600)
    assert desk.run("resume", "1", "-q").exit == 4
    set_to(clock, 0)
    assert desk.run("resume", "1", "-q").exit == 0
    placed_once(desk, simulator)


def test_another_campaign_with_the_same_bodies(desk: Desk, simulate: Start) -> None:
    """The same list under another name, or longer by some rows: what was sent is not sent again."""
    simulator = simulate("--checksum-memory", "0")  # the provider would take them again
    desk.settings(simulator.url)
    desk.campaign(rest=LATER)
    desk.contacts(1000)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    text = (desk.folder / "campaign.toml").read_text()
    desk.write("other.toml", text.replace('"reminder"', '"other name"'))
    ended = desk.run("run", "other.toml", "--json")
    assert (ended.exit, ended.summary["refused"], ended.summary["requests"]) == (1, 1000, 0)
    assert "repeats run 1" in ended.summary["reasons"][0]["reason"]
    desk.contacts(1200)
    longer = desk.run("run", "campaign.toml", "--json")
    assert (longer.summary["refused"], longer.summary["accepted"]) == (1000, 200)
    assert len(simulator.ledger()) == 1200
    assert "repeats run 1" in desk.export(3)[0]["reason"]


def test_an_unfinished_twin(desk: Desk, simulate: Start) -> None:
    """Of two runs with the same bodies whichever sends first has sent them."""
    simulator = simulate("--checksum-memory", "0")
    desk.settings(simulator.url)
    desk.campaign(rest=LATER)
    desk.contacts(1000)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    text = (desk.folder / "campaign.toml").read_text()
    desk.write("other.toml", text.replace('"reminder"', '"other name"'))
    assert desk.run("run", "other.toml", "-q").exit == 0
    late = desk.run("resume", "1", "--json")
    assert (late.exit, late.summary["refused"]) == (1, 1000)
    assert "repeats run 2" in late.summary["reasons"][0]["reason"]
    assert len(simulator.ledger()) == 1000


def test_an_untouched_list_is_not_read_again(desk: Desk, simulate: Start) -> None:
    """A list that is as it was read is known by its file's times; a changed one is read anew."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(1000)
    time.sleep(2.5)  # younger than that, a file's times are not trusted
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    again = desk.run("run", "campaign.toml")
    assert (again.exit, "done, run 1" in again.out) == (0, True)
    text = (desk.folder / "list.csv").read_text()
    desk.write("list.csv", text.replace("ACC000001,", "ACC999999,"))  # as long as before
    assert desk.run("run", "campaign.toml", "--json").summary["run"] == 2


def test_once_a_day(desk: Desk, simulate: Start) -> None:
    """With once = "day", the same list is done for today, and sent anew tomorrow."""
    simulator = simulate("--checksum-memory", "0")
    desk.settings(simulator.url)
    desk.write(
        "campaign.toml",
        f'[campaign]\nname = "nightly"\nflow_id = "{FLOW_ID}"\nonce = "day"\n'
        '[source]\npath = "list.csv"\n',
    )
    desk.contacts(600)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    assert "done, run 1" in desk.run("run", "campaign.toml").out
    clock = with_a_clock(desk, 24 * 3600)
    tomorrow = desk.run("run", "campaign.toml", "--json")
    assert (tomorrow.summary["run"], tomorrow.summary["accepted"]) == (2, 600)
    assert "done, run 2" in desk.run("run", "campaign.toml").out
    set_to(clock, 0)
    assert "done, run 1" in desk.run("run", "campaign.toml").out


def late_campaign(desk: Desk, not_after: str) -> None:
    """Write a campaign with a hard end."""
    desk.write(
        "campaign.toml",
        f'[campaign]\nname = "late"\nflow_id = "{FLOW_ID}"\nnot_after = "{not_after}"\n'
        f'[source]\npath = "list.csv"\n{LATER}',
    )


def test_not_after(desk: Desk, simulate: Start) -> None:
    """At the campaign's end what was not sent expires; a later end would have been taken over."""
    simulator = simulate("--fault", "delay:0.1")
    desk.settings(simulator.url, workers=2)
    late_campaign(desk, "2098-12-31T23:00:00+05:30")
    desk.contacts(CALLS)
    clock = with_a_clock(desk, 0)
    process = desk.start("run", "campaign.toml", "--json")
    simulator.wait_for(4)
    set_to(clock, 73 * 365.25 * 86_400)
    ended = desk.end(process)
    summary = ended.summary
    assert (ended.exit, summary["state"], summary["to_send"]) == (1, "done", 0)
    assert summary["expired"] + summary["accepted"] == CALLS
    assert summary["expired"] > CALLS / 2
    assert "not_after" in summary["reasons"][0]["reason"]
    agree(desk, simulator)


def test_too_late_to_begin(desk: Desk, simulate: Start) -> None:
    """A run of which nothing could be sent is not begun; one that is there takes a later end."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.contacts(600)
    late_campaign(desk, "2020-01-01T19:00:00+05:30")
    refused = desk.run("run", "campaign.toml")
    assert refused.exit == 2
    assert "not_after: 2020-01-01T19:00:00+05:30 is past" in refused.err
    assert desk.run("runs", "--json").summary["runs"] == []
    late_campaign(desk, "2090-01-01T19:00:00+05:30")
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    late_campaign(desk, "2090-01-02T19:00:00+05:30")
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["run"], "campaign.changed" in ended.err) == (0, 1, False)


def test_doctor_and_audit(desk: Desk, simulate: Start) -> None:
    """Before the first run, after one that is done, and with something left to do."""
    simulator = simulate("--fault", "drop-after#2")
    desk.settings(simulator.url, workers=1, sending={"replay_within": 0})
    desk.campaign()
    desk.contacts(1500)
    new = desk.run("doctor")
    assert (new.exit, "there is none at" in new.out) == (0, True)
    assert desk.run("run", "campaign.toml", "-q").exit == 4
    doctor = desk.run("doctor")
    assert (doctor.exit, "500 calls in doubt: `phonon-bulk resolve 1`" in doctor.out) == (0, True)
    checks = desk.run("doctor", "--json").summary
    assert checks["well"]
    assert {"conservation", "SQLite's integrity check"} <= {c["what"] for c in checks["checks"]}
    audit = desk.run("audit")
    assert (audit.exit, audit.out.count("holds")) == (0, 5)
    promises = desk.run("audit", "1", "--json").summary["promises"]
    assert [(p["number"], p["holds"]) for p in promises] == [(n, True) for n in range(1, 6)]
    desk.environment = {"PHONON_BULK_SECURITY_ID": "short"}
    ill = desk.run("doctor")
    assert (ill.exit, "ill" in ill.out, "PHONON_BULK_SECURITY_ID" in ill.out) == (2, True, True)
    desk.environment = {}
    slashes = desk.run("doctor", "--journal", "sqlite:///phonon-bulk-test-nowhere.db")
    assert "Was sqlite:phonon-bulk-test-nowhere.db meant?" in slashes.out
    assert list(desk.folder.glob("*-alive-*")) == []
