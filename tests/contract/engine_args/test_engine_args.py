"""The committed list of vLLM's arguments is that of the vLLM which is served, and so are the values that the API offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from llama_operator.api.v1alpha1 import KvCacheDtype

pytestmark = pytest.mark.serving

GENERATE = Path(__file__).with_name("generate.py")


def test_the_committed_list_is_the_installed_vllms() -> None:
    pytest.importorskip("vllm.version", reason="run with the serving environment's Python")
    # A process of its own: importing vLLM warns, and warnings are errors here.
    done = subprocess.run([sys.executable, str(GENERATE), "--check"], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_every_kv_cache_type_of_the_api_is_one_of_vllms() -> None:
    from llama_operator.api.engine_args_vllm import ENGINE

    offered = {f'"{name}"' for name in get_args(KvCacheDtype)}
    assert offered <= set(ENGINE["kv_cache_dtype"].split(" | "))
