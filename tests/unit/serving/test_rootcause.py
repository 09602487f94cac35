"""From an engine's log to its root cause. The texts under logs/ are what vLLM 0.29.0 wrote when each failure was provoked."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.lifecycle.causes import KNOWN_CAUSES, WORDS_LIMIT
from llama_serving.rootcause import MESSAGE_LIMIT, WRAPPERS, diagnose
from llama_serving.status import Reason

LOGS = Path(__file__).parent / "logs"

PROVOKED: dict[str, tuple[str, str, bool]] = {
    "arch": ("NotLlama", "the model's architecture 'LlamaForPoetry' is not served by this engine", False),
    "badvalue": ("EngineFailed", "vLLM refuses an engine argument: cache_dtype: Input should be 'auto'", False),
    "context-too-long": ("EngineFailed", "spec.context.maxTokens: 9999 is more than the 2048 tokens", False),
    "kv-too-big": ("OutOfMemory", "the KV cache was to take 400.0 GiB, and the node has 14.57/17.71 GiB free", True),
    "kv-too-small": (
        "OutOfMemory",
        "a context of 8000000 tokens needs 7.63 GiB of KV cache and 1.0 GiB is there. Give at most 1048448",
        False,
    ),
    "no-shell": ("EngineFailed", "the image has no /bin/sh", False),
    "no-weights": ("ModelNotFound", "there are no weight files in /models/noweights", False),
    "tp3": ("ShapeNotDivisible", "3 does not divide the model's 8 attention heads", False),
    "truncated": ("CheckpointTruncated", "damaged or cut short", False),
}


@pytest.mark.parametrize("name", sorted(PROVOKED))
def test_the_cause_is_found_in_what_vllm_wrote(name: str) -> None:
    reason, words, retryable = PROVOKED[name]
    cause = diagnose((LOGS / f"{name}.txt").read_text(encoding="utf-8"))
    assert (cause.reason, cause.retryable) == (reason, retryable)
    assert words in cause.message


def test_every_provoked_log_is_in_the_table() -> None:
    assert {path.stem for path in LOGS.glob("*.txt")} == set(PROVOKED)


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_wrapper_is_never_the_answer(path: Path) -> None:
    assert not WRAPPERS.search(diagnose(path.read_text(encoding="utf-8")).message)


# Written by hand after vLLM's, torch's and Ray's sources: they need a GPU, or a machine that may run out of memory, to be provoked.
OTHERS = [
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\nRuntimeError: Engine core initialization failed.",
        "OutOfMemory",
        "Tried to allocate 2.00 GiB",
    ),
    (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
        "OutOfMemory",
        "the weights leave no memory for the KV cache",
    ),
    (
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.",
        "OutOfMemory",
        "memory limit",
    ),
    ("OSError: [Errno 28] No space left on device: '/dev/shm/x'", "EngineFailed", "/dev/shm"),
    (
        "ray.exceptions.RayTaskError: ncclUnhandledCudaError: NCCL error in: /x.cpp:1, unhandled system error",
        "EngineFailed",
        "could not talk",
    ),
    ("RuntimeError: No CUDA GPUs are available", "EngineFailed", "no usable GPU"),
    ("ValueError: Unknown engine argument: max_modle_len", "EngineFailed", "spec.engine.args.max_modle_len"),
]


@pytest.mark.parametrize(("text", "reason", "words"), OTHERS)
def test_other_known_causes_are_told_with_their_remedy(text: str, reason: str, words: str) -> None:
    cause = diagnose(text)
    assert cause.reason == reason
    assert words in cause.message


def test_an_unknown_cause_is_the_first_error_that_is_not_a_wrapper() -> None:
    text = (
        "(Worker pid=7) ERROR 11-21 04:44:34 [multiproc_executor.py:944] somewhere.deep.StrangeError: the flux is inverted\n"
        "(EngineCore pid=6) ERROR 11-21 04:44:37 [core.py:1374] Exception: WorkerProc initialization failed due to an exception\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
    )
    assert diagnose(text).message == "StrangeError: the flux is inverted"


def test_an_exception_without_a_name_of_its_own_is_an_error_too() -> None:
    text = "Traceback (most recent call last):\nException: The current node timed out during startup. The GCS has become overloaded."
    assert diagnose(text).message == "Exception: The current node timed out during startup. The GCS has become overloaded."


def test_a_text_that_says_nothing_says_where_to_look() -> None:
    cause = diagnose("RuntimeError: Engine core initialization failed. See root cause above.")
    assert (cause.reason, cause.retryable) == ("EngineFailed", True)
    assert "see the logs" in cause.message


@given(st.text(max_size=2000))
def test_any_text_gives_a_short_answer_and_never_an_error(text: str) -> None:
    assert 0 < len(diagnose(text).message) <= MESSAGE_LIMIT


def test_the_operator_knows_every_reason_and_cuts_no_message() -> None:
    assert set(get_args(Reason)) <= KNOWN_CAUSES
    assert MESSAGE_LIMIT <= WORDS_LIMIT
