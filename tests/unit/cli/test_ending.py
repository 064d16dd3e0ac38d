"""What the operator is told to do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.cli.ending import advice, failed, how_to_mend, next_step
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import Exit
from phonon_bulk.journal import Kind
from phonon_bulk.report.summary import Summary
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


def summary(**changes: Any) -> Summary:
    """Return the summary of a run that is done."""
    names = ("rejected", "suppressed", "duplicates", "refused", "expired", "cancelled")
    zeros = dict.fromkeys((*names, "in_doubt", "abandoned", "to_send"), 0)
    fields: dict[str, Any] = {
        **zeros,
        "run": 3,
        "campaign": "reminder",
        "state": "done",
        "rows": 10,
        "calls": 10,
        "accepted": 10,
        "batches": 1,
        "requests": 1,
        "seconds": 1.0,
        "exit": Exit.DONE,
        "list_read": True,
        **changes,
    }
    return Summary(**fields)


@given(
    ending=st.sampled_from(Ending),
    state=st.sampled_from(["reading", "sending", "paused", "stopped", "cancelled", "done"]),
    code=st.sampled_from(Exit),
    to_send=st.integers(0, 2),
    in_doubt=st.integers(0, 2),
    rejected=st.integers(0, 2),
)
def test_every_end_but_a_good_one_says_what_to_do(
    ending: Ending, state: str, code: Exit, to_send: int, in_doubt: int, rejected: int
) -> None:
    """Also with --quiet: whoever is mailed by cron is told, with the number of the run."""
    sums = {"to_send": to_send, "in_doubt": in_doubt, "rejected": rejected}
    said = advice(Outcome(ending, "Insufficient Balance"), summary(state=state, exit=code, **sums))
    if code is not Exit.DONE:
        assert said
    if not any(sums.values()) and (ending, state, code) == (Ending.FINISHED, "done", Exit.DONE):
        assert said == []


def test_what_was_not_placed_is_named_with_the_command_that_lists_it() -> None:
    """Rows that were rejected are to be mended; what else is in it only listed."""
    assert failed(summary(rejected=2)) == (
        "2 rejected of 10 contacts: `phonon-bulk export 3 --only rejected -o mend.csv` writes "
        "these rows, to be mended and sent with `run`"
    )
    mixed = failed(summary(rejected=2, expired=1))
    assert "2 rejected, 1 expired of 10 contacts" in mixed
    assert "--only rejected --only expired -o failed.csv` lists them" in mixed
    assert "up to row 10 only" in failed(summary(list_read=False))


def test_a_reason_to_stop_is_said() -> None:
    """Time that is over is told as a pause is."""
    said = advice(Outcome(Ending.TOLD, "its --max-duration of 4h is over"), summary(to_send=5))
    sentence = "stopped (its --max-duration of 4h is over). What is not sent is kept; go on with "
    assert said == [f"{sentence}`phonon-bulk resume 3`"]


def test_a_paused_run_is_not_done() -> None:
    """Also if all that was read is sent."""
    told = Outcome(Ending.TOLD, "the run is paused")
    assert "phonon-bulk resume 3" in advice(told, summary(state="paused", exit=Exit.STOPPED))[0]


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
