"""A Phonon to try things on: both endpoints, every documented rule, faults on request, and books.

    async with serving(Rules(flow_ids=frozenset({"QG8k000A"}))) as phonon:
        ...  # post to phonon.bulk_url
        assert phonon.ledger.summary()["bulk"]["accepted-calls"] == 500

No fact about Phonon stands here that its public pages do not state; what they leave open is an
option of `Rules`. The parts: options.py (the rules that can be set), rules.py (a request's bytes to
a verdict, pure), faults.py (what goes wrong, and when), ledger.py (the books), provider.py (what is
remembered, and how an answer comes about), server.py (HTTP, the only effects).
"""

from phonon_bulk.simulator.faults import Fault, parse_fault
from phonon_bulk.simulator.options import Endpoint, RetryAfter, Rules
from phonon_bulk.simulator.provider import Reply, Simulator
from phonon_bulk.simulator.server import Running, run, serving

__all__ = [
    "Endpoint",
    "Fault",
    "Reply",
    "RetryAfter",
    "Rules",
    "Running",
    "Simulator",
    "parse_fault",
    "run",
    "serving",
]
