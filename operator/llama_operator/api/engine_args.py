"""Checks `spec.engine.args`: every argument must be known to the engine, of its type, and not one that the operator sets itself."""

from __future__ import annotations

import difflib
import functools
import json
import math
from typing import TYPE_CHECKING, Any

from llama_operator.api import engine_args_vllm as vllm
from llama_operator.api.problems import Problem, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIELD = "spec.engine.args"

OWNED: dict[str, str] = {
    "model": "spec.model.source",
    "model_weights": "spec.model.source",
    "download_dir": "spec.model.source",
    "revision": "spec.model.revision",
    "served_model_name": "spec.model.servedName",
    "hf_token": "spec.model.tokenSecretRef",
    "tensor_parallel_size": "spec.parallelism.tensor",
    "pipeline_parallel_size": "spec.parallelism.pipeline",
    "max_model_len": "spec.context.maxTokens",
    "kv_cache_dtype": "spec.context.kvCacheDtype",
    "data_parallel_size": "spec.replicas",
    "data_parallel_size_local": "spec.replicas",
    "lora_modules": "spec.model.source",
}
"""Arguments of vLLM that have a field of their own."""

INTERNAL = (
    *("distributed_executor_backend", "worker_cls", "nnodes", "node_rank", "master_addr", "master_port", "device_ids"),
    *("prefill_context_parallel_size", "disable_log_stats", "log_config_file", "enable_elastic_ep"),
)
"""Arguments of vLLM that follow from how the operator runs it: the gang's processes, its network, and the metrics the autoscaler reads."""

INTERNAL_PREFIXES = ("data_parallel_", "_api_process_")

SECRET_WORDS = ("token", "key", "secret", "password")
"""The value of an argument with one of these in its name is never repeated in a message, lest a misplaced secret end in a status."""

MOST_LETTERS = 100
"""Of a name that is compared with the known ones, of which the longest has about half as many."""

FAULTS = ("none", "load-hang", "load-crash", "out-of-memory", "hang", "crash", "no-metrics")

SIMULATED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "loadSeconds": ("a number of seconds, 0 or more", lambda value: _number(value) and value >= 0),
    "tokensPerSecond": ("a number above 0", lambda value: _number(value) and value > 0),
    "prefillTokensPerSecond": ("a number above 0", lambda value: _number(value) and value > 0),
    "slots": ("a whole number, 1 or more", lambda value: _whole(value) and value >= 1),
    "fault": (f"one of {', '.join(FAULTS)}", lambda value: value in FAULTS),
    "faultAfterSeconds": ("a number of seconds, 0 or more", lambda value: _number(value) and value >= 0),
}
"""Arguments of the simulated engine (docs/contracts.md): what is allowed, and its check."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,  # noqa: ARG005 -- the table's one signature
    "bool": lambda value: isinstance(value, bool),
    "int": _whole,
    "float": _number,
    "str": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}

_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text", "list": "a list", "object": "an object"}


def check_args(engine: str, args: Mapping[str, Any]) -> list[Problem]:
    """Every problem of the engine's arguments, in the order in which they are written; an unknown engine has none of its own."""
    if engine == "vllm":
        return [problem for name, value in args.items() if (problem := _check_vllm(name, value))]
    if engine == "simulated":
        return [problem for name, value in args.items() if (problem := _check_simulated(name, value))]
    return []


def _check_vllm(name: str, value: Any) -> Problem | None:
    field, given = f"{FIELD}.{name}", _given(name, value)
    if owner := OWNED.get(name):
        return Problem(field=field, given=given, allowed="only the field that sets it", remedy=f"Remove it and set {owner}.")
    if name in INTERNAL or name.startswith(INTERNAL_PREFIXES):
        return Problem(field=field, given=given, allowed="nothing: the operator sets it", remedy="Remove it.")
    if name in vllm.SERVER:
        remedy = "Remove it: requests enter through Ray Serve, and vLLM's own HTTP server does not run."
        return Problem(field=field, given=given, allowed="nothing", remedy=remedy)
    kinds = vllm.ENGINE.get(name) or vllm.FRONTEND.get(name)
    if kinds is None:
        return _unknown(name, value, f"an argument of vLLM {vllm.VERSION}", _usable_vllm(), OWNED)
    if _fits(kinds, value):
        return None
    return Problem(field=field, given=given, allowed=_in_words(kinds), remedy="Correct it, or remove it for vLLM's default.")


def _check_simulated(name: str, value: Any) -> Problem | None:
    known = SIMULATED.get(name)
    if known is None:
        return _unknown(name, value, "an argument of the simulated engine", tuple(SIMULATED), {})
    allowed, check = known
    if check(value):
        return None
    return Problem(field=f"{FIELD}.{name}", given=show(value), allowed=allowed, remedy="Correct it, or remove it for the default.")


@functools.cache
def _usable_vllm() -> tuple[str, ...]:
    known = [*vllm.ENGINE, *vllm.FRONTEND]
    return tuple(name for name in known if name not in OWNED and name not in INTERNAL and not name.startswith(INTERNAL_PREFIXES))


@functools.lru_cache(maxsize=4096)
def _nearest(spelled: str, candidates: tuple[str, ...]) -> str | None:
    """Remembered: a spec is looked at in each pass, and hundreds of names that are nearly right take half a second of it."""
    if spelled in candidates:
        return spelled
    # Of two texts of which one is much longer no two are near; what is asked may be of any length.
    near = difflib.get_close_matches(spelled, candidates, n=1, cutoff=0.6) if len(spelled) <= MOST_LETTERS else []
    return near[0] if near else None


def _unknown(name: str, value: Any, allowed: str, known: tuple[str, ...], owned: Mapping[str, str]) -> Problem:
    """The refusal of an argument that does not exist, with the nearest that does."""
    spelled = name.strip("-").replace("-", "_")  # as on vLLM's command line
    near = _nearest(spelled, (*known, *owned))
    if near is not None and near in owned:
        remedy = f"Remove it and set {owned[near]}."
    elif near:
        remedy = f"Did you mean {near}?"
    else:
        remedy = f"Known are {', '.join(known)}." if len(known) <= len(SIMULATED) else "Remove it."
    return Problem(field=f"{FIELD}.{name}", given=_given(name, value), allowed=allowed, remedy=remedy)


def _given(name: str, value: Any) -> str:
    return "a value" if any(word in name.lower() for word in SECRET_WORDS) and isinstance(value, str) else show(value)


def _fits(kinds: str, value: Any) -> bool:
    return any(_CHECKS[kind](value) if kind in _CHECKS else _same(json.loads(kind), value) for kind in kinds.split(" | "))


def _same(literal: Any, value: Any) -> bool:
    """Equal and of the same type: 1 is not true."""
    return type(literal) is type(value) and bool(literal == value)


def _in_words(kinds: str) -> str:
    parts = [kind for kind in kinds.split(" | ") if kind != "null"]
    literals = [json.loads(kind) for kind in parts if kind not in _WORDS]
    words = [_WORDS[kind] for kind in parts if kind in _WORDS]
    if literals:
        words.append(f"one of {', '.join(str(literal) for literal in literals)}")
    return " or ".join(words)
