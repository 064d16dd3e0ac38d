"""Fixtures that several layers of tests share."""

import hypothesis

# The machines that run these tests are shared: time says nothing about the code.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")
