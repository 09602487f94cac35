"""Methods to forecast demand over one load time, on the traffic of bench.scaling, by what being wrong costs.

    deploy/bin/uv run --frozen python -m bench.forecasting --azure AzureLLMInferenceTrace_conv.csv

Demand is that of replicas without a limit: sequences that decode / slots or prompt tokens / prefill rate, whichever is more, in buckets of
15 s. Each method names, bucket after bucket, a number of replicas for the highest demand of the coming horizon (the load time and the
delay of sight); a replica too few costs Costs.short, one too many Costs.spare. The table has the mean cost of a bucket, so less is better.
"+ errors" adds the quantile of the method's own past errors, as scaling/forecast.py does.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

from bench.scaling import COPIES, LOADS, traffic

from llama_operator.scaling import forecast
from llama_operator.scaling.costs import SIGHT_SECONDS, Costs
from llama_operator.scaling.forecast import BUCKET_SECONDS, KEPT, KEPT_ERRORS, LEVEL_BUCKETS, quantile, steady, straight
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traces import superpose

LEARNING_BUCKETS = 40
"""Not counted: every method needs a beginning."""
SMOOTHING, TREND_SMOOTHING = 0.3, 0.1
"""Of Holt's method: usual values, no better ones were sought."""

Method = Callable[[Sequence[float], int], float]


def series(requests: Iterable[Request], service: Service) -> list[float]:
    """Demand in replicas, bucket by bucket."""
    prompts: dict[int, float] = {}
    residence: dict[int, float] = {}
    last = 0
    for request in requests:
        begin, left = request.arrival, request.output * service.itl
        index = int(begin // BUCKET_SECONDS)
        last = max(last, index)
        prompts[index] = prompts.get(index, 0.0) + request.prompt
        while left > 0:
            part = min(left, (index + 1) * BUCKET_SECONDS - begin)
            residence[index] = residence.get(index, 0.0) + part
            begin, left, index = begin + part, left - part, index + 1
    rates = ((residence.get(index, 0.0) / service.slots, prompts.get(index, 0.0) / service.prefill) for index in range(last + 1))
    return [max(pair) / BUCKET_SECONDS for pair in rates]


def mean_level(seen: Sequence[float], ahead: int) -> float:
    """The last minute's mean."""
    del ahead
    return fmean(seen[-LEVEL_BUCKETS:])


def holt(seen: Sequence[float], ahead: int) -> float:
    """Holt's linear trend (1957), upward only."""
    level, trend = seen[0], 0.0
    for value in seen[1:]:
        before, level = level, SMOOTHING * value + (1 - SMOOTHING) * (level + trend)
        trend = TREND_SMOOTHING * (level - before) + (1 - TREND_SMOOTHING) * trend
    return level + max(trend, 0.0) * ahead


def theil_sen(seen: Sequence[float], ahead: int) -> float:
    """The median slope."""
    chosen = forecast.TREND_SHARE
    try:
        forecast.TREND_SHARE = 0.5
        return straight(seen, ahead)
    finally:
        forecast.TREND_SHARE = chosen


def highest(seen: Sequence[float], ahead: int) -> float:
    """The maximum of the last two horizons."""
    return max(seen[-2 * ahead :])


WITH_ERRORS: dict[str, Method] = {
    "now + errors": lambda seen, _: seen[-1],
    "level + errors": mean_level,
    "lower level + errors": lambda seen, _: steady(seen),
    "Holt + errors": holt,
    "Theil-Sen + errors": theil_sen,
    "ours": straight,
}
PLAIN: dict[str, Method] = {"now": lambda seen, _: seen[-1], "highest of two horizons": highest}


def cost(demand: Sequence[float], ahead: int, method: Method, learns: bool, costs: Costs) -> float:
    """Mean cost of a bucket."""
    paid: list[float] = []
    pending: list[float] = []
    errors: list[float] = []
    for index in range(len(demand) - ahead):
        seen = demand[max(index + 1 - KEPT, 0) : index + 1]
        plain = method(seen, ahead)
        if index >= ahead:
            errors = [*errors, max(demand[index - ahead + 1 : index + 1]) - pending[index - ahead]][-KEPT_ERRORS:]
        pending.append(plain)
        named = max(seen[-1], min(plain + quantile(errors, costs.share), max(plain, *seen))) if learns else plain
        wrong = max(demand[index + 1 : index + 1 + ahead]) - named
        paid.append(costs.short * wrong if wrong > 0 else -costs.spare * wrong)
    return fmean(paid[LEARNING_BUCKETS:])


def main(given: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.forecasting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--azure", type=Path, help="AzureLLMInferenceTrace_conv.csv of the Azure public dataset")
    asked = parser.parse_args(given)
    methods = [(name, method, True) for name, method in WITH_ERRORS.items()] + [(name, method, False) for name, method in PLAIN.items()]
    print("| trace | copies | load s |" + "".join(f" {name} |" for name, _, _ in methods))
    print("|---" * (3 + len(methods)) + "|")
    for name, made in traffic(asked.azure).items():
        base = list(made())
        for copies in COPIES:
            demand = series(superpose(partial(list, base), copies), Service())
            for load in LOADS:
                ahead = math.ceil((load + SIGHT_SECONDS) / BUCKET_SECONDS)
                found = (f"{cost(demand, ahead, method, learns, Costs()):.3f}" for _, method, learns in methods)
                print(f"| {name} | {copies} | {load:g} | " + " | ".join(found) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
