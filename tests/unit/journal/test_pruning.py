"""Pruning's small decisions: how much at once, what is cut out of a campaign; and an old file."""

import sqlite3
from pathlib import Path

import orjson
import pytest
from builders import FLOW_ID
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.config import Campaign
from phonon_bulk.errors import JournalUnusable
from phonon_bulk.journal.connection import connect
from phonon_bulk.journal.pruning import (
    DELETED,
    STEP_SECONDS,
    at_once,
    compact,
    empty_wal,
    give_back,
    survey,
    without_queries,
)


@given(most=st.integers(1, 2000), took=st.floats(0, 1e4))
def test_steps_come_to_take_as_long_as_they_should(most: int, took: float) -> None:
    """A step that took too long is followed by a smaller one, down to a single thing; and back."""
    then = at_once(most, took)
    assert 1 <= then <= 2000
    assert then <= 2 * most
    if took > 2 * STEP_SECONDS:
        assert then < most or most == 1
    if took < STEP_SECONDS / 2:
        assert then >= most


def test_a_step_that_took_long_once_does_not_stop_all() -> None:
    """Somebody else may have had the disk: one such step makes the next a quarter as large."""
    assert at_once(1000, 60.0) == 250


def test_the_sql_of_a_campaign_is_cut_out() -> None:
    """It may name people. What is left is a campaign still, which `resume` can read."""
    number = "919000000001"
    campaign = Campaign.model_validate(
        {
            "name": "reminder",
            "flow_id": FLOW_ID,
            "query": f"FROM 'c.csv' WHERE tel <> '{number}'",
            "mapping": {
                "contact_numbers": [{"sql": f"coalesce(tel, '{number}')"}],
                "keys": {"Name": {"sql": f"replace(name, '{number}', '')"}, "query": "column"},
            },
            "checks": {"suppress": [{"query": f"SELECT '{number}'"}]},
        }
    )
    cut = without_queries(campaign.to_json())
    assert number not in cut
    assert cut.count(DELETED) == 5
    assert Campaign.from_json(cut).name == "reminder"
    assert Campaign.from_json(cut).query == DELETED


def test_a_campaign_without_sql_stays_as_it_is() -> None:
    """Nothing is lost of a campaign that names columns only."""
    campaign = Campaign.model_validate(
        {"name": "reminder", "flow_id": FLOW_ID, "paths": ["/l.csv"]}
    )
    assert orjson.loads(without_queries(campaign.to_json())) == orjson.loads(campaign.to_json())


def test_without_a_journal(tmp_path: Path) -> None:
    """None is made just to be pruned."""
    with pytest.raises(JournalUnusable, match="there is no journal"):
        survey(tmp_path / "journal.db", 0.0)
    assert not (tmp_path / "journal.db").exists()


def _filled(path: Path) -> sqlite3.Connection:
    """Return a new journal with free pages in it."""
    db = connect(path)
    db.execute("CREATE TABLE filler (bytes)")
    db.execute("INSERT INTO filler VALUES (zeroblob(400000))")
    db.execute("DROP TABLE filler")
    return db


def test_space_is_given_back_in_steps(tmp_path: Path) -> None:
    """So many pages at most in one step, until none is free; then the file is shorter."""
    db = _filled(tmp_path / "j")
    free = db.execute("PRAGMA freelist_count").fetchone()[0]
    assert give_back(db, 10) == free - 10 > 50
    assert give_back(db, 1000) == 0
    assert db.execute("PRAGMA freelist_count").fetchone()[0] == 0
    db.close()


def test_a_file_of_an_older_version_is_left_to_be_written_anew(tmp_path: Path) -> None:
    """Without `auto_vacuum` no page can be given back by itself."""
    path = tmp_path / "j"
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("CREATE TABLE x (y)")
    old.execute("DROP TABLE x")
    old.close()
    db = _filled(path)
    assert db.execute("PRAGMA auto_vacuum").fetchone()[0] == 0
    assert give_back(db, 1000) == 0
    assert db.execute("PRAGMA freelist_count").fetchone()[0] > 50
    db.close()


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    """Whatever SQLite was built with: every connection asks for it."""
    db = connect(tmp_path / "j")
    assert db.execute("PRAGMA secure_delete").fetchone()[0] == 1
    assert db.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    db.close()


def test_the_wal_is_cut_off_unless_somebody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader may still need stays; nobody waits for that reader."""
    monkeypatch.setattr("phonon_bulk.journal.pruning._EMPTYING_SECONDS", 0.0)
    path, wal = tmp_path / "j", tmp_path / "j-wal"
    writer, reader = connect(path), connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM run").fetchone()
    writer.execute(
        "INSERT INTO limit_change (account, endpoint, at, steady, why) "
        "VALUES ('a', 'bulk', 0, 0, 'so')"
    )
    assert not empty_wal(path)
    assert wal.stat().st_size > 0
    reader.execute("ROLLBACK")
    assert empty_wal(path)
    assert wal.stat().st_size == 0
    writer.close()
    reader.close()


def test_nothing_to_write_anew(tmp_path: Path) -> None:
    """A file in which nothing was deleted stays as it is."""
    connect(tmp_path / "j").close()
    before = (tmp_path / "j").stat().st_mtime_ns
    assert compact(tmp_path / "j") is None
    assert (tmp_path / "j").stat().st_mtime_ns == before
