"""Models that cannot be loaded: the root cause in words within seconds, bounded retries, and an object that stays editable and deletable."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 96,
    "intermediate_size": 128,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 100,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
}


def write_model(folder: Path, config: dict[str, Any], *, missing_bytes: int = 0) -> None:
    """A model folder with one tensor; `missing_bytes` are cut from its end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [64, 64], "data_offsets": [0, 8192]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(8192)
    (folder / "model.safetensors").write_bytes(content[: len(content) - missing_bytes])
    folder.chmod(0o755)


@pytest.fixture(scope="module")
def broken_models(local: Stage) -> Iterator[Path]:
    """Folders with broken models, where the pods mount models from."""
    root = local.cluster.settings.models / "broken"
    write_model(root / "truncated", LLAMA, missing_bytes=100)
    write_model(root / "bert", {"architectures": ["BertModel"], "model_type": "bert"})
    write_model(root / "odd-heads", LLAMA)
    yield root
    for file in sorted(root.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    root.rmdir()


CASES = {
    "missing": ("missing", 1, "ModelNotFound", "missing"),
    "truncated": ("truncated", 1, "CheckpointTruncated", "model.safetensors"),
    "not-llama": ("bert", 1, "NotLlama", "Bert"),
    "odd-heads": ("odd-heads", 4, "ShapeNotDivisible", "4"),
}


@pytest.mark.parametrize(("folder", "tensor", "reason", "words"), CASES.values(), ids=CASES.keys())
def test_a_model_that_cannot_be_loaded_says_its_root_cause(
    stage: Stage, namespace: Namespace, broken_models: Path, folder: str, tensor: int, reason: str, words: str
) -> None:
    name = f"bad-{folder}"
    manifest = stage.small(name, f"broken/{folder}", parallelism={"tensor": tensor})
    namespace.apply(manifest)
    said = namespace.wait_reason(name, "Available", reason, 120)
    assert said["status"] == "False"
    assert words in said["message"]
    status = namespace.wait("a failed attempt is counted", lambda: namespace.status(name).get("failures"), 30, name)
    assert status["lastReason"] == reason
    namespace.delete_llama(name)
    namespace.wait_gone(name, 60)


def test_retries_are_bounded_and_an_edit_starts_anew(stage: Stage, namespace: Namespace, broken_models: Path) -> None:
    stage.operator.install(reconcile__maxLoadAttempts=2, reconcile__retryBaseSeconds=1)
    try:
        namespace.apply(stage.small("stubborn", "broken/missing"))
        said = namespace.wait_reason("stubborn", "Progressing", "RetriesExhausted", 180)
        assert "2 attempts" in said["message"]
        namespace.wait("its gang is gone, so that nothing is held for nobody", lambda: not namespace.pods("stubborn"), 60, "stubborn")
        namespace.patch_llama(
            "stubborn", {"spec": {"model": {"source": "file:///simulated"}, "engine": {"type": "simulated", "args": None}}}
        )
        namespace.wait_ready("stubborn", 1, 180)
        assert "failures" not in namespace.status("stubborn")
    finally:
        stage.operator.install()
        namespace.delete_llama("stubborn")
        namespace.wait_gone("stubborn", 60)
