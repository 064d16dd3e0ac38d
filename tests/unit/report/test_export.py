"""What becomes of every contact, line by line."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import orjson
import pytest
from builders import make_data, make_left_out
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.cli.export import ContactState
from phonon_bulk.errors import UnusableError
from phonon_bulk.journal import Books, Contact, SettledBatch
from phonon_bulk.report.export import COLUMNS, STATES, contacts, export


class Held:
    """Books that hold what a test puts into them."""

    def __init__(self, batches: list[SettledBatch], left_out: list[LeftOutRow]) -> None:
        self._batches, self._left_out = batches, left_out

    def batches(self, run: int) -> Iterator[SettledBatch]:
        """Yield the batches."""
        del run
        yield from self._batches

    def left_out(self, run: int) -> Iterator[LeftOutRow]:
        """Yield the rows left out."""
        del run
        yield from self._left_out


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


def lines(
    batches: list[SettledBatch],
    left_out: list[LeftOutRow] | None = None,
    only: Collection[str] = STATES,
) -> list[Contact]:
    """Return the lines of an export."""
    return list(contacts(cast(Books, Held(batches, left_out or [])), 1, only))


def test_lines_are_in_the_lists_order() -> None:
    """Calls and rows left out come together by row."""
    found = lines(
        [batch([1, 3], State.ACCEPTED, accepted=2), batch([4, 6], State.READY)],
        [make_left_out(2), make_left_out(5, LeftOut.DUPLICATE)],
    )
    assert [(line.row, line.state) for line in found] == [
        (1, "accepted"),
        (2, "rejected"),
        (3, "accepted"),
        (4, "ready"),
        (5, "duplicate"),
        (6, "ready"),
    ]


def test_a_row_left_out_has_what_is_known_of_it() -> None:
    """Its number, identifier and reason, and nothing of a request."""
    row = make_left_out(4, LeftOut.SUPPRESSED)
    (line,) = lines([], [row])
    assert line == Contact(
        row=4,
        client_identifier=row.client_identifier,
        contact_numbers=row.contact_numbers,
        state="suppressed",
        reason=row.reason,
        request_id=None,
        phonon_uuid=None,
        batch=None,
        attempts=0,
        settled_at=None,
    )


def with_all() -> tuple[list[SettledBatch], list[LeftOutRow]]:
    """Return a batch in each state, a partial success and a damaged one, and rows left out."""
    states = sorted(set(State) - {State.SPLIT})
    batches = [batch([n], state, accepted=1) for n, state in enumerate(states, 1)]
    details = orjson.dumps({"call-details": [{"client-identifier": "ACC0000021"}]})
    partial = batch([21, 22], State.ACCEPTED, details, accepted=1)
    damaged = replace(batch([23], State.REFUSED), calls=None)
    left_out = [make_left_out(row, state) for row, state in enumerate(LeftOut, 31)]
    return [*batches, partial, damaged], left_out


@given(st.sets(st.sampled_from(sorted(STATES))))
def test_only_some_states(only: set[str]) -> None:
    """Law: what is asked for is what a whole export has of these states."""
    whole = lines(*with_all())
    assert {line.state for line in whole} == STATES
    assert lines(*with_all(), only) == [line for line in whole if line.state in only]


def test_batches_are_not_read_in_vain() -> None:
    """Where rows left out are asked for, no call is looked at; and the other way round."""
    assert [line.row for line in lines([None], [make_left_out(1)], {"rejected"})] == [1]  # type: ignore[list-item]
    assert [line.row for line in lines([batch([1], State.READY)], [None], {"ready"})] == [1]  # type: ignore[list-item]


def test_the_command_knows_every_state() -> None:
    """`--only` takes what stands in the column, and nothing else."""
    assert {*ContactState} == STATES


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


def test_a_carriage_return_ends_no_line(tmp_path: Path) -> None:
    """Within a text it is in quotes, so that what follows it begins no line."""
    odd = Contact(1, "a\r=1+1", (), "rejected", "b\rc", None, None, None, 0, None)
    export([odd], tmp_path / "x.csv")
    text = (tmp_path / "x.csv").read_bytes().decode()
    assert text == ",".join(COLUMNS) + '\n1,"a\r=1+1",,rejected,"b\rc",,,,0,\n'


def test_no_csv_is_live_in_a_spreadsheet(tmp_path: Path) -> None:
    """What begins like a formula does so behind an apostrophe; NDJSON and Parquet run nothing."""
    odd = Contact(1, "=1+1", ("+91 98", "2"), "rejected", "-x", "@r", " =u", None, 0, None)
    export([odd], tmp_path / "x.csv")
    line = (tmp_path / "x.csv").read_text().splitlines()[1]
    assert line == "1,'=1+1,'+91 98 2,rejected,'-x,'@r,' =u,,0,"
    export([odd], tmp_path / "x.ndjson")
    assert orjson.loads((tmp_path / "x.ndjson").read_bytes())["client_identifier"] == "=1+1"


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
