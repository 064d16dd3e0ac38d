"""A list put together: every row becomes one call or is left out, as a plain model says."""

import csv
import gzip
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from builders import FLOW_ID
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.config import Campaign, Duplicates, DuplicatesBy
from phonon_bulk.errors import ListError
from phonon_bulk.packing import Chunk
from phonon_bulk.source import calls as calls_module
from phonon_bulk.source.columns import Columns, plan_columns
from phonon_bulk.source.contacts import ContactList, open_kept, open_list
from phonon_bulk.source.formats import csv_scan
from phonon_bulk.source.numbers import NumberReader
from phonon_bulk.source.row import Encoded, Fields, Rules, duplicate_row, read_row
from phonon_bulk.source.suppression import Suppressed
from phonon_bulk.source.times import Start, StartTimes

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp()  # 10:00 in India
ROOM, RUN = 600, 7
READER = NumberReader("IN")

Call = tuple[int, dict[str, Any], int]
"""A row, its call, and the day on which it starts."""


def campaign(folder: Path | None = None, **changes: Any) -> Campaign:
    """Return a campaign; its lists are given, or in a folder."""
    fields = {"name": "test", "flow_id": FLOW_ID, "folder": str(folder or ""), **changes}
    return Campaign.model_validate(fields)


def write(folder: Path, rows: Sequence[Sequence[str]], name: str = "list.csv") -> str:
    """Return the path of a new file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    path = folder / name
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return str(path)


def read(contacts: ContactList, after_row: int = 0, now: float = NOW) -> list[Chunk]:
    """Return all chunks, having seen that they are whole and in order."""
    chunks = list(contacts.chunks(run=RUN, now=now, room=ROOM, after_row=after_row))
    before = after_row
    for chunk in chunks:
        rows = [*chunk.calls.rows, *(row.row for row in chunk.left_out)]
        assert sorted(rows) == list(range(before + 1, chunk.last_row + 1)), "each row, and once"
        assert list(chunk.calls.rows) == sorted(chunk.calls.rows)
        assert [row.row for row in chunk.left_out] == sorted(row.row for row in chunk.left_out)
        before = chunk.last_row
    assert before == contacts.rows or (after_row >= contacts.rows and not chunks)
    return chunks


def calls_of(chunks: Sequence[Chunk]) -> list[Call]:
    """Return the calls."""
    found = []
    for chunk in chunks:
        texts = (chunk.calls.data[a : b - 1] for a, b in pairwise(chunk.calls.ends))
        for row, text, day in zip(chunk.calls.rows, texts, chunk.calls.days, strict=True):
            found.append((row, orjson.loads(text), day))
    return found


def left_out_of(chunks: Sequence[Chunk]) -> list[LeftOutRow]:
    """Return the rows left out."""
    return [row for chunk in chunks for row in chunk.left_out]


def notes_of(chunks: Sequence[Chunk]) -> set[tuple[str, int]]:
    """Return what is noted of which row, having seen that nothing is noted twice, nor of others."""
    notes = [(note, row) for chunk in chunks for note, rows in chunk.notes for row in rows]
    assert len(notes) == len(set(notes))
    calls = {row for row, _, _ in calls_of(chunks)}
    assert all(row in calls for _, row in notes)
    for chunk in chunks:
        assert all(list(rows) == sorted(rows) for _, rows in chunk.notes)
    return set(notes)


def everything(chunks: Sequence[Chunk], after_row: int = 0) -> tuple[Any, ...]:
    """Return all that chunks say of the rows after one."""
    calls = [call for call in calls_of(chunks) if call[0] > after_row]
    left_out = [row for row in left_out_of(chunks) if row.row > after_row]
    return calls, left_out, {note for note in notes_of(chunks) if note[1] > after_row}


# ---- random lists, read as a plain model reads them

HEADER = ["id", "tel1", "tel2", "name", "at"]
NUMBERS = ["919812345671", "98123 45672", "+91 98123-45673", "9812345674", "9812345672;12"]
ONE_ROW = st.tuples(
    st.sampled_from(["", "A", " A ", "B", "é", "\0"]),
    st.sampled_from([*NUMBERS, *NUMBERS, "", "NA", "x", "14155550100"]),
    st.sampled_from(["", "", "-", "N/A", "12", *NUMBERS]),
    st.sampled_from(["", " ", "7", "41", "Asha", "अमित कुमार", "\x1b", "x" * 500, "=1"]),
    st.sampled_from(
        ["", "", "2026-11-24T20:00", "2026-11-25 12:00", "2026-11-26", "1999-01-01 10:00", "soon"]
    ),
)
ANY_ROW = st.one_of(
    ONE_ROW, ONE_ROW, ONE_ROW, ONE_ROW, st.lists(st.just("x"), min_size=1, max_size=7)
)
MAPPINGS: list[dict[str, Any]] = [
    {"contact_numbers": ["tel1", "tel2"]},
    {"contact_numbers": ["TEL2", "tel1"], "client_identifier": "ID", "keys": "*"},
    {
        "contact_numbers": "tel1",
        "client_identifier": "id",
        "start_time": "at",
        "keys": {"N": "name"},
    },
    {
        "contact_numbers": [{"sql": "replace(tel1, '-', '')"}, "tel2"],
        "client_identifier": {"sql": "upper(id)"},
        "start_time": {"sql": '"at"'},
        "keys": {"Bank": {"value": 'it\'s "B"'}, "N": {"sql": "CAST(name AS INTEGER) + 1"}},
    },
    {"contact_numbers": "tel1", "start_time": "2026-11-25T21:00:00+05:30"},
]
CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "window": st.sampled_from(["09:00-19:00", "10:30-11:00"]),
        "outside_window": st.sampled_from(["move", "reject"]),
        "spread": st.sampled_from(["09:00-11:00", "12:00-13:00"]),
        "required": st.sampled_from(["id", ["name", "id"]]),
        "max_lengths": st.sampled_from([{"name": 5}, {"id": 1, "name": 400}]),
        "duplicates": st.sampled_from(["drop", "reject"]),
        "duplicates_by": st.sampled_from(["number", "client_identifier"]),
        "suppress": st.lists(st.sampled_from(["919812345672", "919812345673"]), min_size=1),
        "start_time_form": st.sampled_from(["dmy", "excel"]),
    },
)


@dataclass
class Case:
    """A list, and what is done with it."""

    rows: list[Sequence[str]]
    mapping: dict[str, Any]
    checks: dict[str, Any]
    suppressed: list[str]
    now: float

    @property
    def campaign(self) -> Campaign:
        """The campaign."""
        return campaign(mapping=self.mapping, checks=self.checks)

    def open(self, folder: Path) -> ContactList:
        """Open the list."""
        checks = dict(self.checks)
        if self.suppressed:
            checks["suppress"] = write(
                folder, [["number"], *([n] for n in self.suppressed)], "d.csv"
            )
        given = [write(folder, [HEADER, *self.rows])]
        return open_list(campaign(mapping=self.mapping, checks=checks), given)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return any list with any checks."""
    checks: dict[str, Any] = dict(draw(CHECKS))
    mapping = draw(st.sampled_from(MAPPINGS))
    if "start_time" in mapping:
        checks.pop("spread", None)
    if "client_identifier" not in mapping:  # then there is nothing to know duplicates by
        checks.pop("duplicates_by", None)
    rows: list[Sequence[str]] = [*draw(st.lists(ANY_ROW, min_size=1, max_size=14))]
    now = NOW + 3600 * draw(st.sampled_from([0, 0, 3, 12]))
    return Case(rows, mapping, checks, checks.pop("suppress", []), now)


def derived(sql: str, row: Sequence[str]) -> str | None:
    """Return what the SQL of our mappings gives for a row."""
    identifier, first, _, name, at = row
    by_sql: dict[str, str | None] = {
        "replace(tel1, '-', '')": first.replace("-", ""),
        "upper(id)": identifier.upper(),
        '"at"': at,
        "'it''s \"B\"'": 'it\'s "B"',
        "CAST(name AS INTEGER) + 1": str(int(name) + 1) if name in {"7", "41"} else None,
    }
    return by_sql[sql]


def fields_of(columns: Columns, row: Sequence[str]) -> tuple[Fields, str | None]:
    """Return a row's fields, the derived ones too; or why it can't be read."""
    if len(row) != len(HEADER):
        few_or_many = "few" if len(row) < len(HEADER) else "many"
        return row, f"too {few_or_many} fields: {len(row)} of {len(HEADER)}"
    return [*row, *(derived(sql, row) for sql in columns.derived)], None


def model(case: Case, rows: int) -> tuple[Any, ...] | str:
    """Return what becomes of each row, decided one after the other; or why none can be read."""
    checks = case.campaign.checks
    columns = plan_columns(HEADER, case.campaign.mapping, checks)
    starts = StartTimes(checks, case.now, rows)
    start = start_of_all(columns, starts)
    if isinstance(start, str):
        return start
    suppressed = Suppressed([np_numbers(case.suppressed)]) if case.suppressed else None
    keeps = checks.duplicates is Duplicates.KEEP
    by = None if keeps else checks.duplicates_by
    rules = Rules(RUN, ROOM, READER, starts, start, suppressed, by)
    rejects = checks.duplicates is Duplicates.REJECT
    state = LeftOut.REJECTED if rejects else LeftOut.DUPLICATE
    calls, left_out, notes, seen = [], [], set(), set()
    for number, row in enumerate(case.rows, 1):
        fields, fault = fields_of(columns, row)
        outcome = read_row(columns, rules, number, fields, fault)
        if isinstance(outcome, Encoded) and by is not None and outcome.key in seen:
            outcome = duplicate_row(columns, number, fields, by, state)
        if isinstance(outcome, LeftOutRow):
            left_out.append(outcome)
            continue
        if outcome.key is not None:
            seen.add(outcome.key)
        calls.append((number, orjson.loads(outcome.json), outcome.day))
        notes |= {(note, number) for note in outcome.notes}
    return calls, left_out, notes


def start_of_all(columns: Columns, starts: StartTimes) -> Start | str | None:
    """Return the one start of all calls; None if each has its own."""
    moment = columns.start_time
    if isinstance(moment, int):
        return None
    if moment is None:
        return None if starts.spreads else starts.at_once()
    return starts.read(moment.isoformat())


def np_numbers(texts: Sequence[str]) -> Any:
    """Return numbers as `Suppressed` takes them."""
    return np.array([int(text) for text in texts], np.int64)


@contextmanager
def small_pieces(size: int, cut: int) -> Iterator[None]:
    """Read a file in pieces of a few bytes, and write it in chunks of a few rows."""
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(csv_scan, FIRST_BLOCK=size, PIECE_BYTES=size))
        stack.enter_context(patch.object(calls_module, "_CHUNK_ROWS", cut))
        yield


FEW = settings(max_examples=10)  # each opens several databases


@FEW
@given(cases())
def test_a_list_becomes_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    """Law: whatever is in it and whatever is checked."""
    contacts = case.open(tmp_path_factory.getbasetemp())
    expected = model(case, contacts.rows)
    if isinstance(expected, str):
        with pytest.raises(ListError):
            contacts.chunks(run=RUN, now=case.now, room=ROOM)
        return
    assert everything(read(contacts, now=case.now)) == expected
    assert contacts.rows == len(case.rows)


@FEW
@given(cases(), st.integers(1, 60), st.integers(1, 5), st.integers(0, 15))
def test_a_list_is_the_same_however_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, case: Case, size: int, cut: int, after_row: int
) -> None:
    """Law: in small pieces; and from any row on, where the calls before it were placed."""
    folder = tmp_path_factory.getbasetemp()
    contacts = case.open(folder)
    if isinstance(model(case, contacts.rows), str):
        return
    whole = read(contacts, now=case.now)
    with small_pieces(size, cut):
        cut_up = case.open(folder)
        assert everything(read(cut_up, now=case.now)) == everything(whole)
        rest = read(cut_up.with_placed(placed_in(case, whole)), after_row, case.now)
    assert everything(rest) == everything(whole, after_row)
    assert cut_up.sha256 == contacts.sha256


def placed_in(case: Case, chunks: Sequence[Chunk]) -> Any:
    """Return what says which calls were made of a list's first rows."""
    by_number = case.campaign.checks.duplicates_by is DuplicatesBy.NUMBER

    def placed(run: int, after_row: int) -> Iterator[Sequence[str]]:
        assert run == RUN
        for row, call, _ in calls_of(chunks):
            if row <= after_row:
                yield [call["contact-numbers"][0] if by_number else call["client-identifier"]]

    return placed


# ---- what a list says of itself


def test_calls_that_were_placed_before_make_duplicates(tmp_path: Path) -> None:
    """Of other runs too; they are asked for once, and only if anything is compared."""
    rows = [["tel1"], ["9812345671"], ["9812345672"]]
    asked = []

    def placed(run: int, after_row: int) -> Iterator[Sequence[str]]:
        asked.append((run, after_row))
        yield []
        yield ["919812345672", "14155550100"]

    path = write(tmp_path, rows)
    keeping = open_list(campaign(), [path]).with_placed(placed)
    assert len(calls_of(read(keeping))) == 2
    assert asked == []
    dropping = open_list(campaign(checks={"duplicates": "drop"}), [path]).with_placed(placed)
    chunks = read(dropping)
    assert [row for row, _, _ in calls_of(chunks)] == [1]
    assert [(row.row, row.state) for row in left_out_of(chunks)] == [(2, LeftOut.DUPLICATE)]
    assert asked == [(RUN, 0)]


def test_what_is_known_of_a_list(tmp_path: Path) -> None:
    """Columns, rows, remarks of all its parts and of the do-not-call lists."""
    folder = tmp_path / "lists"
    folder.mkdir()
    write(folder, [["tel1", "name"], ["9812345671", "x"]], "a.csv")
    write(folder, [["tel1", "name"], ["9812345672", "x"], ["9812345673", "x"]], "b.csv")
    write(folder, [["?"]], "readme")
    dnd = write(tmp_path, [["number"], ["9812345672"], ["Asha"]], "dnd.csv")
    contacts = open_list(campaign(checks={"suppress": dnd}), [str(folder)])
    assert (contacts.rows, contacts.columns) == (3, ("tel1", "name"))
    assert contacts.unused_columns == ("name",)
    assert [path.name for path in contacts.files] == ["a.csv", "b.csv"]
    assert len(contacts.marks) == 2
    passed_over, not_numbers = contacts.remarks
    assert passed_over.endswith("by their endings: readme")
    assert "1 rows of the do-not-call list" in not_numbers
    assert not contacts.own_start_times
    assert [row.row for row in left_out_of(read(contacts))] == [2]


@pytest.mark.parametrize(
    ("mapping", "is_own"),
    [
        ({}, False),
        ({"start_time": "at"}, True),
        ({"start_time": {"sql": '"at"'}}, True),
        ({"start_time": "2026-11-25T10:00:00+05:30"}, False),
    ],
)
def test_whether_rows_have_their_own_start_times(
    tmp_path: Path, mapping: dict[str, Any], is_own: bool
) -> None:
    """A moment for all is none of their own."""
    path = write(tmp_path, [["tel1", "at"], ["9812345671", ""]])
    mapping = {"contact_numbers": "tel1", **mapping}
    assert open_list(campaign(mapping=mapping), [path]).own_start_times is is_own


@pytest.mark.parametrize(
    ("mapping", "checks", "hour", "sentence"),
    [
        ({"start_time": "2026-11-23T10:00:00+05:30"}, {}, 10, "its date is past: every call"),
        (
            {"start_time": "2026-11-25T20:00:00+05:30"},
            {"window": "10:00-19:00", "outside_window": "reject"},
            10,
            "and it is outside of 10:00-19:00: every call would be rejected",
        ),
        (
            {},
            {"window": "10:00-19:00", "outside_window": "reject"},
            20,
            "now is outside of 10:00-19:00: every call would be rejected",
        ),
    ],
)
def test_a_start_that_no_call_can_have(
    tmp_path: Path, mapping: dict[str, Any], checks: dict[str, Any], hour: int, sentence: str
) -> None:
    """One message says it better than as many rejected rows, and says it at once."""
    path = write(tmp_path, [["tel1"], ["9812345671"]])
    contacts = open_list(
        campaign(mapping={"contact_numbers": "tel1", **mapping}, checks=checks), [path]
    )
    with pytest.raises(ListError, match=sentence):
        contacts.chunks(run=RUN, now=NOW + (hour - 10) * 3600, room=ROOM)


def test_what_an_expression_cannot_be_is_said_when_a_list_is_opened(tmp_path: Path) -> None:
    """Before anything of it is sent."""
    path = write(tmp_path, [["tel1"], ["9812345671"]])
    mapping = {"contact_numbers": {"sql": "nosuch(tel1)"}}
    with pytest.raises(ListError, match="the sql of contact_numbers can't be used"):
        open_list(campaign(mapping=mapping), [path])


def test_a_mended_file_is_read_as_its_list_was(tmp_path: Path) -> None:
    """Without the columns and the apostrophes that the export has added."""
    rows = [
        ["tel1", "'=name", "row", "reason"],
        ["'+919812345671", "'=Asha", "5", "bad"],
        ["12", "'@Uma", "6", "bad"],
        ["12", "'-x"],
    ]
    mapping = {"contact_numbers": "tel1", "keys": "*"}
    contacts = open_list(campaign(mapping=mapping), [write(tmp_path, rows)])
    chunks = read(contacts)
    [(row, call, _)] = calls_of(chunks)
    assert (row, call["contact-numbers"]) == (1, ["919812345671"])
    assert call["keys"] == [{"name": "$flow.key.=name", "value": "=Asha"}]
    first, second = left_out_of(chunks)
    assert first.fields == '{"tel1":"12","=name":"@Uma"}'
    assert second.fields == '{"tel1":"12","=name":"-x"}'
    assert contacts.unused_columns == ()


def test_a_query_is_a_list(tmp_path: Path) -> None:
    """Of files that are looked for beside the campaign."""
    write(tmp_path, [["mobile", "due"], ["9812345671", "5"], ["9812345672", "50"]])
    query = "SELECT mobile AS tel1, due AS \"$flow.key.Due\" FROM 'list.csv' WHERE due > 10"
    contacts = open_list(campaign(tmp_path, query=query))
    [(_, call, _)] = calls_of(read(contacts))
    assert call["contact-numbers"] == ["919812345672"]
    assert call["keys"] == [{"name": "$flow.key.Due", "value": "50"}]
    assert contacts.files == ()


def test_a_list_must_be_named(tmp_path: Path) -> None:
    """On the command line, or in the campaign."""
    with pytest.raises(ListError, match="which list"):
        open_list(campaign(tmp_path))


# ---- what can be read once only


class Piped(io.TextIOWrapper):
    """Standard input."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


KEPT = [
    b"tel1;$flow.key.A\n9812345671;1\n12;2\n",
    b"\xef\xbb\xbftel1\r\n9812345671\r\n\r\n12",
    "tel1\n9812345671\né\n".encode("utf-16"),
    "tel1,a\n9812345671,é\n".encode("windows-1252"),
    b'[{"tel1": "9812345671", "a": null}, {"tel1": 12}]',
    b'{"tel1": "9812345671"}\n{"tel1": "12"\n',
]


@pytest.mark.parametrize("data", KEPT)
def test_what_was_piped_in_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """In a folder for nobody else, and is read from there as it was."""
    monkeypatch.setattr(sys, "stdin", Piped(data))
    piped = open_list(campaign(), ["-"])
    assert (piped.files, piped.marks) == ((), ())
    folder = tmp_path / "lists" / "run-1"
    piped.keep(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    kept = open_kept(campaign(), folder, {})
    assert (kept.sha256, kept.rows, kept.columns) == (piped.sha256, piped.rows, piped.columns)
    assert everything(read(kept)) == everything(read(piped))


def test_a_query_can_be_kept(tmp_path: Path) -> None:
    """As it was, whatever its files are by then."""
    path = Path(write(tmp_path, [["tel1"], ["9812345671"], ["x"]]))
    asked = open_list(campaign(tmp_path, query="FROM 'list.csv'"))
    asked.keep(tmp_path / "kept")
    path.unlink()
    kept = open_kept(campaign(tmp_path), tmp_path / "kept", {})
    assert kept.sha256 == asked.sha256
    assert everything(read(kept)) == everything(read(asked))


def test_what_was_kept_and_is_gone(tmp_path: Path) -> None:
    """It is said what to do."""
    with pytest.raises(ListError, match="its copy is not there any more; start the campaign again"):
        open_kept(campaign(), tmp_path / "none", {})


def test_nothing_is_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at a terminal is told so."""
    stdin = Piped(b"")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(ListError, match="standard input is empty"):
        open_list(campaign(), ["-"])
    with (
        patch.object(stdin, "isatty", return_value=True),
        pytest.raises(ListError, match="nothing"),
    ):
        open_list(campaign(), ["-"])


def test_duplicates_need_what_they_are_known_by(tmp_path: Path) -> None:
    """A list without client-identifiers can't be compared by them, and that is said."""
    path = write(tmp_path, [["tel1"], [NUMBERS[0]]])
    checks = {"duplicates": "drop", "duplicates_by": "client_identifier"}
    with pytest.raises(ListError, match="the list has no column for it"):
        open_list(campaign(checks=checks), [path])
    assert open_list(campaign(checks={"duplicates_by": "client_identifier"}), [path]).rows == 1


def test_twins_of_a_file_are_refused(tmp_path: Path) -> None:
    """What `gzip -k` leaves behind: everybody would be called twice."""
    path = Path(write(tmp_path, [["tel1"], [NUMBERS[0]]]))
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ListError, match="holds the very rows of"):
        open_list(campaign(), [str(tmp_path)])
