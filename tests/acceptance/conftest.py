"""Makes the desk and the simulator known to all acceptance tests."""

from desk import desk, simulate

__all__ = ["desk", "simulate"]
