"""`run`, `resume` and `submit` as cron starts them: silent, bounded, alone, reported."""

import os
import re
import signal
import socket
import subprocess
import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from desk import Desk, Ended, Simulator, Start, agree
from pinged import SECRET, Service, service

from phonon_bulk.journal.books import SqliteBooks

__all__ = ["service"]

INDIA = ZoneInfo("Asia/Kolkata")
REPORTS = ("--report", "report.txt", "--report", "report.json")


def hours(begin: float, end: float) -> str:
    """Return a window in India that begins and ends so many hours from now."""
    now = datetime.now(INDIA)
    first, second = (now + timedelta(hours=n) for n in (begin, end))
    return f"{first:%H:%M}-{second:%H:%M}"


OPEN, CLOSED = (-6, 6), (6, 8)


@pytest.fixture
def ready(desk: Desk, simulate: Start) -> tuple[Desk, Simulator]:
    """Return a desk at which all is well, and a simulator."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(1_200)
    return desk, simulator


Ready = tuple[Desk, Simulator]


def record(desk: Desk) -> dict[str, Any]:
    """Return the report as JSON, and see that the text says the same."""
    read = orjson.loads((desk.folder / "report.json").read_bytes())
    text = (desk.folder / "report.txt").read_text()
    assert isinstance(read, dict)
    assert all(len(line) <= 78 for line in text.splitlines())
    for sentence in read["advice"]:
        assert "".join(sentence.split()) in "".join(text.split())
    return read


def limit(desk: Desk, url: str, requests: int) -> None:
    """Let the endpoint be used slowly."""
    desk.settings(url, requests_per_minute=requests, ramp=0.0)


# ---- silence


def test_when_all_is_well_nothing_is_said(ready: Ready) -> None:
    """By run, by run again, by resume and by submit: cron sends no mail."""
    desk, simulator = ready
    commands = (
        ("run", "campaign.toml"),
        ("run", "campaign.toml"),
        ("resume", "1"),
        ("submit", "campaign.toml"),
        ("submit", "campaign.toml", "--again"),
        ("resume", "2"),
    )
    for command in commands:
        ended = desk.run(*command, "--quiet", *REPORTS)
        assert ended == Ended(0, "", ""), command
        assert record(desk)["outcome"] == "done"
    assert len(simulator.ledger()) == 2_400


def test_columns_that_were_not_chosen_are_no_news(ready: Ready) -> None:
    """With a mapping; in the template one that is not known may be misspelt, and is warned of."""
    desk, _ = ready
    desk.write("list.csv", "tel1,branch\n919000000001,north\n")
    warned = desk.run("run", "campaign.toml", "-q")
    assert (warned.exit, warned.err.count("\n")) == (0, 1)
    assert "list.unused_columns" in warned.err
    desk.campaign(rest='[mapping]\ncontact_numbers = "tel1"\n')
    desk.write("list.csv", "tel1,branch\n919000000002,north\n")
    assert desk.run("run", "campaign.toml", "-q") == Ended(0, "", "")


def test_whatever_needs_somebody_is_said(ready: Ready) -> None:
    """An end that is not 0 is a sentence with a command in it, also with --quiet."""
    desk, simulator = ready
    desk.contacts(1_200, bad=(3,))
    for command in (("submit", "campaign.toml"), ("resume", "1")):
        ended = desk.run(*command, "--quiet")
        assert (ended.exit, ended.out) == (1, "")
        assert "`phonon-bulk export 1 --only rejected -o mend.csv`" in ended.err
    simulator.change(flow_ids=["another1"])
    blocked = desk.run("run", "campaign.toml", "--again", "-q", *REPORTS)
    assert blocked.exit == 3
    assert "phonon-bulk resume 2" in blocked.err
    assert record(desk)["outcome"] == "blocked"
    assert "BLOCKED" in (desk.folder / "report.txt").read_text().splitlines()[0]


# ---- time


def test_time_that_is_over_ends_a_run_that_can_be_resumed(ready: Ready) -> None:
    """As SIGTERM does: exit 5, and what is left is sent later. Nobody is called twice."""
    desk, simulator = ready
    desk.contacts(60_000)
    limit(desk, simulator.url, 600)
    ended = desk.run("run", "campaign.toml", "--quiet", "--max-duration", "7s", *REPORTS)
    assert ended.exit == 5, ended.err
    assert ended.err.startswith("phonon-bulk: stopped (its --max-duration of 7s is over). What is")
    read = record(desk)
    assert read["outcome"] == "stopped"
    assert read["accepted"] < 60_000
    assert read["in_doubt"] == 0
    limit(desk, simulator.url, 30_000)
    assert desk.run("resume", "1", "-q", "--max-duration", "1h").exit == 0
    agree(desk, simulator)
    assert len(simulator.ledger()) == 60_000


def test_reading_counts(ready: Ready) -> None:
    """A list that does not come is not waited for longer than that."""
    desk, simulator = ready
    read_end, write_end = os.pipe()
    try:
        with os.fdopen(read_end, "rb") as source:
            process = desk._start(
                ("run", "campaign.toml", "-", "--quiet", "--max-duration", "3s", *REPORTS), source
            )
        ended = desk.end(process)
    finally:
        os.close(write_end)
    assert ended.exit == 5
    assert "stopped before anything was sent: its --max-duration of 3s is over" in ended.err
    assert record(desk)["run"] is None
    assert simulator.ledger() == []


def test_outside_of_the_window_nothing_is_done(ready: Ready) -> None:
    """Neither is the list looked at nor a journal made; it is said when it opens."""
    desk, simulator = ready
    (desk.folder / "list.csv").unlink()
    window = hours(*CLOSED)
    ended = desk.run("run", "campaign.toml", "--quiet", "--window", window, *REPORTS)
    assert (ended.exit, ended.out) == (5, "")
    assert f"it is outside of --window {window} (Asia/Kolkata)" in ended.err
    assert f"It opens at {datetime.now(INDIA) + timedelta(hours=6):%Y-%m-%d %H}:" in ended.err
    assert not (desk.folder / "journal.db").exists()
    assert record(desk)["run"] is None
    assert simulator.ledger() == []


def test_the_window_is_of_the_campaign_s_zone(ready: Ready) -> None:
    """And `resume` keeps to it."""
    desk, _ = ready
    desk.campaign(rest='[checks]\ntime_zone = "UTC"\n')
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    closed = desk.run("resume", "1", "--window", hours(*CLOSED))
    assert closed.exit == 5 or "(UTC)" not in closed.err  # it may be open there
    now = datetime.now(ZoneInfo("UTC"))
    first, second = (now + timedelta(hours=n) for n in OPEN)
    open_there = f"{first:%H:%M}-{second:%H:%M}"
    assert desk.run("resume", "1", "-q", "--window", open_there) == Ended(0, "", "")


@pytest.mark.parametrize(
    "flags",
    [
        ("--max-duration", "4"),
        ("--window", "10-19"),
        ("--ping", f"ftp://ping.example.com/{SECRET}"),
    ],
)
def test_flags_that_can_not_be_read(ready: Ready, flags: tuple[str, str]) -> None:
    """Exit 2, and a report of it; a URL is not repeated."""
    desk, simulator = ready
    ended = desk.run("run", "campaign.toml", *flags, *REPORTS)
    assert ended.exit == 2
    assert f"{flags[0]}: expected" in ended.err
    assert record(desk)["outcome"] == "unusable"
    assert SECRET not in ended.err + (desk.folder / "report.txt").read_text()
    assert simulator.ledger() == []


# ---- alone


def begun(desk: Desk, simulator: Simulator) -> "subprocess.Popen[str]":
    """Start a run that takes long, and wait until it sends."""
    desk.contacts(60_000)
    limit(desk, simulator.url, 120)
    process = desk.start("run", "campaign.toml", "--quiet", "--alone")
    simulator.wait_for(1)
    return process


def test_beside_another_nothing_is_done(ready: Ready) -> None:
    """The sentence names run, process, host and since when; the list is not read."""
    desk, simulator = ready
    process = begun(desk, simulator)
    ended = desk.run("run", "campaign.toml", "no-such-list.csv", "--quiet", "--alone", *REPORTS)
    assert ended.exit == 5
    named = f"run 1 of this campaign is being worked on by process {process.pid} on "
    assert named + socket.gethostname() in ended.err
    assert f"since {datetime.now().astimezone():%Y-%m-%d}" in ended.err
    assert named in record(desk)["advice"][0]
    assert desk.run("resume", "1", "--alone", "-q").exit == 5
    process.send_signal(signal.SIGTERM)
    assert desk.end(process).exit == 5
    limit(desk, simulator.url, 30_000)
    assert desk.run("run", "campaign.toml", "--quiet", "--alone").exit == 0
    agree(desk, simulator)


def test_one_that_was_killed_is_not_at_work(ready: Ready) -> None:
    """It is not by time that this is known."""
    desk, simulator = ready
    process = begun(desk, simulator)
    process.kill()
    process.communicate()
    sent = len(simulator.requests())
    ended = desk.run("run", "campaign.toml", "--alone", "-q", "--max-duration", "10s")
    assert "worked on" not in ended.err
    assert "its --max-duration of 10s is over" in ended.err
    assert len(simulator.requests()) > sent


def test_another_campaign_is_not_in_the_way(ready: Ready) -> None:
    """Nor is one without --alone kept from sharing the work."""
    desk, simulator = ready
    process = begun(desk, simulator)
    other = (desk.folder / "campaign.toml").read_text().replace("reminder", "another")
    desk.write("other.toml", other)
    desk.write("short.csv", "tel1\n919000000001\n")
    limit(desk, simulator.url, 30_000)
    assert desk.run("run", "other.toml", "short.csv", "--alone", "-q").exit == 0
    shared = desk.run("run", "campaign.toml", "-q", "--max-duration", "2s")
    assert shared.exit in {0, 5}
    process.send_signal(signal.SIGTERM)
    desk.end(process)


def first_over(processes: "list[subprocess.Popen[str]]") -> None:
    """Return when one of them has ended."""
    until = time.monotonic() + 60
    while all(process.poll() is None for process in processes):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("lists", [("list.csv", "list.csv"), ("list.csv", "other.csv")])
def test_of_two_at_the_same_second_one_goes_on(ready: Ready, lists: tuple[str, str]) -> None:
    """Two processes, started together, for the same list and for two lists."""
    desk, simulator = ready
    rows = "".join(f"9190{number:08d}\n" for number in range(20_000))
    desk.write("other.csv", f"tel1\n{rows}")
    desk.contacts(20_000)
    desk.settings(simulator.url, requests_per_minute=30_000, ramp=0.0)
    # Slow until one of them has given up: however late it begins, the other is at work.
    assert desk.run("limit", "bulk", "--requests-per-minute", "60").exit == 0
    both = [
        desk.start("run", "campaign.toml", name, "--quiet", "--alone", "--log-format", "json")
        for name in lists
    ]
    first_over(both)
    assert desk.run("limit", "bulk", "--lift").exit == 0
    ends = [desk.end(process) for process in both]
    assert sorted(end.exit for end in ends) == [0, 5]
    loser = next(number for number, end in enumerate(ends) if end.exit == 5)
    assert f"worked on by process {both[1 - loser].pid} on" in ends[loser].err
    assert len(simulator.ledger()) == 20_000
    with SqliteBooks(desk.folder / "journal.db") as books:
        assert books.at_work() == []


# ---- reports


def test_a_report_for_people_and_one_for_machines(ready: Ready) -> None:
    """The same as --json and more; a subject; for its owner alone; no contact data."""
    desk, _ = ready
    desk.contacts(1_200, bad=(3, 9))
    ended = desk.run("run", "campaign.toml", "--json", *REPORTS)
    read = record(desk)
    assert {name: read[name] for name in ended.summary} == ended.summary
    began, over = (datetime.fromisoformat(read[name]) for name in ("started_at", "ended_at"))
    assert timedelta(0) <= over - began < timedelta(minutes=2)
    text = (desk.folder / "report.txt").read_text()
    subject = "phonon-bulk run 1: finished, 2 not placed, 1,198 of 1,200 accepted (reminder)"
    assert text.splitlines()[:2] == [subject, ""]
    for name in ("report.txt", "report.json"):
        assert (desk.folder / name).stat().st_mode & 0o777 == 0o600
    both = text + (desk.folder / "report.json").read_text()
    assert not re.search(r"9198\d{4}|ACC0|Asha|प्रिया", both)
    assert [path.name for path in desk.folder.glob(".*.part")] == []


def test_a_command_that_never_began_is_reported(ready: Ready) -> None:
    """With the sentence that it ended with; a list's own words are not in it."""
    desk, _ = ready
    desk.write("list.csv", "name,mobile\nAsha,919000000001\n")
    ended = desk.run("run", "campaign.toml", *REPORTS)
    read = record(desk)
    assert (ended.exit, read["exit"], read["run"]) == (2, 2, None)
    assert f"phonon-bulk: {read['advice'][0]}" in ended.err
    assert "919000000001" not in (desk.folder / "report.txt").read_text()


def test_a_journal_that_fails_half_way_is_reported(ready: Ready) -> None:
    """As far as something can be said."""
    desk, _ = ready
    desk.write("journal.db", b"no journal at all, but something else" * 100)
    ended = desk.run("run", "campaign.toml", *REPORTS)
    assert ended.exit == 2
    assert record(desk)["outcome"] == "unusable"


def test_a_kill_leaves_no_good_report_of_last_night(ready: Ready) -> None:
    """What was written when it began is what is found."""
    desk, simulator = ready
    assert desk.run("run", "campaign.toml", "-q", *REPORTS).exit == 0
    desk.contacts(60_000)
    limit(desk, simulator.url, 120)
    process = desk.start("run", "campaign.toml", "-q", *REPORTS)
    simulator.wait_for(4)
    process.kill()
    process.communicate()
    assert record(desk)["outcome"] == "running"
    assert "no end recorded" in (desk.folder / "report.txt").read_text().splitlines()[0]


def test_a_report_that_can_not_be_written_changes_no_exit(ready: Ready) -> None:
    """It is a warning, and calls are placed all the same."""
    desk, simulator = ready
    ended = desk.run("run", "campaign.toml", "-q", "--report", "no/such/report.txt")
    assert (ended.exit, ended.out) == (0, "")
    assert "report.not_written" in ended.err
    assert len(simulator.ledger()) == 1_200


# ---- pings


def test_a_service_is_told(ready: Ready, service: Service) -> None:
    """That it began, and how it ended, with the report; the URL is in no output."""
    desk, simulator = ready
    ended = desk.run("run", "campaign.toml", "--ping", service.url, *REPORTS)
    assert ended.exit == 0
    assert service.paths == [f"/{SECRET}/start", f"/{SECRET}"]
    assert service.heard[1][2] == (desk.folder / "report.txt").read_bytes()
    simulator.change(flow_ids=["another1"])
    blocked = desk.run("run", "campaign.toml", "--again", "--ping", service.url)
    assert service.paths[2:] == [f"/{SECRET}/start", f"/{SECRET}/fail"]
    assert SECRET not in ended.out + ended.err + blocked.out + blocked.err


def test_a_service_that_is_away_fails_nothing(ready: Ready) -> None:
    """It is a warning, and calls are placed."""
    desk, simulator = ready
    ended = desk.run("run", "campaign.toml", "-q", "--ping", f"http://127.0.0.1:1/{SECRET}")
    assert (ended.exit, ended.out) == (0, "")
    assert "ping.failed" in ended.err
    assert SECRET not in ended.err
    assert len(simulator.ledger()) == 1_200


def test_a_service_that_hangs_delays_no_call(ready: Ready) -> None:
    """All calls are placed long before its time is up."""
    desk, simulator = ready
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/{SECRET}"
        began = time.monotonic()
        process = desk.start("run", "campaign.toml", "-q", "--ping", url)
        simulator.wait_for(3)
        took = time.monotonic() - began
        process.kill()
        process.communicate()
    assert took < 25  # its time-outs are 30 seconds together
