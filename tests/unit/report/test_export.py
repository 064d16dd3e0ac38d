"""What becomes of every contact, line by line."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import orjson
import pytest
from builders import make_data

from phonon_bulk.batch import State
from phonon_bulk.call import RejectedRow
from phonon_bulk.errors import UnusableError
from phonon_bulk.journal import Books, Contact, SettledBatch
from phonon_bulk.report.export import COLUMNS, contacts, export


class Held:
    """Books that hold what a test puts into them."""

    def __init__(self, batches: list[SettledBatch], rejected: list[RejectedRow]) -> None:
        self._batches, self._rejected = batches, rejected

    def batches(self, run: int) -> Iterator[SettledBatch]:
        """Yield the batches."""
        del run
        yield from self._batches

    def rejected(self, run: int) -> Iterator[RejectedRow]:
        """Yield the rejected rows."""
        del run
        yield from self._rejected


def batch(
    rows: list[int], state: State, answer: bytes | None = None, accepted: int = 0
) -> SettledBatch:
    """Return a batch of the calls of rows."""
    return SettledBatch(
        batch=9,
        state=state,
        reason="why" if state is not State.ACCEPTED or accepted < len(rows) else None,
        request_id="r-9" if state is State.ACCEPTED else None,
        accepted=accepted,
        attempts=2,
        settled_at=1_795_400_000.0,
        rows=rows,
        calls=make_data(rows),
        answer=answer,
    )


def lines(batches: list[SettledBatch], rejected: list[RejectedRow] | None = None) -> list[Contact]:
    """Return the lines of an export."""
    return list(contacts(cast(Books, Held(batches, rejected or [])), 1))


def test_lines_are_in_the_lists_order() -> None:
    """Calls and rejected rows come together by row."""
    found = lines(
        [batch([1, 3], State.ACCEPTED, accepted=2), batch([4, 6], State.READY)],
        [RejectedRow(2, "no", None, ("x",), "{}"), RejectedRow(5, "no", "A", (), "{}")],
    )
    assert [(line.row, line.state) for line in found] == [
        (1, "accepted"),
        (2, "rejected"),
        (3, "accepted"),
        (4, "ready"),
        (5, "rejected"),
        (6, "ready"),
    ]


def test_a_claimed_batch_is_ready() -> None:
    """To the operator, a batch of which nothing was sent is ready."""
    assert {line.state for line in lines([batch([1, 2], State.CLAIMED)])} == {"ready"}


def test_uuids_from_the_answer() -> None:
    """Each call gets the phonon-uuid that the answer has for its client-identifier."""
    details = [{"client-identifier": f"ACC000000{n}", "phonon-uuid": f"u{n}"} for n in (2, 1)]
    found = lines(
        [batch([1, 2], State.ACCEPTED, orjson.dumps({"call-details": details}), accepted=2)]
    )
    assert [line.phonon_uuid for line in found] == ["u1", "u2"]
    assert {line.reason for line in found} == {None}


def test_a_partial_success() -> None:
    """Calls that the answer does not list are refused, with the batch's reason."""
    answer = orjson.dumps({"call-details": [{"client-identifier": "ACC0000002"}]})
    found = lines([batch([1, 2, 3], State.ACCEPTED, answer, accepted=1)])
    assert [(line.state, line.reason) for line in found] == [
        ("refused", "why"),
        ("accepted", None),
        ("refused", "why"),
    ]


def test_an_unclear_answer_gives_no_uuids() -> None:
    """What was kept of an unclear answer is not taken for details."""
    answer = orjson.dumps(
        {"call-details": [{"client-identifier": "ACC0000001", "phonon-uuid": "u"}]}
    )
    (line,) = lines([batch([1], State.IN_DOUBT, answer)])
    assert (line.state, line.phonon_uuid) == ("in_doubt", None)


@pytest.mark.parametrize("name", ["x.csv", "x.ndjson", "x.parquet", "X.CSV"])
def test_an_empty_export(tmp_path: Path, name: str) -> None:
    """A run without contacts gives a file that is valid all the same."""
    assert export([], tmp_path / name) == 0
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_csv_quotes_what_it_must(tmp_path: Path) -> None:
    """Commas, quotes and line ends in a reason or an identifier stay in their field."""
    odd = Contact(1, 'a,"b"\nc', ("91", "92"), "rejected", "x, y", None, None, None, 0, None)
    export([odd], tmp_path / "x.csv")
    text = (tmp_path / "x.csv").read_text()
    assert text == ",".join(COLUMNS) + '\n1,"a,""b""\nc",91 92,rejected,"x, y",,,,0,\n'


def test_moments_are_at_indias_time(tmp_path: Path) -> None:
    """Moments are ISO 8601 at +05:30, to the second."""
    (line,) = lines([batch([1], State.ACCEPTED, accepted=1)])
    export([line], tmp_path / "x.ndjson")
    assert orjson.loads((tmp_path / "x.ndjson").read_bytes())["settled_at"] == (
        "2026-11-23T07:43:20+05:30"
    )


def test_an_old_export_is_replaced_whole(tmp_path: Path) -> None:
    """A file of that name is replaced when the new one is whole, and kept if it fails."""
    path = tmp_path / "x.csv"
    path.write_text("old")

    def broken() -> Iterator[Contact]:
        yield from lines([batch([1], State.READY)])
        raise OSError(28, "No space left on device")

    with pytest.raises(UnusableError, match="No space left"):
        export(broken(), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
    export(lines([batch([1], State.READY)]), path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Where the file can't be made, a sentence says so."""
    with pytest.raises(UnusableError, match="can't be written"):
        export([], tmp_path / "nowhere" / "x.csv")
