"""The head of a body, its variants, and the parts of a batch."""

from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import MAX_VARIANT, Head, part, start_date

FLOW = "QG8k000A"
HEAD = Head(security_id="s" * 64, flow_id=FLOW)


def test_a_body_is_what_the_api_describes() -> None:
    """The head in front, the calls, and nothing else."""
    body = Head("s3cret", FLOW).body(b'{"a":1},{"b":2}')
    assert body == (
        b'{"api-version":"1.0","security-id":"s3cret","flow-id":"QG8k000A",'
        b'"calls":[{"a":1},{"b":2}]}'
    )


def test_variants_differ_in_bytes_and_in_nothing_else() -> None:
    """Each is a new checksum to the provider and the same request."""
    bodies = [HEAD.body(b"{}", variant) for variant in range(MAX_VARIANT + 1)]
    assert len(set(bodies)) == len({HEAD.digest(v) for v in range(MAX_VARIANT + 1)}) == 17
    assert all(orjson.loads(body) == orjson.loads(bodies[0]) for body in bodies)
    for variant in (-1, MAX_VARIANT + 1):
        with pytest.raises(ValueError, match="a variant is 0 to 16"):
            HEAD.before_calls(variant)


def test_a_head_is_not_shown() -> None:
    """It holds the security id."""
    assert "ssss" not in repr(HEAD) + str(HEAD)


@given(st.data())
def test_parts_of_a_batch_are_its_calls_again(data: st.DataObject) -> None:
    """A refused batch is split into its own bytes, with their rows and their earliest day."""
    days = data.draw(st.lists(st.integers(1, 28), min_size=1, max_size=6))
    calls = [
        orjson.dumps({"client-identifier": f'é"{i}', "start-time": f"2026-02-{day:02}T00:00:00"})
        for i, day in enumerate(days)
    ]
    wanted = data.draw(st.lists(st.sampled_from(range(len(days))), min_size=1, unique=True))
    found = part(b",".join(calls), range(10, 10 + len(days)), wanted)
    assert found.data == b",".join(calls[i] for i in wanted)
    assert found.rows == [10 + i for i in wanted]
    assert found.start_date == date(2026, 2, min(days[i] for i in wanted))


def test_the_start_date_is_the_one_at_the_providers_clock() -> None:
    """A frozen call's start-time is at +05:30, so its first ten characters are that date."""
    assert start_date({"start-time": "2026-11-24T00:10:00+05:30"}) == date(2026, 11, 24)
