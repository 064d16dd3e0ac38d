"""What to do with a batch after an answer, and how long to leave the endpoint alone.

Both are pure: facts, time and chance are passed in. The table behind `decide`:

| verdict            | first try                    | replay of a doubt                   |
|--------------------|------------------------------|-------------------------------------|
| accepted, partial  | accepted                     | accepted: the first try never counted |
| repeated           | refused as a repeat          | accepted, request-id unknown        |
| bad data           | split; refused if one call   | in doubt still                      |
| set-up, account    | ready again, the run stops   | in doubt still, the run stops       |
| throttled, not sent| ready again, the endpoint rests | in doubt still, the endpoint rests |
| held back          | ready again                  | in doubt still                      |
| unclear, lost      | in doubt                     | in doubt still                      |

One more: bytes that were answered with a clear no (throttled, set-up, account) may have left their
checksum with the provider all the same; whether it is taken before or after processing is not
documented. A *Checksum Repeated* after such a no therefore proves nothing. If nothing else is in
doubt, the batch goes out once more as another variant, whose bytes differ and mean the same; if
another try of these bytes may have arrived, it stays in doubt, and a person must find out.

And a refusal for bad data says nothing of an earlier try of the same bytes: it may come from a
server on the way, from a rule that has changed since, or from a request that was cut. What a person
has sent again, having found out that it was not taken, is treated as on a first try there.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from phonon_bulk.batch import MAX_VARIANT
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.throttle import LONGEST_RETRY_AFTER, BackOff


class Action(StrEnum):
    """What is to happen with the batch."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    SPLIT = "split"
    DOUBT = "doubt"
    AGAIN = "again"
    """Ready again: the bytes were surely not taken."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a batch when an answer to it comes in."""

    calls: int
    variant: int
    doubted: bool
    """An earlier attempt with these bytes may have arrived."""
    denied: bool
    """An earlier attempt with these bytes was answered with a clear no."""
    replay: bool = False
    """It is in doubt, and was sent to find out; False for what a person has sent again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an answer."""

    action: Action
    reason: str | None
    """For the operator; None where all is well."""
    variant: int
    """The variant in which the batch goes out next."""
    denied: bool = False
    """The answer was a clear no to these bytes."""
    stop: str | None = None
    """Why nothing more is to be sent, if that is so."""
    rest: bool = False
    """The endpoint is to be left alone for a while."""


def decide(answer: Answer, facts: Facts) -> Decision:
    """Return what to do with a batch, given what came back; see the table above."""
    match answer.verdict:
        case Verdict.ACCEPTED:
            known = answer.request_id is not None
            return Decision(
                Action.ACCEPT, None if known else "accepted without a request-id", facts.variant
            )
        case Verdict.PARTIAL:
            return Decision(Action.ACCEPT, _quoted(answer), facts.variant)
        case Verdict.REPEATED:
            return _after_repeat(answer, facts)
        case Verdict.BAD_DATA:
            return _after_bad_data(answer, facts)
        case Verdict.SETUP | Verdict.ACCOUNT:
            return _after_no(answer, facts, stop=_quoted(answer))
        case Verdict.THROTTLED:
            return _after_no(answer, facts, rest=True)
        case Verdict.NOT_SENT | Verdict.HELD_BACK:
            action = Action.DOUBT if facts.doubted else Action.AGAIN
            rest = answer.verdict is Verdict.NOT_SENT
            return Decision(action, _quoted(answer), facts.variant, rest=rest)
        case Verdict.UNCLEAR | Verdict.LOST:
            return Decision(Action.DOUBT, _quoted(answer), facts.variant, rest=True)


def _after_bad_data(answer: Answer, facts: Facts) -> Decision:
    if facts.replay:
        reason = f"{_quoted(answer)}, which does not say whether an earlier try was taken"
        return Decision(Action.DOUBT, reason, facts.variant)
    action = Action.SPLIT if facts.calls > 1 else Action.REFUSE
    return Decision(action, _quoted(answer), facts.variant)


def _after_repeat(answer: Answer, facts: Facts) -> Decision:
    if facts.doubted and facts.denied:
        reason = (
            f"{_quoted(answer)}, which proves nothing here: an earlier try of these bytes was "
            "answered with a no, and may be what the provider remembers"
        )
        return Decision(Action.DOUBT, reason, facts.variant)
    if facts.doubted:
        reason = (
            "taken at an earlier try, whose answer was lost or unclear: no request-id is known, "
            "nor which of its calls were left out, if any were"
        )
        return Decision(Action.ACCEPT, reason, facts.variant)
    if facts.denied and facts.variant < MAX_VARIANT:
        return Decision(Action.AGAIN, _quoted(answer), facts.variant + 1)
    reason = f"{_quoted(answer)}: the provider has had these very bytes from somebody before"
    return Decision(Action.REFUSE, reason, facts.variant)


def _after_no(
    answer: Answer, facts: Facts, *, stop: str | None = None, rest: bool = False
) -> Decision:
    action = Action.DOUBT if facts.doubted else Action.AGAIN
    return Decision(action, _quoted(answer), facts.variant, denied=True, stop=stop, rest=rest)


def _quoted(answer: Answer) -> str:
    return answer.message if answer.code is None else f"{answer.message} ({answer.code})"


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to wait; all in seconds."""

    first: float = 1.0
    """The back-off after the first failure; doubled with each further one."""
    most: float = 60.0
    give_up_after: float = 900.0
    """Without one clear answer for so long, the run is given up for now."""


DOUBTS_BEFORE_REST = 3
"""Unclear answers in a row before the endpoint is left alone: one alone may be chance, and the
batches that follow it need not be put at risk of doubt by an outage."""


def replay_delay(attempts: int, first: float) -> float:
    """Return the seconds to wait before a doubt is replayed that had been posted `attempts` times.

    Not at once: the provider may still be at work on the first request, and whether it takes the
    checksum before or after that is not documented.
    """
    return min(first * 2.0 ** min(attempts, 30), _LONGEST_REPLAY_DELAY)


_LONGEST_REPLAY_DELAY = 120.0


@dataclass(frozen=True, slots=True)
class Rest:
    """How the endpoint fares: failures in a row, and until when it is left alone.

    `since` is when the first of them came; moments are of a monotonic clock.
    """

    failures: int = 0
    doubts: int = 0
    since: float = 0.0
    until: float = 0.0
    failed_at: float = -1.0

    def after_success(self, sent_at: float) -> "Rest":
        """Return how it fares after a clear answer to a request that was sent at `sent_at`.

        An answer to a request from before the trouble says nothing about the trouble.
        """
        return self if sent_at < self.failed_at else Rest()

    def after_failure(
        self, answer: Answer, sent_at: float, now: float, policy: Policy, chance: float
    ) -> "Rest":
        """Return how it fares after a request, sent at `sent_at`, that had no clear answer.

        Requests that were under way together when the trouble began count as one failure.
        """
        doubtful = answer.verdict in {Verdict.UNCLEAR, Verdict.LOST}
        doubts = self.doubts + doubtful
        if doubtful and doubts < DOUBTS_BEFORE_REST and answer.retry_after is None:
            return replace(self, doubts=doubts)
        # A provider that says "later" is there, so it is not given up.
        new_row = not self.failures or answer.verdict is Verdict.THROTTLED
        failures = self.failures + (sent_at >= self.failed_at)
        wait = BackOff(policy.first, policy.most, chance).after(max(failures, 1))
        if answer.retry_after is not None:
            told = min(answer.retry_after, LONGEST_RETRY_AFTER)
            # How long to rest after "too many" is decided for all processes (throttle.py).
            wait = told if answer.verdict is Verdict.THROTTLED else max(wait, told)
        return Rest(
            failures=max(failures, 1),
            doubts=doubts,
            since=now if new_row else self.since,
            until=max(self.until, now + wait),
            failed_at=now,
        )

    def given_up(self, now: float, policy: Policy) -> bool:
        """Say whether there was no clear answer for too long."""
        return self.failures > 0 and now - self.since > policy.give_up_after
