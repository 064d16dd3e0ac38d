"""Journal -> limiter -> endpoint -> journal: sends the batches of one run.

    outcome     how sending is cut, how it goes, how it ended
    health      whether the endpoint may be used just now
    settling    what the journal is told of an answer; pure
    tokens      the slots of the endpoint, out of the journal
    dispatcher  feeder, workers, leases: the effects

Everything a caller needs is named here.
"""

from phonon_bulk.dispatch.dispatcher import REFUSALS_BEFORE_STOP, Dispatcher
from phonon_bulk.dispatch.outcome import Ending, Outcome, Pace, Posted, Tally
from phonon_bulk.dispatch.tokens import JournalTokens

__all__ = [
    "REFUSALS_BEFORE_STOP",
    "Dispatcher",
    "Ending",
    "JournalTokens",
    "Outcome",
    "Pace",
    "Posted",
    "Tally",
]
