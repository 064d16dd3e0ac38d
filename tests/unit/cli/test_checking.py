"""A plan is made without changing anything: for when, and with what the journal knows."""

from datetime import datetime
from pathlib import Path

import pytest

from phonon_bulk.batch import Head
from phonon_bulk.call import INDIA
from phonon_bulk.cli.checking import begins_at, check
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import SettingsError
from phonon_bulk.journal.connection import connect, is_current
from phonon_bulk.journal.statements import migrations
from phonon_bulk.source.contacts import open_list

CHECKS = {"duplicates": "drop", "duplicates_days": 9, "window": "10:00-19:00"}
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=INDIA)


@pytest.mark.parametrize(
    ("at", "begins"),
    [
        (None, NOON),
        ("12:30", NOON.replace(minute=30)),
        ("01:20", datetime(2026, 11, 25, 1, 20, tzinfo=INDIA)),
        ("2026-11-26T01:20", datetime(2026, 11, 26, 1, 20, tzinfo=INDIA)),
        ("2026-11-25T00:00:00Z", datetime(2026, 11, 25, 5, 30, tzinfo=INDIA)),
    ],
)
def test_when_a_plan_begins(at: str | None, begins: datetime) -> None:
    """A time of day is that of today, or of tomorrow if it is past."""
    assert begins_at(at, NOON.timestamp()) == begins.timestamp()


@pytest.mark.parametrize("at", ["1 am", "25:00", "2026-11-23T10:00", ""])
def test_no_plan_for_the_past_or_for_no_time(at: str) -> None:
    """It is said what is expected."""
    with pytest.raises(SettingsError, match="--at: "):
        begins_at(at, NOON.timestamp())


def plan_with(journal: Path, folder: Path) -> list[str]:
    """Return what a plan has to remark."""
    path = folder / "list.csv"
    path.write_text("tel1\n919812345678\n")
    campaign = Campaign.model_validate({"name": "c", "flow_id": "QG8k000A", "checks": CHECKS})
    settings = Settings(journal=f"sqlite://{journal}")
    contacts = open_list(campaign, [str(path)])
    made = check(settings, campaign, contacts, NOON.timestamp(), quiet=True)
    assert made.sums.calls == 1
    return list(made.remarks)


def test_no_journal_is_made(tmp_path: Path) -> None:
    """Nothing is written."""
    assert plan_with(tmp_path / "journal.db", tmp_path) == []
    assert not (tmp_path / "journal.db").exists()


def test_an_older_journal_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To bring it up to date would be to write; so it is said that it is not looked into."""
    path, old = tmp_path / "journal.db", migrations()[:3]
    with monkeypatch.context() as patch:
        patch.setattr("phonon_bulk.journal.connection.migrations", lambda: old)
        connect(path).close()
    before = path.read_bytes()
    (remark,) = plan_with(path, tmp_path)
    assert "of an older version" in remark
    assert path.read_bytes() == before
    assert not is_current(path)
    connect(path).close()
    assert is_current(path)
    assert plan_with(path, tmp_path) == []


def test_calls_at_any_hour_are_remarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no window is set, it is said that calls start as soon as they are sent."""
    monkeypatch.delitem(CHECKS, "window")
    (remark,) = plan_with(tmp_path / "journal.db", tmp_path)
    assert "no calling window is set" in remark


def test_the_largest_body_is_that_which_would_be_posted(tmp_path: Path) -> None:
    """With what stands around its calls, as the provider counts it."""
    path = tmp_path / "list.csv"
    path.write_text("tel1\n919812345678\n")
    campaign = Campaign.model_validate({"name": "c", "flow_id": "QG8k000A"})
    settings = Settings(journal=f"sqlite://{tmp_path}/journal.db")
    contacts = open_list(campaign, [str(path)])
    made = check(settings, campaign, contacts, NOON.timestamp(), quiet=True)
    assert made.sums.first is not None
    body = Head("s" * 64, "QG8k000A").body(made.sums.first.data)
    assert made.to_dict()["largest_body_bytes"] == len(body)
