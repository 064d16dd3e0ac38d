"""`phonon-bulk doctor`, before anything is sent and with a test call."""

import os
import pty
from pathlib import Path

import pytest
from builders import FLOW_ID, SECURITY_ID
from desk import Desk, Ended, Start

from phonon_bulk.cli import trial
from phonon_bulk.cli.session import Flags
from phonon_bulk.config import EndpointName

NUMBER = "919000000001"
TEST = ("doctor", "--send-test", NUMBER, "--flow-id", FLOW_ID)


def discreet(ended: Ended) -> Ended:
    """Return how a command ended, which said nothing of the number."""
    assert NUMBER not in ended.out + ended.err
    return ended


def test_it_places_no_call(desk: Desk, simulate: Start) -> None:
    """Both endpoints answer, and nothing was posted; then only those that a campaign uses."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(10)
    ended = desk.run("doctor")
    assert ended.exit == 0, ended
    for endpoint in ("bulk", "realtime"):
        assert f"well  answer ({endpoint}) " in ended.out
    assert ended.out.splitlines()[-1].startswith("this machine can send; ")
    checks = desk.run("doctor", "campaign.toml", "--json").summary
    assert set(checks) == {"well", "checks"}
    assert {tuple(check) for check in checks["checks"]} == {("what", "grade", "found")}
    whats = {check["what"] for check in checks["checks"]}
    assert {"campaign reminder", "answer (bulk)"} <= whats
    assert "answer (realtime)" not in whats
    assert simulator.requests() == []
    assert not (desk.folder / "journal.db").exists()


def test_campaigns_that_are_not_well(desk: Desk, simulate: Start) -> None:
    """A list that is away, a flow that is not filled in, an unknown account, no campaign at all."""
    desk.settings(simulate().url)
    desk.campaign()
    text = (desk.folder / "campaign.toml").read_text()
    desk.write("flow.toml", text.replace(FLOW_ID, "CHANGEME"))
    desk.write("account.toml", text.replace('name = "reminder"', 'name = "r"\naccount = "x"'))
    desk.write("broken.toml", "[campaign\n")
    ended = desk.run("doctor", "campaign.toml", "flow.toml", "account.toml", "broken.toml")
    assert ended.exit == 2
    for words in ("list.csv", "stands for the flow's id", "there is no account", "not TOML"):
        assert words in ended.out


def test_settings_that_are_not_well(desk: Desk) -> None:
    """Everything that is wrong in them, and nothing else."""
    desk.write("phonon-bulk.toml", "[endpoints.bulk]\nworkers = 0\ntimeout = -1\n")
    ended = desk.run("doctor", "--json")
    assert (ended.exit, ended.summary["well"]) == (2, False)
    assert [check["what"] for check in ended.summary["checks"]] == ["settings"] * 2


def test_a_test_call(desk: Desk, simulate: Start) -> None:
    """One call, journaled as a run of its own; and another one after it, which is no repeat."""
    simulator = simulate()
    desk.settings(simulator.url)
    first = discreet(desk.run(*TEST, "--yes", "--endpoint", "realtime"))
    assert first.exit == 0, first
    (call,) = simulator.ledger()
    assert (call["endpoint"], call["contact-numbers"]) == ("realtime", [NUMBER])
    assert call["request-id"] in first.out
    assert call["phonon-uuid"] in first.out
    assert "run 1: the telephone should ring" in first.out
    second = discreet(desk.run(*TEST, "--yes", "--json")).summary
    assert second["test"] == {
        "run": 2,
        "state": "accepted",
        "exit": 0,
        "phonon_uuid": None,
        "request_id": simulator.ledger()[1]["request-id"],
    }
    assert (second["well"], second["checks"][-1]["what"]) == (True, "test call")
    runs = desk.run("runs")
    assert runs.out.count("doctor test") == 2
    assert desk.run("audit").exit == 0
    assert [line["contact_numbers"] for line in desk.export(1)] == [[NUMBER]]
    assert list(desk.folder.glob("*.csv")) == []


def test_a_test_call_that_is_refused(desk: Desk, simulate: Start) -> None:
    """The reason is the provider's; nothing was placed."""
    simulator = simulate("--bad-number", NUMBER)
    desk.settings(simulator.url)
    ended = discreet(desk.run(*TEST, "--yes"))
    assert (ended.exit, "refused, run 1: Invalid Contact Number" in ended.out) == (1, True), ended
    assert simulator.ledger() == []


def test_a_test_call_to_a_wrong_flow(desk: Desk, simulate: Start) -> None:
    """It is said what to mend, and it can't be sent later by mistake."""
    simulator = simulate("--flow-id", "ZZ8k000Z")
    desk.settings(simulator.url)
    ended = discreet(desk.run(*TEST, "--yes"))
    assert (ended.exit, "Correct --flow-id (it stands" in ended.out) == (3, True), ended
    assert "Invalid Flow ID" in ended.out
    later = desk.run("resume", "1", "--flow-id", "ZZ8k000Z")
    assert (later.exit, "was cancelled" in later.err) == (2, True), later
    assert simulator.ledger() == []
    assert desk.run("doctor").exit == 0


def test_a_test_call_that_can_not_be_sent(
    desk: Desk,
    simulate: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is tried for a while, and then taken back."""
    simulator = simulate("--fault", "status:429")
    desk.settings(simulator.url)
    monkeypatch.setenv("PHONON_BULK_SECURITY_ID", SECURITY_ID)
    monkeypatch.setattr(trial, "_SECONDS", 0.5)
    wish = trial.Wish(NUMBER, FLOW_ID, "default", EndpointName.BULK, yes=True)
    flags = Flags(desk.folder / "phonon-bulk.toml", str(desk.folder / "journal.db"), quiet=True)
    placed = trial.place(flags, wish)
    assert (placed.exit, placed.state) == (5, "cancelled")
    assert "It was taken back" in placed.check.found
    assert NUMBER not in placed.check.found + "".join(capsys.readouterr())
    assert desk.run("resume", "1").exit == 2
    assert simulator.ledger() == []


def test_a_test_call_in_doubt(desk: Desk, simulate: Start) -> None:
    """The telephone knows."""
    simulator = simulate("--fault", "drop-after")
    desk.settings(simulator.url, sending={"replay_within": 0})
    ended = discreet(desk.run(*TEST, "--yes"))
    assert (ended.exit, "phonon-bulk resolve 1 --all --accepted" in ended.out) == (4, True), ended
    assert desk.run("resolve", "1", "--all", "--accepted").exit == 0
    assert "none of the newest" in desk.run("doctor").out


def test_no_test_call_where_something_is_ill(desk: Desk) -> None:
    """There is nobody at the endpoint: no run is begun."""
    desk.settings("http://127.0.0.1:1")
    ended = discreet(desk.run(*TEST, "--yes", "--json"))
    assert (ended.exit, ended.summary["test"]) == (2, None)
    assert "was not placed: mend what is ill first" in ended.err
    assert not (desk.folder / "journal.db").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--send-test", NUMBER, "--flow-id", FLOW_ID), "no terminal to ask on: add --yes"),
        (
            ("--send-test", NUMBER, "--flow-id", FLOW_ID, "--yes", "--account", "x"),
            "there is no account",
        ),
    ],
)
def test_how_it_is_not_asked_for(
    desk: Desk, simulate: Start, flags: tuple[str, ...], says: str
) -> None:
    """One sentence, exit 2, nothing sent."""
    simulator = simulate()
    desk.settings(simulator.url)
    ended = discreet(desk.run("doctor", *flags))
    assert (ended.exit, says in ended.err) == (2, True), ended
    assert simulator.requests() == []


@pytest.mark.parametrize(("typed", "calls"), [("", 0), ("y", 1)])
def test_consent(desk: Desk, simulate: Start, typed: str, calls: int) -> None:
    """On a terminal it asks, and takes nothing but a yes for one."""
    simulator = simulate()
    desk.settings(simulator.url)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{typed}\n".encode())
        ended = discreet(desk.run(*TEST, stdin=Path(os.ttyname(theirs))))
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Place one real call" in ended.err
    assert (ended.exit, len(simulator.ledger())) == (0 if calls else 2, calls), ended
