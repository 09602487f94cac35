"""What all tests share."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings
from tests.harness.depth import examples

# The machine that runs the tests may be busy with others' work: a slow example is no failure, a wrong one is.
settings.register_profile(
    "project", deadline=None, derandomize=True, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
