"""Fixtures that several layers of tests share."""

import os

import hypothesis
import pytest

MOST_WORKERS = 16

# The machines that run these tests are shared: time says nothing about the code.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each core: half of the time goes by in waiting for clocks and commands."""
    return min(MOST_WORKERS, 2 * (os.cpu_count() or 1))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call binary content by its argument: an archive has the time in it, and differs each time."""
    return argname if isinstance(val, bytes) else None
