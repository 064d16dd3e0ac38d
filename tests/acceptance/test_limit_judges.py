"""The limit as others count it: HAProxy and nginx stand before the provider and deny nothing.

However many commands send at once, and however often they are killed and started again, they keep
one limit together. The last test holds that the judges do deny what they are there to deny.
"""

import signal
import subprocess
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from statistics import median
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from builders import FLOW_ID
from desk import PATIENCE, Desk, Ended, Simulator, Start, until
from judges import Court, Judge, Law, Sit, court

from phonon_bulk.batch import State
from phonon_bulk.journal.books import SqliteBooks

__all__ = ["court"]

HEADROOM = 0.5
RATE = 40
LAW = Law(requests_per_minute=int(RATE * (60 + HEADROOM)), headroom=HEADROOM)
"""A limit of which nginx can be told the rate: it takes whole requests a minute only."""

BATCH = 500
"""Contacts of which one request is made."""

WINDOW = 5.0
"""Seconds over which it is counted how much of the limit is used."""

KILLS = 4
LIFE = 1.0
"""Seconds from the first batch that a command has sent until it is killed; with its start, about
two from one kill to the next."""


def settings(desk: Desk, judge: Judge) -> None:
    """Let everything be sent to a judge, under the law that it knows, at full rate at once."""
    desk.settings(
        judge.url,
        requests_per_minute=LAW.requests_per_minute,
        headroom=LAW.headroom,
        ramp=0,
        sending={"replay_after": 0.2},
    )


def campaign(desk: Desk, number: int, batches: int) -> str:
    """Write a campaign with so many batches of contacts that no other has; return its file."""
    name = f"campaign-{number}.toml"
    desk.write(
        name,
        f'[campaign]\nname = "reminder {number}"\nflow_id = "{FLOW_ID}"\n'
        f'[source]\npath = "list-{number}.csv"\n',
    )
    numbers = (f"919{number}{row:08d}" for row in range(batches * BATCH))
    desk.write(f"list-{number}.csv", "\n".join(["tel1", *numbers]) + "\n")
    return name


def nothing_denied(simulator: Simulator, *judges: Judge) -> None:
    """Hold that each judge has seen whatever the provider received, and denied none of it.

    What is denied is sent again, so a denial was noted long before the last request was.
    """
    received = len(simulator.requests())
    until(lambda: all(judge.seen >= received for judge in judges))
    assert all(judge.denied == 0 for judge in judges), [judge.report() for judge in judges]


def denied(judges: Sequence[Judge]) -> bool:
    """Say whether anything was denied by now."""
    return any(judge.denied for judge in judges)


def end(
    desk: Desk, runs: Sequence["subprocess.Popen[str]"], judges: Sequence[Judge]
) -> list[Ended]:
    """Wait until commands have ended. With the first denial all is said, and they are killed."""
    deadline = time.monotonic() + PATIENCE
    while any(run.poll() is None for run in runs) and not denied(judges):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for run in runs:
        run.kill()
    return [desk.end(run) for run in runs]


def windows(simulator: Simulator, after: float) -> list[int]:
    """Return what came in the `WINDOW` seconds from each request on that came late enough.

    The start (the first `after` seconds) and windows that outlast the run are left out.
    """
    times = sorted(request["received-at"] for request in simulator.requests())
    return [
        bisect_left(times, begin + WINDOW) - first
        for first, begin in enumerate(times)
        if times[0] + after <= begin <= times[-1] - WINDOW
    ]


def test_one_run_uses_the_limit_to_the_full(desk: Desk, simulate: Start, court: Court) -> None:
    """HAProxy never denies, and all but a fiftieth of the limit is used, window by window."""
    simulator = simulate("--no-parse")
    judge = court.haproxy(simulator.url, LAW)
    settings(desk, judge)
    run = desk.start("run", campaign(desk, 1, 10 * RATE), "--json")
    ended = end(desk, [run], [judge])[0]
    nothing_denied(simulator, judge)
    assert (ended.exit, ended.summary["accepted"]) == (0, 10 * RATE * BATCH)
    # The median: a machine that stands still for a moment costs the windows around it.
    full = LAW.requests_per_minute * WINDOW / 60
    assert median(windows(simulator, after=1.0)) >= 0.98 * full - 1


def test_four_runs_keep_one_limit(desk: Desk, simulate: Start, court: Court) -> None:
    """Four commands at once, each with a list of its own: neither judge denies any of them."""
    simulator = simulate("--no-parse")
    inner = court.nginx(simulator.url, LAW)
    outer = court.haproxy(inner.url, LAW)
    settings(desk, outer)
    batches = 2 * RATE
    campaigns = [campaign(desk, number, batches) for number in range(1, 5)]
    runs = [desk.start("run", name, "--json") for name in campaigns]
    ended = end(desk, runs, [inner, outer])
    nothing_denied(simulator, inner, outer)
    assert [one.exit for one in ended] == [0] * 4
    assert [one.summary["accepted"] for one in ended] == [batches * BATCH] * 4


def accepted(desk: Desk, run: int) -> int:
    """Return how many batches of a run are accepted so far."""
    with SqliteBooks(desk.folder / "journal.db") as books:
        return books.counts(run).batches.get(State.ACCEPTED, 0)


def killed_under_way(desk: Desk, name: str, run: int, judges: Sequence[Judge]) -> bool:
    """Start a campaign and kill it a while after it began to send; say False if it ended first."""
    before = accepted(desk, run)
    process = desk.start("run", name, "-q")
    until(lambda: process.poll() is not None or accepted(desk, run) > before or denied(judges))
    try:
        process.communicate(timeout=LIFE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == -signal.SIGKILL


def test_killed_beside_another_run(desk: Desk, simulate: Start, court: Court) -> None:
    """A run is killed and started again, over and over, and adds nothing to what another uses."""
    simulator = simulate()
    inner = court.nginx(simulator.url, LAW)
    outer = court.haproxy(inner.url, LAW)
    judges = [inner, outer]
    settings(desk, outer)
    sizes = {1: 3 * RATE, 2: 4 * RATE}
    victim, other = (campaign(desk, number, batches) for number, batches in sizes.items())
    assert desk.run("submit", victim, "-q").exit == 0  # so this is run 1
    beside = desk.start("run", other, "-q")
    kills = 0
    while kills < KILLS and not denied(judges) and killed_under_way(desk, victim, 1, judges):
        kills += 1
    ended = end(desk, [desk.start("run", victim, "-q"), beside], judges)
    nothing_denied(simulator, *judges)
    assert [one.exit for one in ended] == [0, 0]
    assert kills > 1
    placed_once(desk, simulator, sizes)


def placed_once(desk: Desk, simulator: Simulator, sizes: dict[int, int]) -> None:
    """Hold that every contact of every run was placed once, and is accepted in the journal."""
    calls = sum(sizes.values()) * BATCH
    times = Counter(call["contact-numbers"][0] for call in simulator.ledger())
    assert (len(times), set(times.values())) == (calls, {1})
    lines = [line for run in sizes for line in desk.export(run)]
    assert len(lines) == calls
    assert {line["state"] for line in lines} == {"accepted"}
    assert desk.run("audit").exit == 0


def naive(url: str, requests: int, per_second: float) -> Counter[int]:
    """Send so many requests at a steady rate, heedless of answers; return the HTTP statuses."""
    statuses: Counter[int] = Counter()
    begin = time.monotonic()
    for number in range(requests):
        time.sleep(max(0.0, begin + number / per_second - time.monotonic()))
        post = Request(  # noqa: S310 - our own, on loopback
            url + "/bulk/kairos-apis/outbound/create", str(number).encode(), method="POST"
        )
        try:
            with urlopen(post, timeout=10) as answer:  # noqa: S310 - our own, on loopback
                statuses[answer.status] += 1
        except HTTPError as error:
            error.close()
            statuses[error.code] += 1
    return statuses


@pytest.mark.parametrize("sit", [Court.haproxy, Court.nginx])
def test_a_naive_client_is_denied(simulate: Start, court: Court, sit: Sit) -> None:
    """What the law lets through at once is let through; who sends at twice the limit is denied."""
    simulator = simulate()
    judge = sit(court, simulator.url, LAW)
    allowed, many = LAW.most(0), 7 * RATE
    assert naive(judge.url, allowed, per_second=2 * RATE) == {200: allowed}
    statuses = naive(judge.url, many, per_second=2 * RATE)
    until(lambda: judge.seen == allowed + many)
    assert statuses[429] == judge.denied > 0
    assert statuses[200] + allowed == len(simulator.requests())
