"""The limit as its operator meets it: changed while it runs, refused by the provider, audited."""

import contextlib
import sqlite3
import time

import orjson
import pytest
from desk import Desk, Simulator, Start, until

from phonon_bulk.schedule import burst_of


def list_of(desk: Desk, name: str, batches: int, number: int) -> None:
    """Write a campaign and its list of so many full batches."""
    rows = (f"919{number}{row:08d},{name}-{row}" for row in range(500 * batches))
    desk.write(f"{name}.csv", "\n".join(["tel1,client-identifier", *rows]) + "\n")
    desk.write(
        f"{name}.toml",
        f'[campaign]\nname = "{name}"\nflow_id = "QG8k000A"\n[source]\npath = "{name}.csv"\n',
    )


def moments(simulator: Simulator) -> list[float]:
    """Return when requests came, in seconds since the epoch."""
    return sorted(request["received-at"] for request in simulator.requests())


def test_a_limit_is_changed_while_it_runs(desk: Desk, simulate: Start) -> None:
    """Within a second for a process that runs, kept in the journal, lifted again, and audited."""
    simulator = simulate("--no-parse")
    desk.settings(simulator.url, requests_per_minute=1200, ramp=0)
    list_of(desk, "one", 130, 7)
    running = desk.start("run", "one.toml", "-q")
    until(lambda: len(simulator.requests()) >= 20)
    assert desk.run("limit", "bulk", "--requests-per-minute", "60").exit == 0
    lowered = time.time()
    time.sleep(3)
    status = desk.run("status", "--json").summary["limit"]
    assert (status["requests_per_minute"], status["by_hand"]) == (60, True)
    assert "limit: 60 requests a minute, set by hand" in desk.run("status").out
    lifting = time.time()
    assert desk.run("limit", "bulk", "--lift").exit == 0
    lifted = time.time()
    ended = desk.end(running)
    assert ended.exit == 0
    came = moments(simulator)
    assert sum(lowered + 1 < at < lifting for at in came) <= lifting - lowered + 1
    assert sum(lifted + 1 < at < lifted + 6 for at in came) >= 20
    shown = desk.run("limit", "bulk", "--json").summary
    assert [change["requests_per_minute"] for change in shown["changes"]] == [1200, 60, 1200]
    assert [change["why"].split()[0] for change in shown["changes"]] == [
        "lifted",
        "set",
        "settings",
    ]
    audit = desk.run("audit", "--limits")
    assert audit.exit == 0
    assert "holds   bulk (default): at most 130 requests of 1,200" in audit.out


def test_the_audit_finds_an_exceeded_limit(desk: Desk, simulate: Start) -> None:
    """Exit 1, and which 60 seconds, for a run and for the whole journal."""
    simulator = simulate()
    desk.settings(simulator.url, requests_per_minute=6000)
    list_of(desk, "one", 12, 7)
    assert desk.run("run", "one.toml", "-q").exit == 0
    assert desk.run("audit", "1", "--limits").exit == 0
    with contextlib.closing(sqlite3.connect(desk.folder / "journal.db")) as journal:
        journal.execute("UPDATE limit_change SET requests = 11, calls = 6000")
        journal.commit()
    for arguments in (("audit", "--limits"), ("audit", "1", "--limits")):
        ended = desk.run(*arguments)
        assert ended.exit == 1
        assert "BROKEN  bulk (default): at most 12 requests of 11 (109.1%)" in ended.out
        assert "holds   bulk (default): at most 6,000 calls of 6,000 (100.0%)" in ended.out
    windows = desk.run("audit", "--limits", "--json").summary["windows"]
    assert [(w["unit"], w["over"]) for w in windows] == [("requests", True), ("calls", False)]
    assert desk.run("audit").exit == 1
    assert desk.run("audit", "9", "--limits").exit == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sms"], 'there is no endpoint "sms"; there are: bulk, realtime'),
        (["bulk", "--requests-per-minute", "0"], "expected 1 to 1000000000, found 0"),
        (["bulk", "--calls-per-minute", "499"], "expected 500 (one request may hold as many)"),
        (["bulk", "--lift", "--calls-per-minute", "900"], "--lift goes alone"),
        (["bulk", "--account", "south"], "there is no account"),
    ],
)
def test_what_limit_refuses(desk: Desk, arguments: list[str], sentence: str) -> None:
    """One sentence, exit 2, and nothing is changed."""
    ended = desk.run("limit", *arguments)
    assert ended.exit == 2
    assert sentence in ended.err
    assert not (desk.folder / "journal.db").exists()


def test_a_limit_before_anything_was_sent(desk: Desk, simulate: Start) -> None:
    """What the settings say is shown; what is set holds for the first run."""
    simulator = simulate()
    desk.settings(simulator.url, requests_per_minute=600)
    assert desk.run("limit", "bulk").out == "bulk (default): 600 requests a minute\n"
    assert desk.run("limit", "bulk", "--calls-per-minute", "60000").exit == 0
    list_of(desk, "one", 3, 7)
    summary = desk.run("run", "one.toml", "--json").summary
    assert summary["limit"]["calls_per_minute"] == 60_000
    assert summary["limit"]["requests_per_minute"] == 600


def test_the_provider_says_too_many(desk: Desk, simulate: Start) -> None:
    """All processes rest, go on slower, and say so; no batch is the worse for it."""
    simulator = simulate("--no-parse", "--bulk-requests", "25")
    desk.settings(simulator.url, requests_per_minute=1200, ramp=0, workers=4)
    list_of(desk, "one", 14, 7)
    list_of(desk, "two", 14, 8)
    running = [desk.start("run", f"{name}.toml", "--json") for name in ("one", "two")]
    until(lambda: any(request["status"] == 429 for request in simulator.requests()))
    time.sleep(1)
    told = len(simulator.requests())
    status = desk.run("status", "--json").summary["limit"]
    assert status["why"] == "HTTP 429: too many requests"
    assert status["requests_per_minute"] == 1200
    assert status["requests_per_minute_now"] <= 700
    # One of them may have been through before the first no.
    open_run = next(
        run for run in ("1", "2") if desk.run("status", run, "--json").summary["to_send"]
    )
    assert "now" in desk.run("status", open_run).out
    time.sleep(3)
    assert len(simulator.requests()) <= told + 8  # both rest, and ask now and then
    simulator.change(bulk_requests_per_minute=None)
    for process in running:
        ended = desk.end(process)
        assert ended.exit == 0
        assert (ended.summary["accepted"], ended.summary["refused"]) == (7_000, 0)


def test_it_rests_as_long_as_the_provider_says(desk: Desk, simulate: Start) -> None:
    """A Retry-After of most of a minute is obeyed by a second command that was never told no."""
    simulator = simulate("--no-parse", "--bulk-requests", "25", "--retry-after", "seconds")
    desk.settings(simulator.url, requests_per_minute=1200, ramp=0, workers=4)
    list_of(desk, "one", 40, 7)
    list_of(desk, "two", 4, 8)
    first = desk.start("run", "one.toml", "-q")
    until(lambda: any(request["status"] == 429 for request in simulator.requests()))
    time.sleep(1)
    told = len(simulator.requests())
    second = desk.start("run", "two.toml", "-q")
    time.sleep(4)
    assert len(simulator.requests()) == told
    for process in (first, second):
        process.terminate()
        assert desk.end(process).exit == 5


def test_real_time_does_not_wait_behind_bulk(desk: Desk, simulate: Start) -> None:
    """A run on the real-time endpoint has all of its own limit while bulk uses up the other."""
    simulator = simulate("--no-parse", "--realtime-requests", "0")
    desk.settings(simulator.url, requests_per_minute=120, ramp=0)
    list_of(desk, "one", 60, 7)
    list_of(desk, "two", 12, 8)
    campaign = (desk.folder / "two.toml").read_text()
    desk.write("two.toml", campaign.replace("[source]", 'endpoint = "realtime"\n[source]'))
    bulk = desk.start("run", "one.toml", "-q")
    until(lambda: len(simulator.requests()) >= 2)
    ended = desk.run("run", "two.toml", "--json")
    assert ended.exit == 0
    of_realtime = [r["received-at"] for r in simulator.requests() if r["endpoint"] == "realtime"]
    took = max(of_realtime) - min(of_realtime)
    early = burst_of("realtime") + 0.15  # and late leaving of the first
    assert 11 * 0.5 - early <= took < 11 * 0.5 + 2
    bulk.terminate()
    assert desk.end(bulk).exit == 5


def test_the_progress_says_what_holds_now(desk: Desk, simulate: Start) -> None:
    """The lines of a run off a terminal have the limit, the present rate and why."""
    simulator = simulate("--no-parse", "--bulk-requests", "10")
    desk.settings(simulator.url, requests_per_minute=600, ramp=0, workers=2)
    list_of(desk, "one", 30, 7)
    running = desk.start("run", "one.toml", "--log-format", "json")
    until(lambda: any(request["status"] == 429 for request in simulator.requests()))
    time.sleep(6)
    running.terminate()
    ended = desk.end(running)
    lines = [orjson.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    (said, *_) = [line for line in lines if line.get("limit_why", "").startswith("HTTP 429")]
    assert said["limit"] == "600 requests a minute"
    assert said["limit_now"] != said["limit"]
