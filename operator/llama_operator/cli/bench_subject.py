"""What was measured, as the report says it, and what changed meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.cli.bench_document import Arguments, Report, RunReport, Subject
from llama_operator.cli.bench_job import SERVING_CONTAINER
from llama_operator.cli.bench_question import Question
from llama_operator.cli.chat import served_name
from llama_operator.rendering import names


def report_of(
    question: Question,
    runs: Sequence[RunReport],
    deployments: tuple[Mapping[str, Any], Mapping[str, Any]],
    pod: Mapping[str, Any],
    when: tuple[str, str],
    versions: Mapping[str, str | None],
) -> Report:
    """The report. `deployments` are the LlamaDeployment before and after, `pod` one that served before."""
    before, after = deployments
    subject = _subject(before, after, pod)
    return Report(
        started_at=when[0],
        ended_at=when[1],
        versions=dict(versions),
        deployment=subject,
        arguments=Arguments(
            rates=[load.rate for load in question.loads if load.rate is not None],
            concurrencies=[load.concurrency for load in question.loads if load.concurrency is not None],
            requests=[load.requests for load in question.loads],
            seconds=question.seconds,
            input_tokens=question.input_tokens,
            output_tokens=question.output_tokens,
            temperature=0.0,
            seed=question.seed,
        ),
        runs=list(runs),
        notes=_notes(subject, before, after),
    )


def _subject(before: Mapping[str, Any], after: Mapping[str, Any], pod: Mapping[str, Any]) -> Subject:
    spec, metadata, labels = before.get("spec") or {}, before["metadata"], pod["metadata"].get("labels") or {}
    plan = (before.get("status") or {}).get("plan") or {}
    containers = pod["spec"]["containers"]
    served = next((item for item in containers if item["name"] == SERVING_CONTAINER), containers[0])
    return Subject(
        namespace=metadata["namespace"],
        name=metadata["name"],
        generation=metadata.get("generation"),
        revision=labels.get(names.LABEL_REVISION),
        model=served_name(dict(before)),
        source=(spec.get("model") or {}).get("source"),
        engine=(spec.get("engine") or {}).get("type") or "vllm",
        accelerator=(spec.get("hardware") or {}).get("accelerator"),
        tensor_parallel=plan.get("tensorParallel"),
        pipeline_parallel=plan.get("pipelineParallel"),
        replicas_before=ready(before),
        replicas_after=ready(after),
        image=str(served["image"]),
    )


def ready(deployment: Mapping[str, Any]) -> int | None:
    """Replicas that are ready; None where the status does not say."""
    replicas = (deployment.get("status") or {}).get("replicas")
    return None if replicas is None else sum(replica.get("phase") == "Ready" for replica in replicas)


def _notes(subject: Subject, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    notes = ["Measured from a pod in the same cluster, through the deployment's Service."]
    if subject.replicas_before != subject.replicas_after:
        notes.append(
            f"Ready replicas went from {subject.replicas_before} to {subject.replicas_after} meanwhile: the figures are of neither."
        )
    if (before["metadata"].get("uid"), before["metadata"].get("generation")) != (
        after["metadata"].get("uid"),
        after["metadata"].get("generation"),
    ):
        notes.append("The deployment was changed meanwhile: the figures may be of two revisions.")
    if (before.get("spec") or {}).get("autoscaling"):
        notes.append("The deployment scales by itself: compare only runs with as many replicas.")
    return notes
