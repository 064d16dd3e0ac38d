"""Rows become portions of batches and rows left out; none is lost, wherever reading begins."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from builders import make_call, make_left_out, make_run
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.call import encode
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.packing import EMPTY_BLOCK, CallBlock, Chunk
from phonon_bulk.submit import Portion, _Waiting, portions, submit

SMALL_ROOM = 700
"""Bytes of calls in a body: four or five of the tests' calls, so that small lists make batches."""


def block(rows: list[int]) -> CallBlock:
    """Return the calls of rows as the list reader hands them over."""
    texts = [encode(make_call(row)) + b"," for row in rows]
    ends = array("q", [0])
    for text in texts:
        ends.append(ends[-1] + len(text))
    return CallBlock(b"".join(texts), ends, array("q", rows), array("q", [20_781] * len(rows)))


def notes(calls: list[int]) -> list[tuple[str, Sequence[int]]]:
    """Return what was changed in the calls of rows: one thing in all, others in some."""
    found = {"all": calls}
    for row in calls:
        found.setdefault(f"of {row % 3}", []).append(row)
    return [(note, array("q", rows)) for note, rows in found.items() if rows]


def chunks(good: list[bool], size: int, after_row: int = 0) -> Iterator[Chunk]:
    """Yield the rows after `after_row` in chunks of `size`; `good` says which are calls."""
    for start in range(0, len(good), size):
        rows = [
            row for row in range(start + 1, min(start + size, len(good)) + 1) if row > after_row
        ]
        if rows:
            calls = [row for row in rows if good[row - 1]]
            others = [make_left_out(row) for row in rows if not good[row - 1]]
            yield Chunk(block(calls), others, rows[-1], notes(calls))


def called(portion: Portion) -> list[int]:
    """Return the rows of a portion's calls."""
    batches = portion.batches
    return [r for one in batches for r in thaw_rows(one.first_row, one.calls, one.rows)]


def rows_of(portion: Portion) -> list[int]:
    """Return all rows a portion accounts for."""
    return sorted(called(portion) + [row.row for row in portion.left_out])


def bodies(portions_: list[Portion]) -> list[bytes]:
    """Return the bodies of portions, in order."""
    return [thaw(batch.body) for portion in portions_ for batch in portion.batches]


LISTS = st.lists(st.booleans(), min_size=1, max_size=60)


@given(LISTS, st.integers(1, 25))
def test_every_row_is_in_exactly_one_portion(good: list[bool], size: int) -> None:
    """Law: portions follow one another without a gap and hold each row once."""
    made = list(portions(chunks(good, size), SMALL_ROOM, 0))
    assert [p.after_row for p in made] == [0, *(p.last_row for p in made[:-1])]
    for portion in made:
        assert rows_of(portion) == list(range(portion.after_row + 1, portion.last_row + 1))
    assert made[-1].last_row == len(good)


@given(LISTS, st.integers(1, 25), st.integers(1, 25))
def test_the_blocks_do_not_show(good: list[bool], one: int, other: int) -> None:
    """Law: however the reader cuts the list, the bodies are the same."""
    first = bodies(list(portions(chunks(good, one), SMALL_ROOM, 0)))
    assert first == bodies(list(portions(chunks(good, other), SMALL_ROOM, 0)))


@given(LISTS, st.integers(1, 25), st.data())
def test_reading_on_after_any_portion(good: list[bool], size: int, data: st.DataObject) -> None:
    """Law: stopped after any portion and read on, each row and note is there once all the same."""
    made = list(portions(chunks(good, size), SMALL_ROOM, 0))
    kept = made[: data.draw(st.integers(0, len(made)))]
    row = kept[-1].last_row if kept else 0
    rest = list(portions(chunks(good, size, row), SMALL_ROOM, row))
    rows = [row for portion in kept + rest for row in rows_of(portion)]
    assert rows == list(range(1, len(good) + 1))
    noted: Counter[str] = Counter()
    for portion in kept + rest:
        noted.update({note: contacts for note, contacts, _ in portion.notes})
    whole = notes([row for row, is_good in enumerate(good, 1) if is_good])
    assert noted == {note: len(rows) for note, rows in whole}


@given(LISTS, st.integers(1, 25), st.integers(0, 60))
def test_a_note_is_with_its_row(good: list[bool], size: int, after_row: int) -> None:
    """Law: each portion notes what was changed in its own calls, all of it and nothing else."""
    for portion in portions(chunks(good, size, after_row), SMALL_ROOM, after_row):
        expected = [(note, len(rows), rows[0]) for note, rows in notes(called(portion))]
        assert sorted(portion.notes) == sorted(expected)


def test_notes_are_counted_at_once() -> None:
    """A million rows with a note cost a few looks at their numbers, not one each."""
    looks = 0

    class Numbers(Sequence[int]):
        """Row numbers that count how often they are looked at."""

        def __init__(self, rows: range) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, key: int | slice) -> Any:
            nonlocal looks
            looks += 1
            found = self.rows[key]
            return Numbers(found) if isinstance(found, range) else found

    rows = range(1, 1_000_001)
    waiting = _Waiting()
    waiting.add(Chunk(EMPTY_BLOCK, [], len(rows), [("moved", Numbers(rows))]))
    taken = [waiting.take(upto)[1] for upto in (0, 1, 999_500, 1_000_000)]
    assert taken == [
        [],
        [("moved", 1, 1)],
        [("moved", 999_499, 2)],
        [("moved", 500, 999_501)],
    ]
    assert looks < 100


@given(LISTS, st.integers(1, 25))
def test_bodies_are_whole_and_within_the_room(good: list[bool], size: int) -> None:
    """Law: each body is JSON, within its room, and the calls stand in the list's order."""
    calls = []
    for body in bodies(list(portions(chunks(good, size), SMALL_ROOM, 0))):
        assert len(body) <= SMALL_ROOM
        calls += orjson.loads(b"[" + body + b"]")
    expected = [make_call(row) for row, is_good in enumerate(good, 1) if is_good]
    assert [call["client-identifier"] for call in calls] == [c.client_identifier for c in expected]


def test_an_empty_reader() -> None:
    """A reader with nothing after the row it was told gives no portion."""
    assert list(portions(iter(()), SMALL_ROOM, 12)) == []


class Contacts:
    """A list of ten rows, the seventh of which becomes no call."""

    rows = 10

    def chunks(self, *, run: int, now: float, room: int, after_row: int = 0) -> Iterator[Chunk]:
        """See `Readable`."""
        del run, now, room
        return chunks([row != 7 for row in range(1, 11)], 4, after_row)


async def test_all_of_a_portion_is_in_the_journal(tmp_path: Path) -> None:
    """Calls, rows left out and notes, each once, though reading is stopped and goes on."""
    journal, stop = SqliteJournal(tmp_path / "j"), asyncio.Event()
    run = (await journal.open_run(make_run(), 0.0)).run
    reading: dict[str, Any] = {"run": run, "room": SMALL_ROOM, "now": lambda: 0.0, "stop": stop}
    assert not await submit(journal, Contacts(), progress=lambda _: stop.set(), **reading)
    read = await journal.read_so_far(run)
    assert read in range(1, 10)
    stop.clear()
    assert await submit(journal, Contacts(), after_row=read or 0, **reading)
    await journal.close()
    with SqliteBooks(tmp_path / "j") as books:
        record = books.run(run)
        assert (record.rows, record.calls, record.rejected) == (10, 9, 1)
        assert list(books.left_out(run)) == [make_left_out(7)]
        assert books.notes(run, 9) == [
            ("all", 9, 1),
            ("of 1", 3, 1),
            ("of 2", 3, 2),
            ("of 0", 3, 3),
        ]
