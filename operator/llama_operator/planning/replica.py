"""What one replica can do before anybody measured it: from its plan, or from the simulated engine's arguments.

prefill             prompt tokens a second * SHARE
itl                 time to read the weights / SHARE
itl per sequence    time to read the cache of one sequence of the traffic's mean length / SHARE
kv                  tokens of the KV cache
least first token   time to read the weights once: of a prompt of one token on an idle replica, by the data sheet

The autoscaler begins with these numbers and corrects them by what it measures (`scaling.service`); the simulator runs on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_operator.planning.fit.of_spec import hardware_of
from llama_operator.planning.hardware.accelerators import GIB, Accelerator, Hardware

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
    from llama_operator.planning.fit.option import Fit

SHARE = 0.4
"""Of the bounds of `planning.fit.speed`. Prefill: 35-45 % in published runs, as 39 % with TensorRT-LLM on 8 x H100 (2048 in, 128 out,
https://github.com/NVIDIA/TensorRT-LLM, perf-overview.md of v1.0). Decode: some 40 % from 76 ms a token of the 405B model in FP4 on one
MI355X at 64 sequences of 1k + 1k (https://github.com/vllm-project/vllm/pull/25135): one run only. Replace them by measured numbers."""

LARGE_SLOTS, SMALL_SLOTS = 1024, 256
"""vLLM's max_num_seqs where nothing is given: on GPUs of 70 GiB or more that are no A100, and on others (`get_batch_defaults` in
https://github.com/vllm-project/vllm/blob/main/vllm/engine/arg_utils.py)."""

SIMULATED_LOAD, SIMULATED_PREFILL, SIMULATED_TOKENS, SIMULATED_SLOTS = 5.0, 10_000.0, 70.0, 64
"""What the simulated engine does where its arguments do not say (`SimulatedArgs` in llama_serving.engines.simulated)."""
SIMULATED_CONTEXT = 131_072
"""Tokens that each of its slots holds where `spec.context.maxTokens` does not say."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """One replica: tokens a second, seconds, sequences, tokens."""

    prefill: float
    itl: float
    slots: int
    kv: float
    itl_per_sequence: float = 0.0
    least_first_token: float = 0.0
    load_seconds: float | None = None
    """From a started pod to its first token; None: not known."""


@dataclass(frozen=True, kw_only=True)
class NoRates:
    """Why it is not known what a replica can do, in words without a full stop."""

    why: str


def rates_of_fit(fit: Fit, context: int, mean_tokens: float, slots: int) -> Rates | None:
    """Of a split that was planned for one sequence of `context` tokens, under requests of `mean_tokens`, prompt and answer.

    None where the accelerator's arithmetic or bandwidth is not known.
    """
    floor, step, prefill = fit.decode_floor_seconds, fit.step_floor_seconds, fit.prefill_tokens_per_second
    if floor is None or step is None or prefill is None:
        return None
    each = (step - floor) / context * mean_tokens / fit.pipeline
    return Rates(
        prefill=prefill * SHARE,
        itl=floor / SHARE,
        itl_per_sequence=each / SHARE,
        slots=slots,
        kv=float(fit.cache.tokens),
        least_first_token=floor,
        load_seconds=fit.load_seconds,
    )


def rates_of_spec(spec: LlamaDeploymentSpec, plan: Mapping[str, Any] | None) -> Rates | NoRates:
    """Of a spec whose plan is `plan`, as `status.plan` keeps it."""
    if spec.engine.type == "simulated":
        return simulated_rates(spec)
    if not plan:
        return NoRates(why="nothing is planned for this model and hardware: the operator cannot read the files or does not know the GPUs")
    prefill, floor, kv = (_number(plan.get(name)) for name in ("prefillTokensPerSecond", "decodeFloorSeconds", "kvCacheTokens"))
    if prefill is None or floor is None or kv is None:
        return NoRates(why=f"the arithmetic or the bandwidth of {spec.hardware.accelerator} is not known to the planner")
    return Rates(
        prefill=prefill * SHARE,
        itl=floor / SHARE,
        slots=slots_of(spec),
        kv=kv,
        least_first_token=floor,
        load_seconds=_number(plan.get("predictedLoadSeconds")),
    )


def simulated_rates(spec: LlamaDeploymentSpec) -> Rates:
    """Of the simulated engine, whose arguments are its service. One that is no number is the engine's to refuse: the default counts."""
    args = spec.engine.args
    prefill = _number(args.get("prefillTokensPerSecond")) or SIMULATED_PREFILL
    slots = round(_number(args.get("slots")) or SIMULATED_SLOTS)
    load = args.get("loadSeconds")
    return Rates(
        prefill=prefill,
        itl=1 / (_number(args.get("tokensPerSecond")) or SIMULATED_TOKENS),
        slots=slots,
        kv=float(slots * (spec.context.max_tokens or SIMULATED_CONTEXT)),
        least_first_token=1 / prefill,
        load_seconds=SIMULATED_LOAD if load is None else _number(load) or 0.0,
    )


def slots_of(spec: LlamaDeploymentSpec) -> int:
    """Sequences in the batch: what the engine's arguments say, else vLLM's default on that accelerator."""
    given = _number(spec.engine.args.get("max_num_seqs"))
    if given is not None and given >= 1:
        return int(given)
    hardware = hardware_of(spec)
    return default_slots(hardware.accelerator) if isinstance(hardware, Hardware) else SMALL_SLOTS


def default_slots(accelerator: Accelerator) -> int:
    """Sequences in the batch where the engine's arguments do not say."""
    large = accelerator.memory is not None and accelerator.memory >= 70 * GIB and "a100" not in accelerator.name
    return LARGE_SLOTS if large else SMALL_SLOTS


def _number(value: object) -> float | None:
    """A number above 0, else None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
