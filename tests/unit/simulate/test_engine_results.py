"""What the engine answers, number by number: a change that only makes it faster changes none of them.

The scalers are the test's own, so that a policy may change without it. LLAMA_UPDATE_GOLDEN=1 writes the file anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from llama_operator.simulate.engine import LoadTime, Setup, simulate
from llama_operator.simulate.figures import percentiles
from llama_operator.simulate.generate import CODE, CONVERSATION, bursty, flash_crowd, poisson
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, Sight, View

GOLDEN = Path(__file__).parents[2] / "golden" / "simulate" / "engine.json"
WORLD = Setup(service=Service(), load=LoadTime(seconds=60, spread=0.3), initial=2, maximum=12, seed=5)
CASES: dict[str, tuple[Callable[[], Iterable[Request]], Setup]] = {
    "conversation": (lambda: poisson(CONVERSATION, 1200, seed=1), WORLD),
    "code": (lambda: bursty(CODE, 1200, seed=2), WORLD),
    "flash": (lambda: flash_crowd(CONVERSATION, 900, seed=3, at=300), replace(WORLD, lag=5.0, scrape=10.0)),
    "a slow batch in little room": (
        lambda: poisson(CONVERSATION, 600, seed=4),
        replace(WORLD, service=Service(itl=0.03, itl_per_sequence=0.002, kv=20_000, chunk=512, accepts=16), initial=4),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Following:
    """So many replicas as the newest scrape has requests for, 24 each; every tenth look none at all is said."""

    name: str = "following"

    @property
    def sight(self) -> Sight:
        return Sight(every=10.0, history=30.0)

    def look(self, view: View, memory: Any) -> Ask:
        turn = (memory or 0) + 1
        if turn % 10 == 0 or not view.scrapes:
            return Ask(None, turn)
        return Ask(-(-view.scrapes[-1].total // 24), turn, f"{view.loading} load, {len(view.draining)} drain")


def result(requests: Iterable[Request], setup: Setup) -> dict[str, Any]:
    outcome = simulate(requests, Following(), setup)
    return {
        "requests": outcome.requests,
        "served": outcome.served,
        "refused": outcome.refused,
        "replicaSeconds": round(outcome.replica_seconds, 6),
        "busySeconds": round(outcome.busy_seconds, 6),
        "requestSeconds": round(outcome.request_seconds, 3),
        "prompted": round(outcome.prompted, 3),
        "generated": round(outcome.generated, 3),
        "end": round(outcome.end, 6),
        "ttft": [None if value is None else round(value, 6) for value in percentiles(outcome.ttft, (0.1, 0.5, 0.9, 0.99, 1.0))],
        "changes": [[round(change.time, 6), change.before, change.after, change.reason] for change in outcome.changes],
        "points": [list(point) for point in outcome.points[::10]],
    }


@pytest.mark.parametrize("name", CASES)
def test_the_engine_answers_as_agreed(name: str) -> None:
    requests, setup = CASES[name]
    found = result(requests(), setup)
    kept = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
    if os.environ.get("LLAMA_UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps(kept | {name: found}, indent=1) + "\n", encoding="utf-8")
        kept[name] = found
    assert found == kept[name], f"{name} differs; if the change is meant, run again with LLAMA_UPDATE_GOLDEN=1"
