"""The first token through the operator, beside the same engine started bare: of a request, and from nothing at all. One run, one machine.

    deploy/bin/uv run --frozen python -m bench.first_token [ROUNDS]

Of a request: the median delay of a stream's first token, requests one after the other, the engine idle otherwise, and both ways at rest:
what still starts beside an engine that has just answered (routers, agents) is left SETTLE_SECONDS.

From nothing, bare: `vllm`'s own server on the machine, from the start of its process to the first token of a streamed answer. Operator:
from `kubectl apply` to the first token of a streamed answer through the Service, sent as soon as the object exists, so that it is held
until a replica is there.

The model, the engine's arguments and its environment are the same. Both begin with warm file caches: the order is bare, operator, bare,
operator.
"""

from __future__ import annotations

import asyncio
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
from playground import client_script
from playground.kube import Namespace
from playground.stage import Stage

ROUNDS = 2
PORT = 18000
NAME = "first"
LONGEST_SECONDS = 400
SETTLE_SECONDS = 20.0
REQUESTS = 200
TOKENS = 4


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


def bare(stage: Stage, manifest: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the engine's own server: from nothing, and of a request."""
    settings = stage.cluster.settings
    container = manifest["spec"]["podTemplate"]["spec"]["containers"][0]
    env = {**os.environ, **{item["name"]: item["value"] for item in container["env"]}}
    env.pop("PYTHONPATH", None)
    env["OMP_NUM_THREADS"] = "1"  # Ray sets it to the CPUs of the replica's actor, which is one
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
            seconds = time.monotonic() - begun
            time.sleep(SETTLE_SECONDS)  # noqa: TID251 -- a pause is meant: see the top of this file
            plan = {"streams": 1, "tokens": TOKENS, "seconds": LONGEST_SECONDS, "requests": REQUESTS, "stop": "/nonexistent"}
            warm = asyncio.run(client_script.load(f"http://127.0.0.1:{PORT}", NAME, plan))
            return seconds, float(warm["firstP50"])
        finally:
            process.terminate()
            process.wait(60)


def _alive(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the bare engine ended: {log.read_text(errors='replace')[-2000:]}")
    return True


def through_operator(space: Namespace, client: Any, manifest: dict[str, Any]) -> tuple[float, float]:
    """Seconds through the operator and the Service: from nothing, and of a request."""
    begun = time.monotonic()
    space.apply(manifest)
    load = client.load(f"http://{NAME}", NAME, streams=1, seconds=LONGEST_SECONDS, tokens=2, requests=1000)
    space.wait("a first token", lambda: space.status(NAME).get("ready") == "1/1", LONGEST_SECONDS, NAME)
    load.stop()
    result = load.result()
    if result["requests"] == result["failed"]:
        raise RuntimeError(f"no stream got a token: {result['errors']}")
    seconds = float(result["firstTokenAt"]) - (time.time() - (time.monotonic() - begun))
    time.sleep(SETTLE_SECONDS)  # noqa: TID251 -- the same
    warm = client.load(f"http://{NAME}", NAME, streams=1, seconds=LONGEST_SECONDS, tokens=TOKENS, requests=REQUESTS).result()
    space.delete_llama(NAME)
    space.wait_gone(NAME, 90)
    return seconds, float(warm["firstP50"])


def main(arguments: list[str]) -> int:
    """Print the table; exit status 0 whatever it says."""
    rounds = int(arguments[0]) if arguments else ROUNDS
    stage = Stage().prepare()
    space = stage.namespace("bench-first-token")
    client = stage.client(space)
    manifest = stage.small(NAME)
    rows = [(bare(stage, manifest), through_operator(space, client, manifest)) for _ in range(rounds)]
    table = Table(title="First token: the engine bare, and through the operator")
    for column in ("round", "of a request, bare (ms)", "operator (ms)", "ratio", "from nothing, bare (s)", "operator (s)", "ratio"):
        table.add_column(column, justify="right")
    for number, ((bare_cold, bare_warm), (cold, warm)) in enumerate(rows, 1):
        requests = (f"{bare_warm * 1000:.0f}", f"{warm * 1000:.0f}", f"{warm / bare_warm:.2f}")
        table.add_row(str(number), *requests, f"{bare_cold:.1f}", f"{cold:.1f}", f"{cold / bare_cold:.2f}")
    ratios = [statistics.median(run[kind] / alone[kind] for alone, run in rows) for kind in (1, 0)]
    table.add_row("median", "", "", f"{ratios[0]:.2f}", "", "", f"{ratios[1]:.2f}")
    Console().print(table)
    space.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
