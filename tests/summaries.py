"""Makes summaries of runs."""

from typing import Any

from phonon_bulk.errors import Exit
from phonon_bulk.report.summary import Summary


def summary(**changes: Any) -> Summary:
    """Return the summary of a run that is done."""
    names = ("rejected", "suppressed", "duplicates", "refused", "expired", "cancelled")
    zeros = dict.fromkeys((*names, "in_doubt", "abandoned", "to_send"), 0)
    fields: dict[str, Any] = {
        **zeros,
        "run": 3,
        "campaign": "reminder",
        "state": "done",
        "rows": 10,
        "calls": 10,
        "accepted": 10,
        "batches": 1,
        "requests": 1,
        "seconds": 1.0,
        "exit": Exit.DONE,
        "list_read": True,
        **changes,
    }
    return Summary(**fields)
