"""Rows become portions of batches and rejected rows; none is lost, wherever reading begins."""

from array import array
from collections.abc import Iterator

import orjson
from builders import make_call
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import CallBlock, Chunk
from phonon_bulk.call import RejectedRow, encode
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.submit import Portion, portions

SMALL_ROOM = 700
"""Bytes of calls in a body: four or five of the tests' calls, so that small lists make batches."""


def block(rows: list[int]) -> CallBlock:
    """Return the calls of rows as the list reader hands them over."""
    texts = [encode(make_call(row)) + b"," for row in rows]
    ends = array("q", [0])
    for text in texts:
        ends.append(ends[-1] + len(text))
    return CallBlock(b"".join(texts), ends, array("q", rows), array("q", [20_781] * len(rows)))


def rejected(row: int) -> RejectedRow:
    """Return a row that became no call."""
    return RejectedRow(row, "no usable number", None, (), "{}")


def chunks(good: list[bool], size: int, after_row: int = 0) -> Iterator[Chunk]:
    """Yield the rows after `after_row` in chunks of `size`; `good` says which are calls."""
    for start in range(0, len(good), size):
        rows = [
            row for row in range(start + 1, min(start + size, len(good)) + 1) if row > after_row
        ]
        if rows:
            calls = [row for row in rows if good[row - 1]]
            others = [rejected(row) for row in rows if not good[row - 1]]
            yield Chunk(block(calls), others, rows[-1])


def rows_of(portion: Portion) -> list[int]:
    """Return all rows a portion accounts for."""
    called = [
        row
        for batch in portion.batches
        for row in thaw_rows(batch.first_row, batch.calls, batch.rows)
    ]
    return sorted(called + [row.row for row in portion.rejected])


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
    """Law: stopped after any portion and read on, every row is there once all the same."""
    made = list(portions(chunks(good, size), SMALL_ROOM, 0))
    kept = made[: data.draw(st.integers(0, len(made)))]
    row = kept[-1].last_row if kept else 0
    rest = list(portions(chunks(good, size, row), SMALL_ROOM, row))
    rows = [row for portion in kept + rest for row in rows_of(portion)]
    assert rows == list(range(1, len(good) + 1))


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
