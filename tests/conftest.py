"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy with others' work: a slow example is no failure, a wrong one is.
settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
