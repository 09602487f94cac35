"""What all tests share."""

from __future__ import annotations

import gc
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from tests.harness.depth import examples

# The machine that runs the tests may be busy with others' work: a slow example is no failure, a wrong one is.
settings.register_profile(
    "project", deadline=None, derandomize=True, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


if find_spec("sniffio") is None:
    # httpcore looks for it at every request, through all folders of the path: that it is not there is known by now.
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # what makes importing it an ImportError

gc.disable()


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: the garbage collector need not look through it again and again. And what tests
    leave is little, so it looks less often than after each 700 new objects, its default.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def certificates_are_read_once() -> Iterator[None]:
    """Each new client of httpx reads the certificates of a hundred authorities, which takes longer than most tests. All read the same."""
    create, once = ssl.create_default_context, cache(ssl.create_default_context)

    def of_the_file(*args: Any, **more: Any) -> ssl.SSLContext:
        return once(**more) if not args and more.keys() == {"cafile"} else create(*args, **more)

    with patch.object(ssl, "create_default_context", of_the_file):
        yield
