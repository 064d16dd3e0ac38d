"""How calls are packed: within the limits, in order, none lost, none twice."""

from array import array
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate, pairwise

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phonon_bulk.batch import MAX_BODY_BYTES, MAX_CALLS, MAX_VARIANT, Batch, Head, room_for_calls
from phonon_bulk.packing import EMPTY_BLOCK, CallBlock, Packer, cut

FLOW = "QG8k000A"
HEAD = Head(security_id="s" * 64, flow_id=FLOW)
ROOM = room_for_calls(FLOW, 64)
EPOCH = date(1970, 1, 1)

SIZES = st.lists(st.integers(1, 40), max_size=60)
LIMITS = st.tuples(st.integers(40, 120), st.integers(1, 9))


def calls_of(sizes: Sequence[int]) -> list[bytes]:
    """Return made-up calls of those sizes, each unlike its neighbours."""
    return [(b"%d." % i * 50)[:size] for i, size in enumerate(sizes)]


def block_of(calls: Sequence[bytes], first: int = 0, before: bytes = b"") -> CallBlock:
    """Return the calls as a block whose rows begin with `first`, with bytes before the first."""
    ends = accumulate((len(call) + 1 for call in calls), initial=len(before))
    rows = range(first, first + len(calls))
    return CallBlock(
        before + b"".join(call + b"," for call in calls),
        memoryview(array("i", ends)),
        memoryview(array("q", rows)),
        memoryview(array("i", (20_000 + row * 7 % 5 for row in rows))),
    )


def pack(blocks: Sequence[CallBlock], room: int, max_calls: int = MAX_CALLS) -> list[Batch]:
    """Return all batches that the blocks make."""
    packer = Packer(room, max_calls)
    batches = [batch for block in blocks for batch in packer.add(block)]
    return [*batches, *packer.finish()]


def facts(batches: Sequence[Batch]) -> list[tuple[bytes, list[int], date]]:
    """Return all there is to a batch."""
    return [(batch.data, list(batch.rows), batch.start_date) for batch in batches]


@given(SIZES, LIMITS)
def test_batches_are_within_the_limits_and_lose_nothing(
    sizes: list[int], limits: tuple[int, int]
) -> None:
    """At most so many calls and bytes; every call once, in order; the earliest day of them."""
    room, max_calls = limits
    calls = calls_of(sizes)
    batches = pack([block_of(calls)], room, max_calls)
    assert all(1 <= batch.calls <= max_calls and len(batch.data) <= room for batch in batches)
    assert [row for batch in batches for row in batch.rows] == list(range(len(calls)))
    for batch in batches:
        assert batch.data == b",".join(calls[row] for row in batch.rows)
        days = [20_000 + row * 7 % 5 for row in batch.rows]
        assert batch.start_date == EPOCH + timedelta(days=min(days))


@given(SIZES, LIMITS)
def test_no_batch_could_have_taken_the_next_call(sizes: list[int], limits: tuple[int, int]) -> None:
    """So there are as few batches as an order that is kept allows."""
    room, max_calls = limits
    calls = calls_of(sizes)
    for batch, following in pairwise(pack([block_of(calls)], room, max_calls)):
        more = len(batch.data) + 1 + len(calls[following.rows[0]])
        assert batch.calls == max_calls or more > room


@given(SIZES, LIMITS, st.lists(st.integers(0, 60), max_size=8), st.binary(max_size=5))
def test_where_blocks_are_cut_makes_no_difference(
    sizes: list[int], limits: tuple[int, int], cuts: list[int], before: bytes
) -> None:
    """The reader's blocks leave no trace in what is sent, even those that begin inside a buffer."""
    calls = calls_of(sizes)
    whole = pack([block_of(calls)], *limits)
    borders = [0, *sorted(min(cut, len(calls)) for cut in cuts), len(calls)]
    blocks = [block_of(calls[a:b], a, before) for a, b in pairwise(borders)]
    assert facts(pack(blocks, *limits)) == facts(whole)


@given(SIZES, LIMITS)
def test_what_is_held_back_is_known(sizes: list[int], limits: tuple[int, int]) -> None:
    """The first row that no batch has yet: what came before it is accounted for."""
    packer = Packer(*limits)
    done = 0
    for row, call in enumerate(calls_of(sizes)):
        done += sum(batch.calls for batch in packer.add(block_of([call], row)))
        assert packer.first_held == (done if done <= row else None)
    list(packer.finish())
    assert packer.first_held is None


@given(st.lists(st.integers(100, 60_000), min_size=1, max_size=30), st.booleans())
@example([256_000 // 4] * 9, False)
@example([80] * 30, True)
def test_no_body_is_larger_than_the_provider_takes(sizes: list[int], many: bool) -> None:
    """The whole body, with the longest head there is, is within 256,000 bytes and 500 calls."""
    calls = [b'"' + b"x" * (size - 2) + b'"' for size in sizes * (60 if many else 1)]
    for batch in pack([block_of(calls)], ROOM):
        body = HEAD.body(batch.data, MAX_VARIANT)
        assert len(body) <= 256_000 == MAX_BODY_BYTES
        assert len(orjson.loads(body)["calls"]) == batch.calls <= 500 == MAX_CALLS


def test_the_room_is_used_to_the_last_byte() -> None:
    """A body of exactly the limit is allowed, and one byte more is not."""
    [batch] = pack([block_of([b"x" * 1000, b"y" * (ROOM - 1001)])], ROOM)
    assert len(HEAD.body(batch.data, MAX_VARIANT)) == MAX_BODY_BYTES
    assert len(pack([block_of([b"x" * 1000, b"y" * (ROOM - 1000)])], ROOM)) == 2


def test_a_call_that_fits_no_body_is_an_error() -> None:
    """The reader rejects such rows, so that it gets here is a bug."""
    assert cut([0, 11], 10) == [0, 1]
    with pytest.raises(ValueError, match="a call of 11 bytes fits no body"):
        cut([5, 17], 10)


def test_an_empty_block_makes_no_batch() -> None:
    """Neither alone nor between others."""
    assert pack([], 100) == pack([EMPTY_BLOCK], 100) == []
    calls = block_of([b"a", b"b"])
    assert len(pack([EMPTY_BLOCK, calls, EMPTY_BLOCK], 100)) == 1
