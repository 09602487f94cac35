"""How many tokens of KV cache vLLM makes out of a number of bytes, and how it says so.

    page    = KV heads of the rank x head size x 2 (keys, values) x bytes of a value x tokens of a block      one layer, one block
    blocks  = bytes // (page x layers of the stage); the fewest of all stages counts
    request = blocks for the longest sequence, rounded up
    concurrency = blocks / request;  tokens = concurrency x longest sequence

From vLLM 0.29.0: `AttentionSpec` (vllm/v1/kv_cache_interface.py); `get_kv_cache_configs`, `get_kv_cache_capacity` and the admission check,
which keeps one block back (vllm/v1/core/kv_cache_utils.py); blocks of 16 tokens (vllm/config/cache.py), of 128 on a CPU, where
VLLM_CPU_KVCACHE_SPACE GiB of every rank are the bytes (vllm/platforms/cpu.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.api.v1alpha1 import KvCacheDtype
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit.split import kv_heads_per_rank, split_layers
from llama_operator.planning.hardware.accelerators import GIB
from llama_serving.config import ModelShape

BLOCK_TOKENS = 16
CPU_BLOCK_TOKENS = 128
COMPRESSED_TENSORS = "compressed-tensors"
NULL_BLOCKS = 1
"""Blocks that vLLM's pool never hands out."""


@dataclass(frozen=True, kw_only=True)
class KvCache:
    """A KV cache as vLLM's log tells it: `GPU KV cache size: {tokens} tokens, Maximum concurrency ...: {concurrency}x`."""

    blocks: int
    block_tokens: int
    tokens: int
    concurrency: float
    requests: int
    """Whole sequences of the longest length that it holds at once."""


def value_bytes(dtype: Precision, kv_cache_dtype: KvCacheDtype) -> int:
    """Bytes of one key or value of a model of that type."""
    if kv_cache_dtype == "auto":
        return dtype.bits // 8
    return 1 if kv_cache_dtype.startswith("fp8") else 2


def model_value_bytes(model: ModelFacts, kv_cache_dtype: KvCacheDtype) -> int:
    """The same where a checkpoint may bring a type for its cache: `auto` is that type, and compressed-tensors' overrules any other."""
    brought = model.quantization.kv_cache if model.quantization is not None else None
    if model.quantization is None or brought is None:
        return value_bytes(model.dtype, kv_cache_dtype)
    return value_bytes(brought, "auto" if model.quantization.method == COMPRESSED_TENSORS else kv_cache_dtype)


def token_bytes(shape: ModelShape, tensor: int, value: int) -> int:
    """Bytes of one token in one layer on one rank."""
    return 2 * kv_heads_per_rank(shape, tensor) * shape.head_size * value


def request_blocks(context: int, block_tokens: int) -> int:
    """Blocks of one sequence of that many tokens."""
    return -(-context // block_tokens)


def requests_held(blocks: int, block_tokens: int, context: int) -> int:
    """Whole sequences of `context` tokens that so many blocks hold at once."""
    return max(0, blocks - NULL_BLOCKS) // request_blocks(context, block_tokens)


def kv_cache(blocks: int, block_tokens: int, context: int) -> KvCache:
    """What so many blocks hold of sequences of `context` tokens."""
    each = request_blocks(context, block_tokens)
    concurrency = blocks / each
    return KvCache(
        blocks=blocks,
        block_tokens=block_tokens,
        tokens=int(concurrency * context),
        concurrency=concurrency,
        requests=requests_held(blocks, block_tokens, context),
    )


def predict_cpu_kv_cache(
    shape: ModelShape,
    dtype: Precision,
    *,
    context: int,
    tensor: int = 1,
    pipeline: int = 1,
    space_gib: int = 1,
    kv_cache_dtype: KvCacheDtype = "auto",
    partition: Sequence[int] | None = None,
) -> KvCache:
    """What vLLM's CPU engine reports with VLLM_CPU_KVCACHE_SPACE=`space_gib` and max_model_len=`context`, for a split that it allows."""
    page = CPU_BLOCK_TOKENS * token_bytes(shape, tensor, value_bytes(dtype, kv_cache_dtype))
    most = max(split_layers(shape.layers, pipeline, partition))
    return kv_cache(space_gib * GIB // (page * most), CPU_BLOCK_TOKENS, context)
