"""What follows from an answer, and how long the endpoint is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.batch import MAX_VARIANT
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import (
    DOUBTS_BEFORE_REST,
    Action,
    Facts,
    Policy,
    Rest,
    decide,
)
from phonon_bulk.throttle import LONGEST_RETRY_AFTER, BackOff

POLICY = Policy(first=1.0, most=60.0, give_up_after=900.0)


def of(verdict: Verdict, retry_after: float | None = None, request_id: str | None = "r") -> Answer:
    """Return an answer of a verdict."""
    return Answer(verdict, f"said {verdict}", request_id=request_id, retry_after=retry_after)


def facts(
    *,
    calls: int = 500,
    variant: int = 0,
    doubted: bool = False,
    denied: bool = False,
    replay: bool = False,
) -> Facts:
    """Return facts of a batch on its first try, but for what is given."""
    return Facts(calls, variant, doubted, denied, replay)


# The table at the top of retry.py.
FIRST_TRY = {
    Verdict.ACCEPTED: Action.ACCEPT,
    Verdict.PARTIAL: Action.ACCEPT,
    Verdict.REPEATED: Action.REFUSE,
    Verdict.BAD_DATA: Action.SPLIT,
    Verdict.SETUP: Action.AGAIN,
    Verdict.ACCOUNT: Action.AGAIN,
    Verdict.THROTTLED: Action.AGAIN,
    Verdict.NOT_SENT: Action.AGAIN,
    Verdict.HELD_BACK: Action.AGAIN,
    Verdict.UNCLEAR: Action.DOUBT,
    Verdict.LOST: Action.DOUBT,
}
REPLAY = {
    **FIRST_TRY,
    Verdict.REPEATED: Action.ACCEPT,
    Verdict.BAD_DATA: Action.DOUBT,
    Verdict.SETUP: Action.DOUBT,
    Verdict.ACCOUNT: Action.DOUBT,
    Verdict.THROTTLED: Action.DOUBT,
    Verdict.NOT_SENT: Action.DOUBT,
    Verdict.HELD_BACK: Action.DOUBT,
}


@pytest.mark.parametrize("verdict", Verdict)
def test_first_try(verdict: Verdict) -> None:
    """The first column of the table."""
    assert decide(of(verdict), facts()).action is FIRST_TRY[verdict]


@pytest.mark.parametrize("verdict", Verdict)
def test_replay_of_a_doubt(verdict: Verdict) -> None:
    """The second column: nothing but an answer about these bytes ends a doubt."""
    assert decide(of(verdict), facts(doubted=True, replay=True)).action is REPLAY[verdict]


def test_what_a_person_has_sent_again() -> None:
    """Somebody found out that it was not taken, so bad data is split as on a first try."""
    assert decide(of(Verdict.BAD_DATA), facts(doubted=True)).action is Action.SPLIT
    assert decide(of(Verdict.REPEATED), facts(doubted=True)).action is Action.ACCEPT


def test_a_single_bad_call_is_refused() -> None:
    """A batch of one call can't be split; it is refused with the provider's reason."""
    decision = decide(of(Verdict.BAD_DATA), facts(calls=1))
    assert decision.action is Action.REFUSE
    assert decision.reason == "said bad_data"


@pytest.mark.parametrize("verdict", [Verdict.SETUP, Verdict.ACCOUNT])
def test_what_would_hit_everything_stops(verdict: Verdict) -> None:
    """A wrong set-up or account stops the run, and says why."""
    assert decide(of(verdict), facts()).stop == f"said {verdict}"


@pytest.mark.parametrize(
    "verdict", [v for v in Verdict if v not in {Verdict.SETUP, Verdict.ACCOUNT}]
)
def test_nothing_else_stops(verdict: Verdict) -> None:
    """What concerns one batch stops no other."""
    assert decide(of(verdict), facts()).stop is None


def test_a_repeat_after_a_no_proves_nothing() -> None:
    """Bytes that were answered no go out as another variant when their checksum is known."""
    decision = decide(of(Verdict.REPEATED), facts(denied=True, variant=3))
    assert decision.action is Action.AGAIN
    assert decision.variant == 4


def test_variants_come_to_an_end() -> None:
    """After the last variant, the repeat is refused rather than tried for ever."""
    decision = decide(of(Verdict.REPEATED), facts(denied=True, variant=MAX_VARIANT))
    assert decision.action is Action.REFUSE


def test_a_repeat_proves_nothing_where_both_may_be_meant() -> None:
    """A doubt whose bytes were also answered no: which of the two is remembered, nobody knows."""
    decision = decide(of(Verdict.REPEATED), facts(doubted=True, denied=True))
    assert decision.action is Action.DOUBT
    assert "proves nothing" in (decision.reason or "")


def test_what_is_held_back_says_nothing_of_the_endpoint() -> None:
    """A request that this program kept back lets nobody rest."""
    assert not decide(of(Verdict.HELD_BACK), facts()).rest
    assert decide(of(Verdict.NOT_SENT), facts()).rest


def test_a_repeat_on_a_replay_is_marked() -> None:
    """Accepted by proof, but without a request-id: the reason says so."""
    reason = decide(of(Verdict.REPEATED), facts(doubted=True)).reason
    assert reason is not None
    assert "request-id" in reason


def test_accepted_without_a_request_id_is_marked() -> None:
    """A success without a request-id is a success, and is marked."""
    assert decide(of(Verdict.ACCEPTED, request_id=None), facts()).reason is not None
    assert decide(of(Verdict.ACCEPTED), facts()).reason is None


@given(
    st.sampled_from(Verdict),
    st.integers(1, 500),
    st.integers(0, MAX_VARIANT),
    st.booleans(),
    st.booleans(),
)
def test_only_an_answer_ends_a_doubt(
    verdict: Verdict, calls: int, variant: int, doubted: bool, denied: bool
) -> None:
    """Law: doubted bytes are never made ready again, nor changed, and never split unanswered."""
    decision = decide(of(verdict), Facts(calls, variant, doubted, denied))
    if doubted:
        assert decision.action is not Action.AGAIN
        assert decision.variant == variant
    if verdict in {Verdict.UNCLEAR, Verdict.LOST}:
        assert decision.action is Action.DOUBT


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_back_off_is_bounded(failures: int, chance: float) -> None:
    """Law: half to all of the doubled time, and never above the most."""
    whole = min(60.0, 2.0 ** min(failures - 1, 10))
    assert whole / 2 <= BackOff(POLICY.first, POLICY.most, chance).after(failures) <= whole


def test_back_off_doubles() -> None:
    """1, 2, 4 … 60 seconds at most, where chance has its way."""
    full = BackOff(POLICY.first, POLICY.most, 1.0)
    assert [full.after(n) for n in range(1, 9)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]


def test_failures_under_way_together_count_once() -> None:
    """Thirty posts that fail at the same outage are one failure, not thirty."""
    rest = Rest()
    for _ in range(30):
        rest = rest.after_failure(of(Verdict.NOT_SENT), 1.0, 2.0, POLICY, 1.0)
    assert rest.failures == 1
    assert rest.until == 3.0
    rest = rest.after_failure(of(Verdict.NOT_SENT), 3.0, 4.0, POLICY, 1.0)
    assert (rest.failures, rest.until) == (2, 6.0)


def test_one_doubt_is_chance() -> None:
    """Doubts below the threshold do not slow the run; from there on the endpoint rests."""
    rest = Rest()
    for _ in range(DOUBTS_BEFORE_REST - 1):
        rest = rest.after_failure(of(Verdict.LOST), 0.0, 1.0, POLICY, 1.0)
        assert (rest.failures, rest.until) == (0, 0.0)
    assert rest.after_failure(of(Verdict.LOST), 0.0, 1.0, POLICY, 1.0).failures == 1


def test_success_ends_the_rest() -> None:
    """A clear answer forgets all failures."""
    rest = Rest().after_failure(of(Verdict.NOT_SENT), 0.0, 1.0, POLICY, 1.0)
    assert rest.after_success(sent_at=1.5) == Rest()


def test_an_answer_from_before_the_trouble_does_not_end_the_rest() -> None:
    """Posts that left before the 429 and succeed after it do not wipe out its Retry-After."""
    rest = Rest().after_failure(of(Verdict.THROTTLED, 60.0), 0.0, 1.0, POLICY, 1.0)
    assert rest.after_success(sent_at=0.5) == rest


@pytest.mark.parametrize(("asked", "waits"), [(10.0, 10.0), (0.0, 1.0), (1e9, LONGEST_RETRY_AFTER)])
def test_retry_after_is_obeyed(asked: float, waits: float) -> None:
    """A Retry-After lengthens the wait, never shortens it, and is obeyed for an hour at most."""
    rest = Rest().after_failure(of(Verdict.NOT_SENT, asked), 0.0, 0.0, POLICY, 1.0)
    assert rest.until == waits


def test_a_rest_that_was_decided_for_all_is_kept_to() -> None:
    """After "too many" the wait is that of throttle.py, also where a back-off would be longer."""
    rest = Rest(failures=6, since=0.0, until=5.0, failed_at=4.0)
    rest = rest.after_failure(of(Verdict.THROTTLED, 3.0), 10.0, 10.0, POLICY, 1.0)
    assert rest.until == 13.0


def test_given_up_after_too_long_without_an_answer() -> None:
    """It counts from the first failure, however long all was well before that."""
    rest = Rest()
    for moment in (5000.0, 5400.0, 5900.0):
        rest = rest.after_failure(of(Verdict.NOT_SENT), moment, moment, POLICY, 1.0)
    assert not rest.given_up(5900.0, POLICY)
    assert rest.given_up(5900.1, POLICY)


def test_throttling_is_an_answer() -> None:
    """A provider that says "later" is there: it is not given up."""
    rest = Rest().after_failure(of(Verdict.NOT_SENT), 0.0, 0.0, POLICY, 1.0)
    rest = rest.after_failure(of(Verdict.THROTTLED), 899.0, 899.0, POLICY, 1.0)
    assert not rest.given_up(1000.0, POLICY)


def test_an_unclear_answer_may_ask_for_a_rest() -> None:
    """HTTP 503 with Retry-After: the first one is obeyed already."""
    rest = Rest().after_failure(of(Verdict.UNCLEAR, retry_after=7.0), 0.0, 10.0, POLICY, 1.0)
    assert (rest.failures, rest.until) == (1, 17.0)
