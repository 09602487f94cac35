"""The simulator is held to a run on a real cluster: real Prometheus, simulated engine, one to three replicas (docs/simulate.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.calibration import Record, observed, over_seeds

RUN = Path(__file__).parents[2] / "data" / "calibration-2026-11-22.json"
"""What `python -m bench.calibration --record` wrote, times rounded to a thousandth of a second."""


@pytest.fixture(scope="module")
def record() -> Record:
    return Record.of(RUN.read_text(encoding="utf-8"))


def test_the_run_is_the_one_that_the_docs_tell(record: Record) -> None:
    seen = observed(record)
    assert (len(record.answers), round(seen.cost), round(seen.attained, 3)) == (284, 782, 0.662)
    assert {wanted for _, wanted, _, _ in record.counts} == {1, 2, 3}


@pytest.mark.parametrize("scaled", [False, True], ids=["scaled by our policy", "scaled as the cluster was"])
def test_replica_seconds_and_attainment_of_a_real_run_are_predicted(record: Record, scaled: bool) -> None:
    seen, predicted = observed(record), over_seeds(record, scaled=scaled)
    assert predicted.cost == pytest.approx(seen.cost, rel=0.05)
    assert predicted.attained == pytest.approx(seen.attained, abs=0.05)
