"""The verdict on a spec, with what must be read for it: nothing, where its revision runs already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_operator.api.conditions import ConditionType, Reason, find
from llama_operator.api.group import CPU
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.revision import as_it_runs, revision_of
from llama_operator.planning.admission import Admission, Unread, admit, describe, held_to_objective, known_model, remembered
from llama_operator.planning.parallelism import parallelism_of, with_split
from llama_operator.ports import FORBIDDEN, ApiError, Models, Reader
from llama_operator.rendering.revision import Pinned


async def admit_spec(
    spec: LlamaDeploymentSpec, pinned: Mapping[str, Pinned], previous: Mapping[str, Any], models: Models, reader: Reader, *, deleting: bool
) -> tuple[LlamaDeploymentSpec | None, Admission]:
    """The spec with the split that it runs with, and the verdict; no spec where nothing new may be made of it."""
    running = as_it_runs(spec, pinned, previous)
    if running is not None or deleting:
        kept = running or spec
        before = _as_before(kept, previous)
        verdict = before if deleting else held_to_objective(kept, before)
        return (kept if verdict.accepted else None), verdict
    model = await models.facts(spec.model.source, spec.model.revision)
    verdict = held_to_objective(spec, admit(spec, model, await _nodes(spec, reader)))
    if isinstance(model, Unread) and model.soon and verdict.problems:
        # Not refused for what may be known with the next answer.
        words = f"{model.why}; it is asked again, since the objective needs the plan of a replica"
        verdict = Admission(verdict="waits", reason=Reason.READING_MODEL, message=words)
    return (with_split(spec, verdict.split) if verdict.split else None), verdict


async def _nodes(spec: LlamaDeploymentSpec, reader: Reader) -> list[dict[str, Any]] | None:
    """The cluster's nodes; None where no GPU is asked for, or the operator may not see them."""
    if spec.hardware.accelerator == CPU:
        return None
    try:
        return await reader.list("Node")
    except ApiError as error:
        if error.status == FORBIDDEN:
            return None
        raise


def _as_before(spec: LlamaDeploymentSpec, previous: Mapping[str, Any]) -> Admission:
    """The verdict that was given when the revision was made, in its own words; the catalogue's where none was kept."""
    same = previous.get("revision") == revision_of(spec)
    condition = (find(previous.get("conditions") or [], ConditionType.ACCEPTED) or {}) if same else {}
    words = str(condition.get("message") or "") if condition.get("status") == "True" else ""
    plan = {name: value for name, value in (previous.get("plan") or {}).items() if name != "observed"} if same else {}
    split = parallelism_of(spec)
    if (plan.get("tensorParallel"), plan.get("pipelineParallel")) == (split.tensor, split.pipeline):
        message = words if words and condition.get("reason") == Reason.FITS else remembered(plan)
        return Admission(verdict="fits", reason=Reason.FITS, message=message, split=split, plan=plan)
    model = known_model(spec.model.source)
    if words and isinstance(model, Unread):
        return Admission(verdict="unknown", reason=Reason.VALID, message=words, split=split)
    return describe(spec, model)
