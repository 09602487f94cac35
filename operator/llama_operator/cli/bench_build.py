"""From what the load tool found to a report. Pure.

Percentiles of requests are computed from the requests' own times, as the tool computes them. Those between tokens, of which only a
histogram leaves the pod, are the tool's own and have no interval. The tool says 0 where it measured nothing: here that is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.cli.bench_document import Failure, Goodput, Percentile, RunReport, Times
from llama_operator.cli.bench_driver import GROWTH
from llama_operator.cli.bench_question import Load
from llama_operator.cli.bench_statistics import SHARES, interval, percentile
from llama_operator.cli.moments import stamp

START, TTFT, WHOLE, PROMPT, OUTPUT = range(5)
"""Places in a request's sample."""
CUT = "the answer broke off, or had another length than was asked"
FEW = 100
"""Requests below which a 99th percentile is the slowest but one."""


class NoResultError(Exception):
    """What the tool found cannot be read; the text says why."""


def objectives_of(spec: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Seconds to the first token and between tokens that a deployment should keep; None where it names none."""
    wanted = spec.get("objectives") or {}
    scaled = (spec.get("autoscaling") or {}).get("objective") or {}
    first = wanted.get("timeToFirstTokenSeconds", scaled.get("timeToFirstTokenSeconds"))
    return first, wanted.get("interTokenSeconds")


def run_report(
    load: Load, found: Mapping[str, Any] | None, begun: float, output_tokens: int, objectives: tuple[float | None, float | None]
) -> RunReport:
    """One load's. `found` is what the driver's `reduced` made, `begun` seconds since 1970, and `output_tokens` what every answer was to
    have: one with fewer broke off, which the tool takes for a whole one. Raises NoResultError.
    """
    if found is None:
        raise NoResultError("it did not come whole through the pod's log")
    try:
        samples = [list(sample) for sample in found["requests"]]
        numbers, gaps, errors = found["numbers"], found["gaps"], dict(found["errors"])
        lasted = float(numbers["duration"])
        whole = [sample for sample in samples if sample[TTFT] is not None]
        if len(whole) != numbers["completed"] or len(samples) != load.requests or lasted <= 0:
            raise NoResultError(f"{len(whole)} whole answers of {len(samples)} requests, and the tool says {numbers['completed']}")
        cut = [sample for sample in whole if sample[OUTPUT] != output_tokens]
        for sample in cut:
            sample[TTFT] = sample[WHOLE] = sample[OUTPUT] = None
        errors |= {CUT: len(cut)} if cut else {}
        whole = [sample for sample in whole if sample[TTFT] is not None]
        return _report(load, samples, whole, numbers, gaps, errors, lasted, begun, objectives)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise NoResultError(f"{type(error).__name__} {error}") from None


def _report(
    load: Load,
    samples: list[list[Any]],
    whole: list[list[Any]],
    numbers: Mapping[str, Any],
    gaps: Mapping[str, int],
    errors: Mapping[str, int],
    lasted: float,
    begun: float,
    objectives: tuple[float | None, float | None],
) -> RunReport:
    prompts, outputs = sum(sample[PROMPT] for sample in whole), sum(sample[OUTPUT] for sample in whole)
    bins = sorted((int(number), count) for number, count in gaps.items())
    per_token = sorted(each for sample in whole if (each := _per_token(sample)) is not None)
    return RunReport(
        rate=load.rate,
        concurrency=load.concurrency,
        requests=len(samples),
        completed=len(whole),
        failures=[Failure(message=str(text), count=count) for text, count in sorted(errors.items(), key=lambda item: (-item[1], item[0]))],
        started_at=stamp(begun),
        seconds=lasted,
        requests_per_second=len(whole) / lasted if whole else None,
        prompt_tokens=prompts if whole else None,
        output_tokens=outputs if whole else None,
        prompt_tokens_per_second=prompts / lasted if whole else None,
        output_tokens_per_second=outputs / lasted if whole else None,
        peak_in_flight=peak(whole) if whole else None,
        time_to_first_token=times(sorted(sample[TTFT] for sample in whole)),
        inter_token=_between(bins, numbers),
        time_per_output_token=times(per_token),
        end_to_end=times(sorted(sample[WHOLE] for sample in whole)),
        goodput=goodput(samples, lasted, objectives),
        samples=samples,
        gaps=[[GROWTH**number, GROWTH ** (number + 1), count] for number, count in bins],
        notes=list(_notes(load, samples, whole, bins, objectives)),
    )


def _per_token(sample: Sequence[Any]) -> float | None:
    """Seconds a token after the first; None where there is none."""
    return (sample[WHOLE] - sample[TTFT]) / (sample[OUTPUT] - 1) if sample[OUTPUT] > 1 else None


def times(ordered: Sequence[float]) -> Times | None:
    """Of sorted values; None of none."""
    if not ordered:
        return None

    def one(share: float) -> Percentile:
        low, high = interval(ordered, share)
        return Percentile(value=percentile(ordered, share), low=low, high=high)

    return Times(count=len(ordered), mean=sum(ordered) / len(ordered), **{name: one(share) for name, share in SHARES.items()})


def _between(bins: Sequence[tuple[int, int]], numbers: Mapping[str, Any]) -> Times | None:
    count = sum(each for _, each in bins)
    if not count:
        return None

    def one(name: str) -> Percentile:
        # No interval: the gaps of one stream hang together, and there are thousands of them.
        return Percentile(value=float(numbers[f"{name}_itl_ms"]) / 1000, low=None, high=None)

    return Times(count=count, mean=float(numbers["mean_itl_ms"]) / 1000, **{name: one(name) for name in SHARES})


def peak(whole: Sequence[Sequence[Any]]) -> int:
    """Most requests that were under way at one moment."""
    changes = sorted([(sample[START], 1) for sample in whole] + [(sample[START] + sample[WHOLE], -1) for sample in whole])
    now = most = 0
    for _, change in changes:  # one that ends comes before one that begins at the same moment
        now += change
        most = max(most, now)
    return most


def goodput(samples: Sequence[Sequence[Any]], lasted: float, objectives: tuple[float | None, float | None]) -> Goodput | None:
    """None where no objective is set."""
    first, between = objectives
    if first is None and between is None:
        return None
    good = 0
    for sample in samples:
        if sample[TTFT] is None:
            continue
        each = _per_token(sample)
        in_time = first is None or sample[TTFT] <= first
        good += in_time and (between is None or each is None or each <= between)
    return Goodput(
        time_to_first_token_seconds=first, inter_token_seconds=between, share=good / len(samples), requests_per_second=good / lasted
    )


def _notes(
    load: Load,
    samples: Sequence[Sequence[Any]],
    whole: Sequence[Sequence[Any]],
    bins: Sequence[tuple[int, int]],
    objectives: tuple[float | None, float | None],
) -> list[str]:
    notes = []
    if not whole:
        notes.append("No request was answered: times, tokens and rates were not measured.")
    elif not bins:
        notes.append("No answer had two pieces: the time between tokens was not measured.")
    if whole and len(whole) < len(samples):
        notes.append(f"{len(samples) - len(whole)} of {len(samples)} requests failed: times and rates are those of the others.")
    if 0 < len(whole) < FEW:
        notes.append(f"{len(whole)} answers: the 99th percentile is little more than the slowest one.")
    if objectives == (None, None):
        notes.append("The deployment has no objective for latency: goodput was not computed.")
    if load.rate is not None and whole:
        sent = max(sample[START] for sample in samples)
        arrived = (len(samples) - 1) / sent if sent > 0 else None
        if arrived is not None and arrived < 0.9 * load.rate:
            notes.append(f"Requests were sent at {arrived:.3g} a second, not {load.rate:g}: the load tool could not keep up.")
    return notes
