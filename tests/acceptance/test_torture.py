"""A short form of `make torture`: killed again and again, no call is lost and none is doubled."""

from pathlib import Path

from torture import torture


def test_killed_again_and_again(tmp_path: Path) -> None:
    """After 12 kills, at random and at named points, with answers lost, both books agree."""
    figures = torture(tmp_path, kills=12, seed=20_261_124)
    assert figures.kills == 12
    assert figures.good, figures
