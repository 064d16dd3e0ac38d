"""Which run a sending command works on, and until when."""

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import FLOW_ID

from phonon_bulk.call import INDIA
from phonon_bulk.config import Campaign
from phonon_bulk.errors import SettingsError
from phonon_bulk.jobs.opening import end_of, new_run, refuse_to_begin_late
from phonon_bulk.source.contacts import open_list

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=INDIA)


def campaign(**changes: Any) -> Campaign:
    """Return a campaign."""
    return Campaign.model_validate({"name": "test", "flow_id": FLOW_ID, **changes})


def end(of: Campaign, *, own_start_times: bool = False) -> datetime | None:
    """Return the moment after which nothing is sent, in India."""
    found = end_of(of, NOW.timestamp(), own_start_times=own_start_times)
    return None if found is None else datetime.fromtimestamp(found, INDIA)


WINDOW = {"window": "10:00-19:00"}
CLOSES = datetime(2026, 11, 24, 19, 0, tzinfo=INDIA)


def test_a_campaign_ends_when_it_says() -> None:
    """Or when its window closes, if that is earlier: nothing is to start after that."""
    assert end(campaign(not_after="18:00", checks=WINDOW)) == CLOSES.replace(hour=18)
    assert end(campaign(not_after="21:00", checks=WINDOW)) == CLOSES
    assert end(campaign(not_after="18:00"), own_start_times=True) == CLOSES.replace(hour=18)


def test_a_campaign_with_a_window_ends_with_it() -> None:
    """But not where the rows say themselves on which day they are to be called."""
    assert end(campaign()) is None
    assert end(campaign(checks=WINDOW)) == CLOSES
    assert end(campaign(checks=WINDOW), own_start_times=True) is None


def test_a_campaign_with_one_start_time_ends_on_its_day() -> None:
    """When the window closes there."""
    mapping = {"contact_numbers": "m", "start_time": "2026-11-26T12:00:00+05:30"}
    assert end(campaign(mapping=mapping, checks=WINDOW)) == CLOSES.replace(day=26)


@pytest.mark.parametrize(("text", "is_late"), [("11:59", True), ("12:00", True), ("12:01", False)])
def test_a_run_that_could_send_nothing_is_not_begun(text: str, is_late: bool) -> None:
    """It is said why."""
    of = campaign(not_after=text)
    if is_late:
        with pytest.raises(SettingsError, match="is past"):
            refuse_to_begin_late(of, NOW.timestamp())
    else:
        refuse_to_begin_late(of, NOW.timestamp())


def test_a_run_knows_its_list_again(tmp_path: Path) -> None:
    """Its files with their marks, when it was looked at, and whose start-times they are."""
    path = tmp_path / "l.csv"
    path.write_bytes(b"tel1\n9812345671\n")
    of = campaign(checks=WINDOW)
    contacts = open_list(of, [str(path)])
    run = new_run(of, contacts, NOW.timestamp())
    assert orjson.loads(run.list) == {
        "files": [{"path": str(path), "mark": list(contacts.marks[0])}],
        "bytes": 16,
        "looked_at": contacts.looked_at,
        "own_start_times": False,
    }
    assert run.list_sha256 == contacts.sha256
    assert run.not_after == CLOSES.timestamp()
    assert Campaign.from_json(run.definition) == of
