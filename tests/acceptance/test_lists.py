"""Any list, the whole way: checked, cleaned, sent, mended, and sent again."""

import csv
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any

import orjson
import zstandard
from desk import Desk, Start, agree, until

from phonon_bulk.call import INDIA

DND = "number\n919800000003\n9800000004\n"
CHECKS = '[checks]\nduplicates = "drop"\nsuppress = "dnd.csv"\n'
ROWS = (
    "tel1,tel2,client-identifier,$flow.key.Name\n"
    "9800000001,,A1,Asha\n"  # a call
    "919800000001,,A2,Asha again\n"  # a duplicate of it
    "9800000003,,A3,Farah\n"  # not to be called
    "9800000004,9800000005,A4,Gauri\n"  # not on its first number
    "12,9800000006,A5,Imran\n"  # its first number is none
    "9.19812E+11,,A6,=cmd|'/c calc'!A1\n"  # Excel did that
    "09800000007,,A7,Kavya\n"  # a call
)


def frozen_calls(desk: Desk) -> list[dict[str, Any]]:
    """Return the calls of all batches as they stand in the journal."""
    with closing(sqlite3.connect(desk.folder / "journal.db")) as journal:
        bodies = [calls for (calls,) in journal.execute("SELECT calls FROM body").fetchall()]
    calls = [orjson.loads(b"[" + zstandard.decompress(body) + b"]") for body in bodies]
    return list(chain.from_iterable(calls))


def test_check_says_what_run_does(desk: Desk, simulate: Start) -> None:
    """Before: the counts, and nothing written. Then run comes to the same."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(rest=CHECKS)
    desk.write("list.csv", ROWS)
    desk.write("dnd.csv", DND)
    before = sorted(path.name for path in desk.folder.iterdir())
    checked = desk.run("check", "campaign.toml", "--json")
    assert sorted(path.name for path in desk.folder.iterdir()) == before
    assert simulator.requests() == []
    plan = checked.summary
    counts = ("rows", "rejected", "suppressed", "duplicates", "calls")
    assert [plan[name] for name in counts] == [7, 1, 1, 1, 4]
    assert checked.exit == plan["exit"] == 1
    reasons = {(entry["state"], entry["examples"][0]["row"]) for entry in plan["reasons"]}
    assert reasons == {("rejected", 6), ("suppressed", 3), ("duplicate", 2)}
    assert "98000" not in checked.out + checked.err

    ended = desk.run("run", "campaign.toml", "--json")
    summary = ended.summary
    assert [summary[name] for name in counts] == [plan[name] for name in counts]
    assert summary["accepted"] == 4
    assert {note["note"] for note in summary["notes"]} == {note["note"] for note in plan["notes"]}
    agree(desk, simulator)
    numbers = {c["client-identifier"]: c["contact-numbers"] for c in simulator.ledger()}
    assert numbers == {
        "A1": ["919800000001"],
        "A4": ["919800000005"],
        "A5": ["919800000006"],
        "A7": ["919800000007"],
    }
    states = [line["state"] for line in desk.export()]
    assert states == [
        "accepted",
        "duplicate",
        "suppressed",
        *["accepted"] * 2,
        "rejected",
        "accepted",
    ]
    known = desk.run("check", "campaign.toml", "--json").summary
    assert any("run 1 of this campaign" in remark for remark in known["remarks"])


def test_rejected_rows_are_mended_and_sent(desk: Desk, simulate: Start) -> None:
    """In the shape of the list, harmless in a spreadsheet, and as they were when they come back."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(rest=CHECKS)
    desk.write("list.csv", ROWS)
    desk.write("dnd.csv", DND)
    assert desk.run("run", "campaign.toml", "--quiet").exit == 1
    ended = desk.run("export", "1", "--only", "rejected", "-o", "mend.csv")
    assert ended.exit == 0, ended.err
    with (desk.folder / "mend.csv").open(encoding="utf-8-sig", newline="") as file:
        header, row = csv.reader(file)
    assert header == [*ROWS.splitlines()[0].split(","), "row", "reason"]
    assert row[3] == "'=cmd|'/c calc'!A1"
    assert row[4] == "6"
    assert "Excel did that" in row[5]
    with (desk.folder / "mend.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, ["9800000008", *row[1:]]])
    assert desk.run("run", "campaign.toml", "mend.csv").exit == 0
    (call,) = [c for c in frozen_calls(desk) if c["client-identifier"] == "A6"]
    assert call["contact-numbers"] == ["919800000008"]
    assert call["keys"] == [{"name": "$flow.key.Name", "value": "=cmd|'/c calc'!A1"}]


def test_earlier_calls_of_the_campaign_are_duplicates(desk: Desk, simulate: Start) -> None:
    """Within the days that it says: who was called yesterday is not called again today."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(rest='[checks]\nduplicates = "drop"\nduplicates_days = 1\n')
    desk.write("list.csv", "tel1\n9800000001\n9800000002\n")
    assert desk.run("run", "campaign.toml", "--quiet").exit == 0
    desk.write("list.csv", "tel1\n9800000003\n9800000002\n9800000003\n")
    checked = desk.run("check", "campaign.toml", "--json").summary
    summary = desk.run("run", "campaign.toml", "--json").summary
    assert (summary["duplicates"], summary["accepted"]) == (2, 1)
    assert (checked["duplicates"], checked["calls"]) == (2, 1)
    agree_on = [call["contact-numbers"][0] for call in simulator.ledger()]
    assert sorted(agree_on) == ["919800000001", "919800000002", "919800000003"]


def test_standard_input_is_kept_until_it_is_read(desk: Desk, simulate: Start) -> None:
    """A list that can be read once only is read on after a kill, and then gone from disk."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(rest=CHECKS)
    desk.write("dnd.csv", DND)
    desk.contacts(30_000)
    piped = desk.folder / "list.csv"
    process = desk.start("submit", "campaign.toml", "-", stdin=piped)
    kept = desk.folder / "journal.db.lists/run-1"
    until(kept.exists)
    process.kill()
    process.communicate()
    piped.unlink()
    files = list(kept.glob("*"))
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
    ended = desk.run("resume", "1", "--json")
    assert ended.summary["rows"] == 30_000, ended.err
    assert ended.summary["list_read"]
    assert ended.summary["accepted"] == ended.summary["calls"]
    assert not kept.parent.exists()
    agree(desk, simulator)


def test_the_window_and_the_spread(desk: Desk, simulate: Start) -> None:
    """Start-times are evenly spaced, and the run ends when the window closes."""
    simulator = simulate()
    desk.settings(simulator.url)
    now = datetime.now(INDIA)
    opens, closes = now - timedelta(minutes=1), now + timedelta(minutes=30)
    if opens.date() != closes.date():  # a window is of one day
        opens, closes = now.replace(hour=9, minute=0), now.replace(hour=10, minute=0)
    window = f"{opens:%H:%M}-{closes:%H:%M}"
    desk.campaign(rest=f'[checks]\nspread = "{window}"\nwindow = "{window}"\n')
    desk.contacts(100)
    plan = desk.run("check", "campaign.toml", "--json").summary
    assert plan["window"] == window
    assert plan["not_after"][11:16] == f"{closes:%H:%M}"
    assert desk.run("run", "campaign.toml", "--quiet").exit == 0
    starts = [datetime.fromisoformat(call["start-time"]) for call in frozen_calls(desk)]
    gaps = {round((after - before).total_seconds()) for before, after in pairwise(starts)}
    assert len(starts) == 100
    assert max(gaps) - min(gaps) <= 1


def test_a_plan_that_does_not_fit(desk: Desk) -> None:
    """The calls that would not be sent before the end are counted."""
    desk.settings("http://127.0.0.1:9", requests_per_minute=1)
    desk.campaign(
        rest='[mapping]\ncontact_numbers = "tel1"\nclient_identifier = "client-identifier"\n'
    )
    text = (desk.folder / "campaign.toml").read_text()
    end = (datetime.now(INDIA) + timedelta(seconds=100)).isoformat(timespec="seconds")
    desk.write("campaign.toml", text.replace("[source]", f'not_after = "{end}"\n[source]'))
    desk.contacts(1800)
    ended = desk.run("check", "campaign.toml")
    assert ended.exit == 1
    assert "800 of 1,800 calls do not fit before" in ended.out
    assert orjson.loads(desk.run("check", "campaign.toml", "--json").out)["do_not_fit"] == 800
