"""From nothing to the first token: through the operator, beside the same engine started bare. One run, one machine, one after the other.

    deploy/bin/uv run --frozen python -m bench.first_token

Bare: `vllm`'s own server on the machine, from the start of its process to the first token of a streamed answer. Operator: from `kubectl
apply` to the first token of a streamed answer through the Service, sent as soon as the object exists, so that it is held until a replica
is there. The model, the engine's arguments and its environment are the same. Both begin with warm file caches: the order is bare,
operator, bare, operator.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from localcluster.waiting import wait_for
from playground.kube import Namespace
from playground.stage import Stage

ROUNDS = 2
PORT = 18000
NAME = "first"
LONGEST_SECONDS = 400


def first_token(url: str, model: str) -> bool:
    """Ask for a stream and say whether a token came."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 2, "stream": True}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_SECONDS) as answer:
            for line in answer:
                if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0].get("delta", {}).get("content"):
                    return True
    except (urllib.error.URLError, OSError):
        return False
    return False


def bare(stage: Stage, manifest: dict[str, Any]) -> float:
    """Seconds of the engine's own server."""
    settings = stage.cluster.settings
    container = manifest["spec"]["podTemplate"]["spec"]["containers"][0]
    env = {**os.environ, **{item["name"]: item["value"] for item in container["env"]}}
    env.pop("PYTHONPATH", None)
    model = manifest["spec"]["model"]["source"].removeprefix("file://")
    command = [str(settings.serving_env / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", NAME, "--port", str(PORT), "--host", "127.0.0.1", "--max-model-len", "1024", "--max-num-seqs", "8"]
    command += ["--enforce-eager"]
    log = settings.cache / "run" / "bare-engine.log"
    begun = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=env, stdout=sink, stderr=subprocess.STDOUT)
        try:
            wait_for(
                "the bare engine's first token",
                lambda: _alive(process, log) and first_token(f"http://127.0.0.1:{PORT}", NAME),
                seconds=LONGEST_SECONDS,
            )
            return time.monotonic() - begun
        finally:
            process.terminate()
            process.wait(60)


def _alive(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the bare engine ended: {log.read_text(errors='replace')[-2000:]}")
    return True


def through_operator(space: Namespace, client: Any, manifest: dict[str, Any]) -> float:
    """Seconds through the operator and the Service."""
    begun = time.monotonic()
    space.apply(manifest)
    load = client.load(f"http://{NAME}", NAME, streams=1, seconds=LONGEST_SECONDS, tokens=2, requests=1000)
    space.wait("a first token", lambda: space.status(NAME).get("ready") == "1/1", LONGEST_SECONDS, NAME)
    load.stop()
    result = load.result()
    if result["requests"] == result["failed"]:
        raise RuntimeError(f"no stream got a token: {result['errors']}")
    seconds = float(result["firstTokenAt"]) - (time.time() - (time.monotonic() - begun))
    space.delete_llama(NAME)
    space.wait_gone(NAME, 90)
    return seconds


def main() -> int:
    """Print the table; exit status 0 whatever it says."""
    stage = Stage().prepare()
    space = stage.namespace("bench-first-token")
    client = stage.client(space)
    manifest = stage.small(NAME)
    rows = [(bare(stage, manifest), through_operator(space, client, manifest)) for _ in range(ROUNDS)]
    table = Table(title="Seconds from nothing to the first token")
    for column in ("round", "bare engine", "through the operator", "ratio"):
        table.add_column(column, justify="right")
    for number, (alone, operated) in enumerate(rows, 1):
        table.add_row(str(number), f"{alone:.1f}", f"{operated:.1f}", f"{operated / alone:.2f}")
    ratio = statistics.median(operated / alone for alone, operated in rows)
    table.add_row("median", "", "", f"{ratio:.2f}")
    Console().print(table)
    space.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
