"""Pods without Kubernetes: real agents, real Ray, on this machine. Run with the serving environment's Python."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.endpoint.barehost import BareHost, bare_host

from llama_serving.config import ServingConfig

Make = Callable[..., BareHost]


def config(**changes: Any) -> ServingConfig:
    """A deployment of the simulated engine, with what the test changes."""
    base: dict[str, Any] = {
        "deployment": "d",
        "namespace": "n",
        "revision": "0123456789",
        "source": "file:///nowhere",
        "served_name": "llama-3.1-test",
        "engine": "simulated",
        "engine_args": {"loadSeconds": 2},
        "drain_seconds": 30,
    }
    return ServingConfig(**{**base, **changes})


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Make]:
    """Starts pods; ends them after the test."""
    with contextlib.ExitStack() as stack:
        counter = iter(range(100))

        def make(made: ServingConfig, replicas: int = 1, **environment: str) -> BareHost:
            return stack.enter_context(bare_host(made, tmp_path / f"h{next(counter)}", replicas, environment))

        yield make


def cache() -> Path:
    """`$LLAMA_CACHE`, or its default."""
    default = "/var/cache/llama-operator" if os.geteuid() == 0 else "~/.cache/llama-operator"
    return Path(os.environ.get("LLAMA_CACHE", default)).expanduser()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The demo's trained model, unpacked by `python -m localcluster model`."""
    path = cache() / "models" / "smollm2-135m"
    if not (path / "config.json").is_file():
        pytest.skip(f"{path} is not there; make it with: PYTHONPATH=deploy/local python -m localcluster model")
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2.5 million parameters with a byte-level tokenizer: 8 heads, 2 KV heads, so tensor parallelism 1 or 2."""
    from tests.contract.serving.tiny import make_tiny_llama

    return make_tiny_llama(tmp_path_factory.mktemp("model") / "tiny")
