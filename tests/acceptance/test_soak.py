"""A short form of `make soak`: everything that befalls a worker in a day, within a minute."""

from pathlib import Path

from soak import soak

GENEROUS = 1.5
"""A minute says little about memory; what leaks with every request shows all the same."""


async def test_a_day_in_a_minute(tmp_path: Path) -> None:
    """Killed, stopped, refused, locked out and reloaded: in the end both books agree."""
    verdict = await soak(tmp_path, minutes=0.75, seed=20_261_124)
    assert verdict.good, verdict.wrong
    contacts = verdict.figures["contacts"]
    assert contacts["in the journal"]["accepted"] == contacts["in the ledger"] > 0
    assert verdict.figures["runs"] > 0
    assert verdict.figures["done"]["worker started"] > 1
    assert all(life.ratio < GENEROUS for life in verdict.lives)
