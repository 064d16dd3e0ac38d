"""The whole way: from a contact list to recorded request-ids."""

import csv
import os
import pty
import signal
import subprocess
import sys
import time

import orjson
import pytest
from builders import FLOW_ID
from desk import COMMAND, Desk, Start, agree, json_lines, until
from pyarrow import parquet

SUMMARY_KEYS = (
    *("run", "campaign", "state", "rows", "rejected", "suppressed", "duplicates", "calls"),
    *("accepted", "refused", "expired", "cancelled", "in_doubt", "to_send"),
    *("batches", "requests", "seconds", "exit"),
)


def test_every_contact_is_accounted_for(desk: Desk, simulate: Start) -> None:
    """A list with bad rows: all good ones are accepted, the books agree call by call."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(1203, bad=(7, 1000))
    ended = desk.run("run", "campaign.toml", "--json")
    summary = ended.summary
    assert set(SUMMARY_KEYS) <= set(summary)
    assert ended.exit == summary["exit"] == 1
    assert (summary["rows"], summary["rejected"], summary["accepted"]) == (1203, 2, 1201)
    assert (summary["batches"], summary["requests"], summary["to_send"]) == (3, 3, 0)
    agree(desk, simulator)
    rejected = [line for line in desk.export() if line["state"] == "rejected"]
    assert [line["row"] for line in rejected] == [7, 1000]
    assert all("tel1" in line["reason"] for line in rejected)
    assert [line["row"] for line in desk.export()] == list(range(1, 1204))


def test_all_accepted_is_exit_0(desk: Desk, simulate: Start) -> None:
    """Exit 0 says that every contact was accepted; the summary says it in words."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(600)
    ended = desk.run("run", "campaign.toml")
    assert ended.exit == 0
    assert "run 1 · reminder · done" in ended.out
    assert "= accepted             600" in ended.out


def test_real_time_records_phonon_uuids(desk: Desk, simulate: Start) -> None:
    """The real-time endpoint's call-details give every contact its phonon-uuid."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(endpoint="realtime")
    desk.contacts(700)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    uuids = {line["client_identifier"]: line["phonon_uuid"] for line in desk.export()}
    theirs = {call["client-identifier"]: call["phonon-uuid"] for call in simulator.ledger()}
    assert uuids == theirs
    assert len(set(uuids.values())) == 700


def test_the_three_exports_say_the_same(desk: Desk, simulate: Start) -> None:
    """CSV, NDJSON and Parquet hold the same lines, and only their owner can read them."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(510, bad=(3,))
    desk.run("run", "campaign.toml", "-q")
    for name in ("out.csv", "out.ndjson", "out.parquet"):
        assert desk.run("export", "1", "-o", name).exit == 0
        assert (desk.folder / name).stat().st_mode & 0o777 == 0o600
    with (desk.folder / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    ndjson = json_lines(desk.folder / "out.ndjson")
    table = parquet.read_table(desk.folder / "out.parquet").to_pylist()
    assert list(lines[0]) == list(ndjson[0]) == list(table[0])
    for text, record, row in zip(lines, ndjson, table, strict=True):
        assert record["contact_numbers"] == row["contact_numbers"]
        assert text["contact_numbers"] == " ".join(record["contact_numbers"])
        for name in ("row", "client_identifier", "state", "reason", "request_id", "batch"):
            assert record[name] == row[name]
            assert text[name] == ("" if record[name] is None else str(record[name]))
        assert text["settled_at"] == (record["settled_at"] or "")
        moment = row["settled_at"]
        assert (moment and moment.isoformat(timespec="seconds")) == record["settled_at"]


def test_submit_then_resume(desk: Desk, simulate: Start) -> None:
    """`submit` sends nothing; `resume` sends it all; `runs` and `status` tell."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(501)
    submitted = desk.run("submit", "campaign.toml", "--json")
    assert (submitted.exit, submitted.summary["to_send"]) == (0, 501)
    assert simulator.requests() == []
    assert desk.run("status", "--json").summary["state"] == "sending"
    assert desk.run("resume", "1", "-q").exit == 0
    assert desk.run("status", "1", "--json").summary["state"] == "done"
    (listed,) = desk.run("runs", "--json").summary["runs"]
    assert (listed["run"], listed["accepted"]) == (1, 501)
    agree(desk, simulator)


def test_resuming_what_is_done_sends_nothing(desk: Desk, simulate: Start) -> None:
    """A run that is finished says so again, and no request goes out."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(10)
    desk.run("run", "campaign.toml", "-q")
    assert desk.run("resume", "1", "--json").summary["accepted"] == 10
    assert len(simulator.requests()) == 1


def test_the_list_on_the_command_line_wins(desk: Desk, simulate: Start) -> None:
    """Lists named after the campaign are read instead of its own."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(path="not-there.csv")
    desk.contacts(20)
    assert desk.run("run", "campaign.toml", "list.csv", "-q").exit == 0
    assert len(simulator.ledger()) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed(desk: Desk, simulate: Start, number: signal.Signals) -> None:
    """Told to stop half-way, it ends with 5; resumed, every call was placed exactly once."""
    simulator = simulate("--fault", "delay:0.1")
    desk.settings(simulator.url, workers=2)
    desk.campaign()
    desk.contacts(20_000, bad=(5,))
    process = desk.start("run", "campaign.toml", "--json")
    simulator.wait_for(4)
    process.send_signal(number)
    stopped = desk.end(process)
    assert stopped.exit == 5
    assert "phonon-bulk resume 1" in stopped.err
    sent = len(simulator.requests())
    assert 4 <= sent < 40
    assert stopped.summary["accepted"] == 500 * sent
    assert stopped.summary["in_doubt"] == 0
    assert desk.run("resume", "1", "-q").exit == 1
    assert len({call["client-identifier"] for call in simulator.ledger()}) == 19_999
    assert len(simulator.ledger()) == 19_999
    agree(desk, simulator)


def test_a_second_signal_stops_at_once(desk: Desk, simulate: Start) -> None:
    """Two signals: posts under way are in doubt, not lost, and said to be so."""
    simulator = simulate("--fault", "delay:30")
    desk.settings(simulator.url, workers=2)
    desk.campaign()
    desk.contacts(2000)
    process = desk.start("run", "campaign.toml", "--json")
    until(lambda: desk.run("status", "1", "--json").out.count('"requests":2') == 1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # within a second, it is the same one, delivered twice
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stopped = desk.end(process)
    assert stopped.exit == 5
    assert (stopped.summary["in_doubt"], stopped.summary["to_send"]) == (1000, 1000)


def test_one_bad_call_costs_only_itself(desk: Desk, simulate: Start) -> None:
    """A number that only the provider knows to be bad is found by splitting, and refused alone."""
    simulator = simulate("--bad-number", "919800000777")
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(1500)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["refused"], ended.summary["accepted"]) == (1, 1, 1499)
    assert ended.summary["requests"] <= 3 + 18
    (refused,) = [line for line in desk.export() if line["state"] == "refused"]
    assert (refused["row"], refused["reason"]) == (777, "Invalid Contact Number (205)")
    agree(desk, simulator)


def test_partial_success_settles_each_call(desk: Desk, simulate: Start) -> None:
    """Of a partial success, the calls that are listed are accepted and the others refused."""
    simulator = simulate("--partial-success", "--bad-number", "919800000300")
    desk.settings(simulator.url)
    desk.campaign(endpoint="realtime")
    desk.contacts(500)
    summary = desk.run("run", "campaign.toml", "--json").summary
    assert (summary["accepted"], summary["refused"], summary["requests"]) == (499, 1, 1)
    (refused,) = [line for line in desk.export() if line["state"] == "refused"]
    assert refused["row"] == 300
    agree(desk, simulator)


def test_a_lost_answer_is_settled_by_proof(desk: Desk, simulate: Start) -> None:
    """The same bytes again: Checksum Repeated proves that they were taken, and it is shown."""
    simulator = simulate("--fault", "drop-after#2")
    desk.settings(simulator.url, workers=1, sending={"replay_after": 0.2})
    desk.campaign()
    desk.contacts(1500)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["accepted"], ended.summary["requests"]) == (0, 1500, 4)
    proved = [line for line in desk.export() if line["request_id"] is None]
    assert len(proved) == 500
    assert {line["state"] for line in proved} == {"accepted"}
    assert all("lost" in line["reason"] for line in proved)
    assert len(simulator.ledger()) == 1500


def test_an_old_doubt_waits_for_a_person(desk: Desk, simulate: Start) -> None:
    """Exit 4; `resolve` lists it and settles it as told, and says who did it."""
    simulator = simulate("--fault", "drop-after#2", "--fault", "drop-before#3")
    desk.settings(simulator.url, workers=1, sending={"replay_within": 0})
    desk.campaign()
    desk.contacts(2000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["in_doubt"], ended.summary["accepted"]) == (4, 1000, 1000)
    assert "phonon-bulk resolve 1" in ended.err
    assert desk.run("resume", "1", "-q").exit == 4
    assert len(simulator.requests()) == 4
    listed = desk.run("resolve", "1")
    assert "1,000 calls are in doubt" in listed.out
    assert "500 calls from row 501 on; sent once, at 20" in listed.out
    assert "settled by proof" not in listed.out
    within = {"PHONON_BULK_SENDING__REPLAY_WITHIN": "3600"}
    desk.environment = within
    assert "may still be settled by proof: `phonon-bulk resume 1`" in desk.run("resolve", "1").out
    desk.environment = {}
    first, second = (d["batch"] for d in desk.run("resolve", "1", "--json").summary["doubts"])
    assert desk.run("resolve", "1", str(first), "--accepted").exit == 0
    assert desk.run("resolve", "1", str(second), "--resend").exit == 0
    assert desk.run("resume", "1", "-q").exit == 0
    assert len(simulator.ledger()) == 2000
    by_hand = [line for line in desk.export() if line["batch"] == first]
    assert all("according to" in line["reason"] for line in by_hand)
    assert "nothing of run 1 is in doubt" in desk.run("resolve", "1").out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--accepted"], "--all"),
        (["--all"], "--accepted, --resend or --abandon"),
        (["--all", "--accepted", "--resend"], "not several"),
        (["7", "--accepted"], "batch 7 is not in doubt"),
        (["--all", "--accepted"], "nothing of this run is in doubt"),
    ],
)
def test_resolve_asks_for_what_it_needs(
    desk: Desk, simulate: Start, flags: list[str], words: str
) -> None:
    """Whatever is missing or contradicts is said, and nothing is settled."""
    desk.settings(simulate().url)
    desk.campaign()
    desk.contacts(3)
    desk.run("run", "campaign.toml", "-q")
    ended = desk.run("resolve", "1", *flags)
    assert ended.exit == 2
    assert words in ended.err


def test_the_same_list_is_sent_once(desk: Desk, simulate: Start) -> None:
    """Started again, a list that is done is not sent again; a changed one is; --again sends it."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(
        rest='[mapping]\ncontact_numbers = "tel1"\nclient_identifier = "client-identifier"\n'
        'start_time = "2099-01-01T10:00:00+05:30"\n'
    )
    desk.contacts(600, bad=(3,))
    assert desk.run("run", "campaign.toml", "-q").exit == 1
    again = desk.run("run", "campaign.toml")
    assert again.exit == 0
    assert "done, run 1" in again.out
    submitted = desk.run("submit", "campaign.toml")
    assert (submitted.exit, "done, run 1" in submitted.out) == (0, True)
    assert "sends it" not in submitted.err
    assert desk.run("run", "campaign.toml", "--json").summary["run"] == 1
    assert len(simulator.ledger()) == 599
    assert desk.run("run", "campaign.toml", "--again", "--json").summary["accepted"] == 599
    assert len(simulator.ledger()) == 2 * 599
    assert "done, run 2" in desk.run("run", "campaign.toml").out
    desk.contacts(601)
    assert desk.run("run", "campaign.toml", "--json").summary["run"] == 3


def test_started_twice_at_once(desk: Desk, simulate: Start) -> None:
    """Cron starts the job twice: both work on one run, and every call is placed exactly once."""
    simulator = simulate("--fault", "delay:0.05")
    desk.settings(simulator.url, workers=2)
    desk.campaign()
    desk.contacts(20_000)
    both = [desk.start("run", "campaign.toml", "-q") for _ in range(2)]
    ended = [desk.end(process) for process in both]
    assert [one.exit for one in ended] == [0, 0], ended
    assert [run["run"] for run in desk.run("runs", "--json").summary["runs"]] == [1]
    assert len(simulator.ledger()) == 20_000
    agree(desk, simulator)


def test_a_mended_campaign_goes_on(desk: Desk, simulate: Start) -> None:
    """After a wrong flow id was corrected in the campaign, `run` sends what was not sent."""
    simulator = simulate("--flow-id", "RIGHT000")
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(1000)
    assert desk.run("run", "campaign.toml", "-q").exit == 3
    text = (desk.folder / "campaign.toml").read_text()
    desk.write("campaign.toml", text.replace(FLOW_ID, "RIGHT000"))
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["run"]) == (0, 1)
    assert len(simulator.ledger()) == 1000


def test_killed_and_resumed(desk: Desk, simulate: Start) -> None:
    """SIGKILL half-way: `resume` goes on at once, and every call was placed exactly once."""
    simulator = simulate("--fault", "delay:0.1")
    desk.settings(simulator.url, workers=4, sending={"replay_after": 0.2})
    desk.campaign()
    desk.contacts(20_000)
    process = desk.start("run", "campaign.toml")
    simulator.wait_for(4)
    process.kill()
    assert desk.end(process).exit == -signal.SIGKILL
    ended = desk.run("resume", "1", "--json")
    assert ended.exit == 0
    assert ended.summary["seconds"] < 30  # not the minute that the leases of the dead run on
    identifiers = [call["client-identifier"] for call in simulator.ledger()]
    assert len(identifiers) == len(set(identifiers)) == 20_000
    assert list(desk.folder.glob("*-alive-*")) == []


def test_throttled_requests_are_sent_again(desk: Desk, simulate: Start) -> None:
    """HTTP 429 was not taken: the endpoint rests, and the same batch goes out later."""
    simulator = simulate("--fault", "status:429#2", "--retry-after", "seconds")
    desk.settings(simulator.url, sending={"back_off_first": 0.1})
    desk.campaign()
    desk.contacts(1500)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["accepted"], ended.summary["requests"]) == (0, 1500, 4)
    assert "endpoint.resting" in ended.err
    agree(desk, simulator)


def test_the_limit_shapes_the_requests(desk: Desk, simulate: Start) -> None:
    """At the server, no stretch of time holds more requests than the bucket lets through.

    But for those under way: a machine that stalls for longer than the slack delivers them at once.
    """
    simulator = simulate()
    limit, slack, workers = 3000, 0.5, 8
    desk.settings(simulator.url, requests_per_minute=limit, workers=workers)
    desk.campaign()
    desk.contacts(40_000)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    moments = sorted(request["received-at"] for request in simulator.requests())
    assert len(moments) == 80
    for first in range(80):
        for last in range(first, 80):
            span = moments[last] - moments[first]
            assert last - first + 1 <= 3 + workers + limit / 60 * (span + slack)


@pytest.mark.parametrize("flags", [[], ["--no-uvloop"]])
def test_both_event_loops(desk: Desk, simulate: Start, flags: list[str]) -> None:
    """The loop uvloop is the default and can be turned off by a flag."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(501)
    assert desk.run("run", "campaign.toml", "-q", *flags).exit == 0
    agree(desk, simulator)


def test_json_alone_on_standard_output(desk: Desk, simulate: Start) -> None:
    """With --json, standard output is one JSON object; log lines are JSON off a terminal."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(5)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.out.count("\n") == 1
    events = [orjson.loads(line)["event"] for line in ended.err.splitlines()]
    assert "run.opened" in events


def test_quiet_says_nothing(desk: Desk, simulate: Start) -> None:
    """A quiet run that goes well prints nothing at all."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(5)
    ended = desk.run("run", "campaign.toml", "--quiet")
    assert (ended.exit, ended.out, ended.err) == (0, "", "")


def test_a_bar_on_a_terminal(desk: Desk, simulate: Start) -> None:
    """On a terminal there is a bar with accepted contacts, rate and use of the limit."""
    simulator = simulate("--fault", "delay:0.3")
    desk.settings(simulator.url, workers=1)
    desk.campaign()
    desk.contacts(2000)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "run", "campaign.toml"],
        cwd=desk.folder,
        env={**desk._environment(), "TERM": "xterm", "COLUMNS": "160"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the other side of the terminal is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    assert b"accepted" in shown
    assert b"of the limit" in shown
    assert b"left" in shown


def test_help_is_light(desk: Desk) -> None:
    """`--help` loads none of the heavy libraries; that is what makes it quick."""
    script = (
        "import sys, phonon_bulk.cli; "
        "print(sorted({'duckdb', 'pyarrow', 'aiohttp', 'pydantic', 'orjson', 'structlog', "
        "'sqlite3', 'asyncio'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert "Usage" in desk.run("--help").out
    for command in ("run", "submit", "resume", "resolve", "runs", "status", "export", "simulate"):
        assert desk.run(command, "--help").exit == 0


def test_the_journal_holds_no_secret(desk: Desk, simulate: Start) -> None:
    """The security id is in no file of the journal, and only its owner can read these."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(5)
    desk.run("run", "campaign.toml", "-q")
    for file in desk.folder.glob("journal.db*"):
        assert file.stat().st_mode & 0o777 == 0o600
        assert desk._environment()["PHONON_BULK_SECURITY_ID"].encode() not in file.read_bytes()
    assert FLOW_ID.encode() in (desk.folder / "journal.db").read_bytes()
