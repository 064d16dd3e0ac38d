"""Single calls that go out together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import orjson
from builders import DAY, make_batch, make_data
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import MAX_CALLS
from phonon_bulk.dispatch.feeder import Feeder
from phonon_bulk.dispatch.gathering import Gathered, may_be_gathered
from phonon_bulk.journal import Claim
from phonon_bulk.journal.frozen import FrozenBatch, compress, thaw, thaw_rows

ROOM = 255_000


def claim_of(batch: FrozenBatch, number: int) -> Claim:
    """Return a batch as it is claimed."""
    return Claim(
        batch=number,
        run=1,
        first_row=batch.first_row,
        calls=batch.calls,
        start_date=batch.start_date,
        sha256=batch.sha256,
        variant=0,
        head_sha256=None,
        attempts=0,
        doubted=None,
        denied=False,
        came_at=0.0,
        body=batch.body,
        rows=batch.rows,
    )


class Hand:
    """A feeder's hand, without a journal."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = list(claims)

    def next_at_hand(self) -> Claim | None:
        """Return the next one."""
        return self.claims.pop(0) if self.claims else None

    def put_back(self, claim: Claim) -> None:
        """Take one back."""
        self.claims.insert(0, claim)


def gather(
    claims: Sequence[Claim], most: int = MAX_CALLS, room: int = ROOM
) -> tuple[Gathered, Hand]:
    """Gather what goes with the first."""
    first, *rest = claims
    hand = Hand(rest)
    together = Gathered(first, thaw(first.body), most, room)
    together.take(cast(Feeder, hand), lambda _claim: False)
    return together, hand


SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=20)


@given(sizes=SIZES, most=st.integers(1, 600), room=st.integers(40_000, 255_000))
def test_the_law(sizes: list[int], most: int, room: int) -> None:
    """In order, within all limits, nothing lost: what is not taken is at hand still, in order."""
    claims, row = [], 1
    for number, size in enumerate(sizes):
        claims.append(claim_of(make_batch(range(row, row + size)), number))
        row += size
    together, hand = gather(claims, most, room)
    taken = together.members
    assert [*taken, *hand.claims] == claims
    if len(taken) > 1:
        assert sum(claim.calls for claim in taken) <= min(most, MAX_CALLS)
        assert len(together.calls) <= room
    frozen = together.frozen()
    rows = range(1, 1 + sum(claim.calls for claim in taken))
    assert list(thaw_rows(frozen.first_row, frozen.calls, frozen.rows)) == list(rows)
    assert thaw(frozen.body) == together.calls == make_data(rows)
    assert len(orjson.loads(b"[" + together.calls + b"]")) == frozen.calls


def test_rows_are_in_order_whoever_came_first() -> None:
    """A batch that was given back meanwhile comes after those behind it; its rows do not."""
    late, early = claim_of(make_batch([7, 8]), 1), claim_of(make_batch([2]), 2)
    together, _ = gather([late, early])
    frozen = together.frozen()
    assert list(thaw_rows(frozen.first_row, frozen.calls, frozen.rows)) == [2, 7, 8]
    assert together.calls == make_data([2, 7, 8])


def test_what_was_sent_goes_alone() -> None:
    """So do halves, and doubts that are replayed."""
    one = claim_of(make_batch([1]), 1)
    assert may_be_gathered(one)
    assert not may_be_gathered(replace(one, attempts=1))
    assert not may_be_gathered(replace(one, whole=False))
    assert not may_be_gathered(replace(one, replay=True))
    sent = replace(claim_of(make_batch([2]), 2), attempts=1)
    together, hand = gather([one, sent, claim_of(make_batch([3]), 3)])
    assert together.members == [one]
    assert [claim.batch for claim in hand.claims] == [2, 3]


def test_a_damaged_one_is_left_for_itself() -> None:
    """It costs its batch alone."""
    damaged = replace(claim_of(make_batch([2]), 2), body=compress(b"x")[:-2])
    together, hand = gather([claim_of(make_batch([1]), 1), damaged])
    assert len(together.members) == 1
    assert hand.claims == [damaged]


def test_the_earliest_day_holds() -> None:
    """No call is sent after its day."""
    tomorrow = DAY.replace(day=DAY.day + 1)
    claims = [claim_of(make_batch([1], tomorrow), 1), claim_of(make_batch([2]), 2)]
    together, _ = gather(claims)
    assert together.frozen().start_date == DAY.isoformat()
