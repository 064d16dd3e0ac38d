"""What the operator is told to do."""

from hypothesis import given
from hypothesis import strategies as st
from summaries import summary

from phonon_bulk.cli.ending import advice, failed
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import Exit


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
