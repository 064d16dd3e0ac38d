"""What the journal is told of an answer: pure, as is all that decides."""

from collections.abc import Sequence

import orjson

from phonon_bulk.batch import State, part, start_date
from phonon_bulk.journal import Claim, FrozenBatch, Settlement
from phonon_bulk.journal.frozen import freeze, thaw_rows
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import Action, Decision

EXPIRED = "its start date had passed before it could be sent"
TOO_LATE = "the campaign's not_after had passed before it could be sent"
NOT_FRESH = "it could not be sent soon enough after it came in (intake.expire_after)"
NOT_PLACED = "not among the calls that the provider's partial success lists"

_STATES = {
    Action.ACCEPT: State.ACCEPTED,
    Action.REFUSE: State.REFUSED,
    Action.SPLIT: State.SPLIT,
    Action.DOUBT: State.IN_DOUBT,
    Action.AGAIN: State.READY,
}


def settlement_of(decision: Decision, answer: Answer, claim: Claim, replay_at: float) -> Settlement:
    """Return what the journal is to remember of an answer and of what follows from it.

    `replay_at` is when it may be replayed, if it is in doubt.
    """
    state, accepted, reason = _STATES[decision.action], 0, decision.reason
    if state is State.ACCEPTED:
        accepted = claim.calls
        if answer.verdict is Verdict.PARTIAL:
            accepted = len(answer.details or ())
            reason = NOT_PLACED if accepted < claim.calls else None
    keep = answer.details or answer.verdict is Verdict.UNCLEAR
    return Settlement(
        state=state,
        verdict=answer.verdict,
        reason=reason,
        accepted=accepted,
        request_id=answer.request_id,
        answer=answer.body if keep and answer.body else None,
        not_before=replay_at if state is State.IN_DOUBT else 0.0,
        variant=decision.variant,
        denied=decision.denied,
        http_status=answer.http_status,
        code=answer.code,
        message=answer.message,
    )


def identifiers_of(answer: Answer, calls: bytes) -> list[str]:
    """Return the client-identifiers of a batch where the answer speaks of single calls."""
    if answer.verdict is not Verdict.PARTIAL:
        return []
    return [call["client-identifier"] for call in orjson.loads(b"[" + calls + b"]")]


def before(calls: bytes, today: str) -> Sequence[int]:
    """Return the positions of the calls whose start date is past."""
    dates = [start_date(call).isoformat() for call in orjson.loads(b"[" + calls + b"]")]
    return [i for i, day in enumerate(dates) if day < today]


def parts_of(claim: Claim, calls: bytes, *positions: Sequence[int]) -> list[FrozenBatch]:
    """Return for each of `positions` a batch of the calls there, frozen."""
    rows = thaw_rows(claim.first_row, claim.calls, claim.rows)
    return [freeze(part(calls, rows, wanted)) for wanted in positions]
