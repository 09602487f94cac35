"""What vLLM finds out about Llama's class, laid where it looks first.

vLLM asks a process of its own what the class of a model can do, so that the engine's own process touches no GPU too early: it imports
all of vLLM once more, ten seconds of a core here, in each new pod. It keeps the answer in a file under `VLLM_CACHE_ROOT`, with a hash
of the class's source, and takes it from there the next time; in a pod there is no next time. So the file lies here, as vLLM 0.29.0
wrote it. Another vLLM finds another hash, ignores it, and asks. tests/contract/serving/test_ray_internals.py holds it to the answer.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

FILE = Path(__file__).with_name("vllm-model_executor-models-llama-LlamaForCausalLM.json")


def lay_out(cache_root: Path) -> None:
    """Put the file below vLLM's cache root, unless there is one. Where nothing can be written, vLLM asks."""
    target = cache_root / "modelinfos" / FILE.name
    if target.exists():
        return
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(FILE, part)
        part.replace(target)
