"""What the operator is told to do."""

import pytest

from phonon_bulk.cli.ending import how_to_mend
from phonon_bulk.response import _ERRORS, _STATUSES, Verdict

STOPPING = [
    message
    for verdict, message in (*_ERRORS.values(), *_STATUSES.values())
    if verdict in {Verdict.SETUP, Verdict.ACCOUNT} and message != "HTTP 401"
]


@pytest.mark.parametrize("message", [*STOPPING, "Invalid Security ID"])
def test_every_stop_says_which_step_mends_it(message: str) -> None:
    """Each answer that stops a run has a step of its own, and says how to go on."""
    advice = how_to_mend(message, 3)
    assert not advice.startswith("Mend it with Phonon")
    assert "phonon-bulk resume 3" in advice


def test_a_reason_without_a_step() -> None:
    """An answer that nothing is known about is the provider's to explain."""
    assert how_to_mend("HTTP 401", 3).startswith("Mend it with Phonon")
