"""Makes what tests need: calls, batches, runs. Nobody's number: all are generated."""

import itertools
from collections.abc import Sequence
from datetime import date
from typing import Any

from phonon_bulk.batch import Batch
from phonon_bulk.call import Call, LeftOut, LeftOutRow, encode
from phonon_bulk.journal import FrozenBatch, NewRun
from phonon_bulk.journal.frozen import freeze

SECURITY_ID = "s3cret" + "0" * 58
FLOW_ID = "QG8k000A"
DAY = date(2026, 11, 24)


def make_call(row: int, day: date = DAY) -> Call:
    """Return the call of a row, distinct from that of any other."""
    return Call(
        client_identifier=f"ACC{row:07d}",
        start_time=f"{day}T10:00:00+05:30",
        contact_numbers=(f"9199{row:08d}",),
        keys=(("$flow.key.Name", f"Name {row}"),),
    )


def make_data(rows: Sequence[int], day: date = DAY) -> bytes:
    """Return the calls of `rows`, joined by commas."""
    return b",".join(encode(make_call(row, day)) for row in rows)


def make_batch(rows: Sequence[int], day: date = DAY) -> FrozenBatch:
    """Return a frozen batch of the calls of `rows`."""
    return freeze(Batch(make_data(rows, day), rows, day))


def make_left_out(row: int, state: LeftOut = LeftOut.REJECTED) -> LeftOutRow:
    """Return a row that became no call; a rejected one has its fields."""
    rejected = state is LeftOut.REJECTED
    fields = f'{{"tel1":"12","name":"Name {row}"}}' if rejected else "{}"
    numbers = ("12",) if rejected else (f"9199{row:08d}",)
    return LeftOutRow(row, f"{state} for a reason", f"ACC{row:07d}", numbers, fields, state)


def make_run(**changes: Any) -> NewRun:
    """Return a run about to be opened, of a list that no other has."""
    fields = {
        "campaign": "premium-reminder",
        "account": "default",
        "endpoint": "bulk",
        "flow_id": FLOW_ID,
        "definition": "{}",
        "list": '{"files": [], "bytes": 0}',
        "list_sha256": "ab" * 32,
        "identity": f"list {next(_LISTS)}",
        "not_after": None,
    }
    return NewRun(**{**fields, **changes})


_LISTS = itertools.count(1)
