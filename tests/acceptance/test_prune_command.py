"""`phonon-bulk prune`: what it deletes, what it says, and what the other commands say after it."""

import re
from pathlib import Path

import orjson
import pytest
from desk import Desk, Ended, Start

SABOTEUR = str(Path(__file__).parents[1] / "saboteur")
DUPLICATES = '[checks]\nduplicates = "drop"\nduplicates_days = 60\n'


@pytest.fixture
def sent(desk: Desk, simulate: Start) -> Desk:
    """Return a desk where a list of 700 rows was sent, two of which are no calls."""
    desk.settings(simulate().url)
    desk.campaign(rest=DUPLICATES)
    desk.contacts(700, bad=(7, 30))
    assert desk.run("run", "campaign.toml", "-q").exit == 1
    return desk


def in_40_days(desk: Desk, *arguments: str) -> Ended:
    """Run a command as if so much time had passed."""
    clock = desk.write("clock", str(40 * 86_400))
    desk.environment = {"PYTHONPATH": SABOTEUR, "SABOTEUR_CLOCK": str(clock)}
    try:
        return desk.run(*arguments)
    finally:
        desk.environment = {}


def identifiers_in(desk: Desk) -> set[bytes]:
    """Return the client-identifiers of the list that stand in the journal's files."""
    data = b"".join(file.read_bytes() for file in desk.folder.glob("journal.db*"))
    return set(re.findall(rb"ACC0\d{5}", data))


def test_what_it_says_and_what_is_left(sent: Desk) -> None:
    """Counts and reasons stay; whom the run called can't be exported any more, and that is said."""
    before = sent.run("status", "1", "--json").summary
    assert identifiers_in(sent) == {b"ACC000007", b"ACC000030"}  # the others are compressed
    ended = in_40_days(sent, "prune", "--older-than", "30")
    assert ended.exit == 0, ended.err
    assert re.match(r"contact data of 1 runs \(698 calls\) is deleted: 0\.\d MB; the", ended.out)
    assert identifiers_in(sent) == set()
    for arguments in (["-o", "all.csv"], ["--only", "rejected", "-o", "mend.csv"]):
        refused = sent.run("export", "1", *arguments)
        assert refused.exit == 2
        assert "the contact data of run 1 was deleted on 20" in refused.err
        assert "`phonon-bulk status 1`" in refused.err
        assert not (sent.folder / arguments[-1]).exists()
    after = sent.run("status", "1", "--json").summary
    assert after.pop("pruned_at")
    assert before.pop("pruned_at") is None
    assert after == before
    assert "its contact data was deleted on 20" in sent.run("status", "1").out
    audit = sent.run("audit")
    assert (audit.exit, audit.out.count("holds ")) == (0, 5)
    assert "0 bodies; 2 more were pruned" in audit.out
    found = sent.run("run", "campaign.toml", "--json").summary  # the list is known still
    assert (found["run"], found["state"]) == (1, "done")
    assert in_40_days(sent, "prune", "--older-than", "30").out == "there is nothing to prune\n"


def test_a_dry_run_deletes_nothing(sent: Desk) -> None:
    """It says the same numbers as the real one, and leaves all as it is."""
    dry = in_40_days(sent, "prune", "--older-than", "30", "--dry-run", "--json").summary
    assert (dry["dry_run"], dry["runs"], dry["calls"]) == (True, [1], 698)
    assert len(sent.export()) == 700
    words = in_40_days(sent, "prune", "--older-than", "30", "--dry-run").out
    assert "would be deleted" in words
    done = in_40_days(sent, "prune", "--older-than", "30", "--json").summary
    assert {**done, "dry_run": True, "file_bytes": 0, "file_bytes_before": 0} == {
        **dry,
        "file_bytes": 0,
        "file_bytes_before": 0,
    }


def test_duplicates_of_pruned_runs_are_said_not_to_be_known(sent: Desk) -> None:
    """A run that should leave out whom an earlier one called says for which ones it can't."""
    in_40_days(sent, "prune", "--older-than", "30", "-q")
    sent.contacts(702)
    ended = sent.run("run", "campaign.toml", "--json", "--log-format", "json")
    lines = [orjson.loads(line) for line in ended.err.splitlines()]
    (warning,) = [line for line in lines if line["event"] == "duplicates.unknown"]
    assert (warning["level"], warning["runs"]) == ("warning", [1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", warning["opened_on"][0])
    assert "60 days" in warning["what"]
    assert ended.summary["duplicates"] == 0


def test_runs_that_are_too_young_or_not_there(sent: Desk) -> None:
    """Whoever names a run is told why it can't be pruned, and nothing is deleted."""
    young = sent.run("prune", "--older-than", "0", "--run", "1")
    assert young.exit == 2
    assert "run 1 did not end more than 0 days ago" in young.err
    missing = sent.run("prune", "--older-than", "0", "--run", "9")
    assert (missing.exit, "there is no run 9" in missing.err) == (2, True)
    assert sent.run("prune").exit == 2
    assert sent.run("prune", "--older-than", "-1").exit == 2
    elsewhere = sent.run("prune", "--older-than", "1", "--journal", "sqlite:none.db")
    assert (elsewhere.exit, "there is no journal" in elsewhere.err) == (2, True)
    assert len(sent.export()) == 700


def test_a_run_that_has_not_ended_is_named(desk: Desk, simulate: Start) -> None:
    """It is left alone, with the reason; for whoever names it, that is an error."""
    desk.settings(simulate().url)
    desk.campaign()
    desk.contacts(10)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    ended = in_40_days(desk, "prune", "--older-than", "30")
    assert ended.exit == 0
    assert "1 runs are as old and have not ended; left alone:" in ended.out
    assert "run 1: calls are still to be sent" in ended.out
    named = in_40_days(desk, "prune", "--older-than", "30", "--run", "1")
    assert named.exit == 2
    assert "run 1 has not ended: calls are still to be sent" in named.err
    assert len(desk.export()) == 10


def test_beside_a_run_that_is_sent(desk: Desk, simulate: Start) -> None:
    """Both go on: all of the new list is sent once, and all of the old one is deleted."""
    simulator = simulate()
    desk.settings(simulator.url, requests_per_minute=600, workers=2)
    desk.campaign()
    desk.contacts(3000)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    desk.contacts(20_001)
    sending = desk.start("run", "campaign.toml", "--json")
    simulator.wait_for(9)
    pruned = in_40_days(desk, "prune", "--older-than", "30", "--json")
    assert (pruned.exit, pruned.summary["runs"]) == (0, [1])
    assert pruned.summary["left"][0]["run"] == 2
    assert pruned.summary["to_be_compacted"] == "somebody is at work on run 2"
    ended = desk.end(sending)
    assert (ended.exit, ended.summary["accepted"]) == (0, 20_001)
    assert len(simulator.ledger()) == 23_001
    assert desk.run("audit").exit == 0
    again = in_40_days(desk, "prune", "--older-than", "30", "--json", "--run", "1")
    assert (again.exit, again.summary["to_be_compacted"]) == (0, None)
    assert len(desk.export(2)) == 20_001
