"""Journal -> limiter -> endpoint -> journal: sends the batches of one run.

    outcome     how sending is cut, how it goes, how it ended
    health      whether the endpoint may be used just now
    settling    what the journal is told of an answer; pure
    dispatcher  feeder, workers, leases: the effects

Everything a caller needs is named here.
"""

from phonon_bulk.dispatch.dispatcher import REFUSALS_BEFORE_STOP, Dispatcher
from phonon_bulk.dispatch.outcome import Ending, Outcome, Pace, Tally

__all__ = ["REFUSALS_BEFORE_STOP", "Dispatcher", "Ending", "Outcome", "Pace", "Tally"]
