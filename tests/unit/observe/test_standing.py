"""How a long-lived process stands, in words."""

import pytest

from phonon_bulk.observe.standing import Standing


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing(0.0), "idle; 0 calls accepted"),
        (Standing(0.0, sending=(3,), accepted=1_234), "sending run 3; 1,234 calls accepted"),
        (Standing(0.0, accepted=5, in_doubt=2), "idle; 5 calls accepted, 2 in doubt"),
        (
            Standing(0.0, sending=tuple(range(1, 8))),
            "sending run 1, 2, 3, 4, 5, …; 0 calls accepted",
        ),
        (
            Standing(0.0, sending=(1, 2), resting=("run 1: HTTP 503", "run 2: HTTP 503")),
            "sending run 1, 2; 0 calls accepted; the provider is away: run 1: HTTP 503",
        ),
        (
            Standing(0.0, blocked=("run 4: Invalid Flow ID (301)",)),
            "idle; 0 calls accepted; stopped: run 4: Invalid Flow ID (301)",
        ),
        (Standing(0.0, sending=(3,), journal_problem="full"), "waiting for the journal: full"),
        (Standing(0.0, sending=(3,), draining=True), "stopping: what is under way is ended"),
    ],
)
def test_in_words(standing: Standing, words: str) -> None:
    """What matters most comes first, on one line."""
    assert standing.in_words() == words
