"""What a report says of what was measured and how, as names and words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llama_operator.cli.bench_document import Report, RunReport, Times

METRICS = (
    ("time to first token", "time_to_first_token"),
    ("between tokens", "inter_token"),
    ("per token after the first", "time_per_output_token"),
    ("whole request", "end_to_end"),
)
"""Title and field of each kind of time."""


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """A name and words each; what is not known is left out."""
    subject, asked = report.deployment, report.arguments
    yield "deployment", f"{subject.namespace}/{subject.name}" + (f", revision {subject.revision}" if subject.revision else "")
    yield "model", f"{subject.model}" + (f" from {subject.source}" if subject.source else "")
    split = f", tensor {subject.tensor_parallel} x pipeline {subject.pipeline_parallel}" if subject.tensor_parallel else ""
    yield "runs on", f"{subject.engine or 'an engine'} on {subject.accelerator or 'unnamed hardware'}{split}"
    if subject.replicas_before is not None:
        after = "" if subject.replicas_after == subject.replicas_before else f", {number(subject.replicas_after, 'd')} at the end"
        yield "replicas", f"{subject.replicas_before} ready{after}"
    yield "image", subject.image
    yield "each request", f"{asked.input_tokens:,} prompt tokens, {asked.output_tokens:,} answered, temperature {asked.temperature:g}"
    yield "seed", str(asked.seed)
    yield "tool", f"vllm bench serve {report.versions.get('tool') or 'of unknown version'}"
    yield "when", f"{report.started_at} to {report.ended_at}"


def number(value: float | None, form: str) -> str:
    """A number, or a dash for what was not measured."""
    return "-" if value is None else format(value, form)


def duration(value: float | None) -> str:
    """Seconds as seconds, or below one as milliseconds, with three digits."""
    if value is None:
        return "-"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def counts(run: RunReport) -> list[str]:
    """Requests, and those that failed."""
    return [f"{run.requests:,}", f"{run.requests - run.completed:,}"]


def rates(run: RunReport) -> list[str]:
    """Requests, prompt and output tokens a second, the most at once; of what kept the objectives the share, and how many a second."""
    good = run.goodput
    return [
        number(run.requests_per_second, ".2f"),
        number(run.prompt_tokens_per_second, ",.0f"),
        number(run.output_tokens_per_second, ",.0f"),
        number(run.peak_in_flight, "d"),
        number(None if good is None else good.share, ".1%"),
        number(None if good is None else good.requests_per_second, ".2f"),
    ]


def percentiles(times: Times | None) -> list[str]:
    """Mean, p50, p90, p95 and p99."""
    if times is None:
        return ["-"] * 5
    return [duration(times.mean), *(duration(each.value) for each in (times.p50, times.p90, times.p95, times.p99))]
