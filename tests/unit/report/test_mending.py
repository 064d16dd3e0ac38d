"""What the operator is told to mend."""

from typing import Any

import pytest
from summaries import summary

from phonon_bulk.journal import Kind
from phonon_bulk.report.mending import how_to_mend, next_step
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


def test_a_run_that_is_held_says_what_it_waits_for() -> None:
    """The step that mends it, and the command after it, also where a worker sends."""
    assert next_step(summary()) is None
    paused = next_step(summary(state="paused"))
    assert paused is not None
    assert "`phonon-bulk resume 3` (with --to-worker" in paused
    stopped = next_step(summary(state="stopped", reason="Invalid Flow ID (301)"))
    assert stopped is not None
    assert stopped.startswith("Correct flow_id in the campaign file")
    assert "resume 3 --flow-id ID` (with --to-worker" in stopped


def test_single_calls_that_are_held_have_no_campaign_file() -> None:
    """A wrong flow is named by those who send them; all else is mended as for lists."""
    fields: dict[str, Any] = {"state": "stopped", "kind": Kind.INTAKE}
    flow = next_step(summary(**fields, reason="Invalid Flow ID (301)"))
    assert flow is not None
    assert "phonon-bulk cancel 3" in flow
    assert "campaign file" not in flow
    balance = next_step(summary(**fields, reason="Insufficient Balance (305)"))
    assert balance is not None
    assert balance.endswith("then go on with `phonon-bulk resume 3 --to-worker`")
