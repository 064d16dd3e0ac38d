"""Journal -> limiter -> endpoint -> journal: sends the batches of one run.

    outcome     how sending is cut, how it goes, how it ended
    health      whether the endpoint may be used just now
    concurrency how many workers a run has, where it is left open; pure
    span        until when a batch may be sent
    settling    what the journal is told of an answer; pure
    feeder      what is to be sent next: ready batches, and doubts
    gathering   single calls that go out together
    tokens      the slots of the endpoint, out of the journal
    aftermath   what follows from an answer, carried out
    posting     slots and posts
    dispatcher  workers, leases: the effects

Everything a caller needs is named here.
"""

from phonon_bulk.dispatch.aftermath import REFUSALS_BEFORE_STOP
from phonon_bulk.dispatch.dispatcher import Dispatcher
from phonon_bulk.dispatch.outcome import Ending, Manner, Outcome, Pace, Posted, Tally
from phonon_bulk.dispatch.tokens import JournalTokens

__all__ = [
    "REFUSALS_BEFORE_STOP",
    "Dispatcher",
    "Ending",
    "JournalTokens",
    "Manner",
    "Outcome",
    "Pace",
    "Posted",
    "Tally",
]
