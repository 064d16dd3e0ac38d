"""What is written beside a file that was taken."""

from typing import Any

import pytest

from phonon_bulk.report.summary import Summary
from phonon_bulk.worker.drop import slips
from phonon_bulk.worker.drop.slips import Slip, text_of

AT = 1_795_000_000.0


def summary(**changes: Any) -> Summary:
    """Return a summary of run 12."""
    sums = dict.fromkeys(Summary.__slots__, 0)
    fields: dict[str, Any] = {
        **sums,
        "run": 12,
        "campaign": "reminder",
        "state": "sending",
        "seconds": 0.0,
        "rows": 1200,
        "rejected": 3,
        "calls": 1197,
        "to_send": 1197,
        "list_read": True,
        "reason": None,
        "reasons": [],
        "notes": [],
        "limit": None,
    }
    return Summary(**{**fields, **changes})


def test_the_first_lines() -> None:
    """The name on one line, the moment in India, what became of it, and what to do."""
    lines = text_of(slips.unusable("it is empty"), "two\nlines\x1b.csv", AT).split("\n")
    assert lines[0] == "two\\nlines\\x1b.csv"
    assert lines[1].endswith("+05:30")
    assert lines[3].startswith("the list can't be used, and nobody is called from it: it is empty")
    assert lines[5] == "Mend that, and drop the file again."


def test_a_list_that_was_read() -> None:
    """Its remarks and its sums are there, and its rejected rows are put beside it."""
    slip = slips.taken(summary(), ("columns of which nothing is sent: age",))
    text = text_of(slip, "list.csv", AT)
    assert "- columns of which nothing is sent: age" in text
    assert "rejected               3" in text
    assert "mend them" in text
    assert slip.rejected_of == 12


def test_nothing_is_promised_that_is_not_there() -> None:
    """Without rejected rows there is no file of them."""
    slip = slips.taken(summary(rejected=0, calls=1200, to_send=1200))
    assert slip.rejected_of is None
    assert "mend" not in text_of(slip, "list.csv", AT)


@pytest.mark.parametrize(
    ("slip", "folder", "gives_up"),
    [
        (slips.taken(summary()), "done", None),
        (slips.repeated(summary()), "done", None),
        (slips.cancelled(summary()), "failed", None),
        (slips.unusable("why"), "failed", None),
        (slips.written_to(summary()), "failed", None),
        (slips.cut_short(summary(), "why"), "failed", 12),
    ],
)
def test_where_each_goes(slip: Slip, folder: str, gives_up: int | None) -> None:
    """Only a list that was cut short has no more rows to come."""
    assert (slip.folder, slip.gives_up) == (folder, gives_up)
    assert ("run 12" in text_of(slip, "list.csv", AT)) is (slip.summary is not None)
