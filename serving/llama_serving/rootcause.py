"""From the text of an engine's log to why it failed: the cause in words, with the remedy; never the last line of a chain of wrappers.

Pure. The rules are tried in order over the whole text, the first that matches wins: the more particular stand first. What matches none is
told by its first raised error that is not a wrapper ("Engine core initialization failed. See root cause above." says nothing).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from llama_serving.status import Reason, RootCause

MESSAGE_LIMIT = 600  # characters: a condition's message should be read in one glance

# Lines that only say that something else failed.
WRAPPERS = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|See root cause above|died while trying to initialize|"
    r"The actor died|ray::|RayTaskError|RayActorError|Failed core proc|DEPLOY_FAILED|EngineDeadError|SystemExit|EngineGenerateError|"
    r"Executor failed|cancelled|CancelledError|died unexpectedly, shutting down"
)
ERROR_LINE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Exit)): (.+)$")
# What vLLM and Ray put before each line: "(EngineCore pid=12) ERROR 11-21 04:00:00 [core.py:1] ".
PREFIX = re.compile(r"^(?:\([^()]*\)\s*)*(?:(?:ERROR|WARNING|INFO|CRITICAL)\s+[\d:\- ]+\[[^\]]*\]\s?)?")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Rule:
    """A known cause: what it looks like, what it is called, and what to say."""

    pattern: re.Pattern[str]
    reason: Reason
    message: Callable[[re.Match[str]], str]
    retryable: bool = True


def _rule(pattern: str, reason: Reason, message: str, *, retryable: bool = True) -> Rule:
    """A rule whose message may name the pattern's groups."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def tell(match: re.Match[str]) -> str:
        return message.format(*((group or "").strip() for group in match.groups()), whole=match.group(0).strip())

    return Rule(compiled, reason, tell, retryable)


RULES: tuple[Rule, ...] = (
    _rule(
        r"No such file or directory: '(/bin/sh|/bin/bash)'",
        "EngineFailed",
        "the image has no {0}, which the engine needs: use an image with a shell",
        retryable=False,
    ),
    _rule(
        r"max seq len \((\d+)\), \(([\d.]+ GiB) KV cache is needed, which is larger than the available KV cache memory \(([\d.]+ GiB)\)"
        r"[^\n]*?estimated maximum model length is (\d+)",
        "OutOfMemory",
        "spec.context.maxTokens: a context of {0} tokens needs {1} of KV cache and {2} is there. Give at most {3}, or more memory",
        retryable=False,
    ),
    _rule(
        r"Available memory on node (\d+) \(([^)]+)\) on kv cache allocation is less than requested memory for kv \(([^)]+)\)",
        "OutOfMemory",
        "the KV cache was to take {2}, and the node has {1} free. Lower VLLM_CPU_KVCACHE_SPACE in spec.podTemplate or use a bigger node",
    ),
    _rule(
        r"No available memory for the cache blocks[^\n]*",
        "OutOfMemory",
        "the weights leave no memory for the KV cache. Use more GPUs a replica, a quantised model, or a higher gpu_memory_utilization",
        retryable=False,
    ),
    _rule(
        r"Free memory on device[^\n]*?\(([^)]*)\)[^\n]*less than desired GPU memory utilization[^\n]*",
        "OutOfMemory",
        "another process holds memory of the GPU: {0} free, less than gpu_memory_utilization asks for. Free the GPU or lower it",
    ),
    _rule(
        r"(?:torch\.(?:cuda\.)?)?OutOfMemoryError: ([^\n]+)",
        "OutOfMemory",
        "the GPU ran out of memory: {0} Use more GPUs a replica, less context, or a lower gpu_memory_utilization",
        retryable=False,
    ),
    _rule(
        r"(?:DefaultCPUAllocator: can't allocate memory|MemoryError\b|Cannot allocate memory)([^\n]*)",
        "OutOfMemory",
        "the pod ran out of memory: {whole}. Raise the container's memory limit or use a smaller model",
    ),
    _rule(
        r"(?:Worker exit type: [^\n]*?OOM|was killed due to the node running low on memory|exit code -9|SIGKILL)[^\n]*",
        "OutOfMemory",
        "a process of the engine was killed, most likely because the pod ran out of memory: {whole}. Raise the container's memory limit",
    ),
    _rule(
        r"No space left on device[^\n]*",
        "EngineFailed",
        "no space left on a volume of the pod: {whole}. Check the sizes of /dev/shm and /tmp in the pod template",
    ),
    _rule(
        r"Cannot find any model weights with `([^`\n]+)`",
        "ModelNotFound",
        "there are no weight files in {0}. Check spec.model.source",
        retryable=False,
    ),
    _rule(
        r"SafetensorError: Error while deserializing header: ([^\n]+)",
        "CheckpointTruncated",
        "a safetensors file of the model is damaged or cut short: {0}. Fetch it again",
        retryable=False,
    ),
    _rule(
        r"(?:MetadataIncompleteBuffer|InvalidHeaderDeserialization|incomplete metadata, file not fully covered)([^\n]*)",
        "CheckpointTruncated",
        "a safetensors file of the model is damaged or cut short: {whole}. Fetch it again",
        retryable=False,
    ),
    _rule(
        r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        "ShapeNotDivisible",
        "spec.parallelism.tensor: {1} does not divide the model's {0} attention heads. Choose a divisor of {0}",
        retryable=False,
    ),
    _rule(
        r"((?:\w+ )?[\w ]*?\d+ is not divisible by \d+)",
        "ShapeNotDivisible",
        "tensor parallelism does not divide the model: {0}. Choose another spec.parallelism.tensor",
        retryable=False,
    ),
    _rule(
        r"(?:GatedRepoError|401 Client Error|403 Client Error)([^\n]*)",
        "HubUnauthorized",
        "the hub refused the model: {whole}. Accept the model's licence and give a token in spec.model.tokenSecretRef",
        retryable=False,
    ),
    _rule(
        r"Model architectures \[([^\]]*)\] (?:are not supported|failed to be inspected)[^\n]*",
        "NotLlama",
        "the model's architecture {0} is not served by this engine",
        retryable=False,
    ),
    _rule(
        r"(?:Unknown engine argument: (\S+))",
        "EngineFailed",
        "spec.engine.args.{0} is not an argument of this vLLM. Remove it or correct its name",
        retryable=False,
    ),
    _rule(
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \((?:[^=]*=)?(\d+)[^\n]*",
        "EngineFailed",
        "spec.context.maxTokens: {0} is more than the {1} tokens that the model was trained for. Give at most {1}",
        retryable=False,
    ),
    _rule(
        # pydantic's layout: the config class, the field, what is wrong with it.
        r"\d+ validation errors? for \w+\s*\n\s*(\w+)\s*\n\s*([^\n]+?)(?: \[type=[^\n]*)?\n",
        "EngineFailed",
        "vLLM refuses an engine argument: {0}: {1}. Correct it in spec.engine.args",
        retryable=False,
    ),
    _rule(
        r"NCCL (?:error|WARN)[^\n]*",
        "EngineFailed",
        "the GPUs of the gang could not talk to each other: {whole}. Check /dev/shm, the GPUs' links and the network between its pods",
    ),
    _rule(
        r"No CUDA GPUs are available|no NVIDIA driver|CUDA driver version is insufficient[^\n]*",
        "EngineFailed",
        "the engine sees no usable GPU: {whole}. Check the GPU's driver and device plugin on this node",
    ),
)


def diagnose(text: str) -> RootCause:
    """The cause of a failed start, from all that the engine's processes have written.

    Never raises; a text that says nothing gives EngineFailed with a hint where to look.
    """
    plain = COLOUR.sub("", text)
    for rule in RULES:
        if match := rule.pattern.search(plain):
            return RootCause(reason=rule.reason, message=_short(rule.message(match)), retryable=rule.retryable)
    if found := _first_error(plain):
        return RootCause(reason="EngineFailed", message=_short(found))
    return RootCause(reason="EngineFailed", message="the engine ended without an error in its log; see the logs of the pod's Ray workers")


def _first_error(text: str) -> str | None:
    """The first raised error that is not a wrapper, without the log's prefix: the deepest cause is logged first."""
    for line in text.splitlines():
        body = PREFIX.sub("", line.strip())
        match = ERROR_LINE.search(body)
        if match and not WRAPPERS.search(body):
            return f"{match.group(1).rsplit('.', 1)[-1]}: {match.group(2)}"
    return None


def _short(message: str) -> str:
    one_line = " ".join(message.split())
    return one_line if len(one_line) <= MESSAGE_LIMIT else one_line[: MESSAGE_LIMIT - 1] + "…"
