"""How many inputs a promise is tried with: few while somebody waits for `make check`, many in `make test`, which sets LLAMA_DEEP=1.

Every test runs at both depths, but for that of a long trace's memory (tests/unit/simulate/test_memory.py), which has no smaller size. What
differs is the number of seeds and of generated examples, never what is asserted.
"""

from __future__ import annotations

import os

DEEP = os.environ.get("LLAMA_DEEP") == "1"


def seeds(deep: int) -> range:
    """Seeds of a simulation: `deep` of them in the deep run, else a sixth, rounded up."""
    return range(deep if DEEP else -(-deep // 6))


def examples(deep: int) -> int:
    """Generated inputs of a property: `deep` in the deep run, else a sixth, and ten at the least (all of fewer)."""
    return deep if DEEP else max(min(deep, 10), deep // 6)
