"""How long `kubectl llama` takes on top of what the cluster takes: python -m bench.commands [MILLISECONDS] [ROUNDS]

In kubectl's place stands a shell script that answers from files after so many milliseconds (50). Of each command is printed: how often it
ran kubectl, how long the command took from its start to its end as a process of its own, and that time less one answer's, which is what
the user waits for on top of a single question. The questions that wait for each other are in it, and Python's start too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.harness.cluster import loading_cluster
from tests.unit.cli.test_doctor import an_operator, healthy_cluster

from llama_operator.adapters.kinds import KINDS
from llama_operator.adapters.prometheus_instant import WHICH, service_path
from llama_operator.rendering import names

COMMANDS: dict[str, list[str]] = {
    "status": ["status"],
    "status NAME": ["status", "demo"],
    "why": ["why", "demo"],
    "why --at": ["why", "demo", "--at", "10m"],
    "top": ["top"],
    "cost": ["cost", "demo"],
    "doctor": ["doctor"],
    "logs": ["logs", "demo"],
    "chat --help": ["chat", "--help"],
}
URL = "http://prometheus.monitoring:9090"
SCRIPT = """#!/bin/sh
echo x >> "$STAND_IN/asked"
sleep "$STAND_IN_SECONDS"
case "$*" in
  *config\\ view*) printf llm; exit 0;;
  *"--as="*) cat "$STAND_IN/review"; exit 0;;
  *" logs "*|"logs "*) echo "a line"; exit 0;;
esac
for path; do :; done
file="$STAND_IN/$(printf %s "${path%%\\?*}" | tr / _)"
if [ -f "$file" ]; then exec cat "$file"; fi
echo "Error from server (NotFound): the server could not find the requested resource" >&2
exit 1
"""


def answers() -> dict[str, Any]:
    """What the stand-in knows, by path."""
    healthy, found = healthy_cluster(), loading_cluster()
    by_path: dict[str, Any] = {key.partition("?")[0]: value for key, value in healthy.raw.items()}
    for kind in KINDS.values():
        items = [item for item in [*found.objects, *healthy.objects] if item["kind"] == kind.name]
        for namespace in (None, "llm"):
            by_path[kind.path(namespace)] = {"items": items, "metadata": {}}
        for item in found.objects:
            if item["kind"] == kind.name:
                by_path[kind.path(item["metadata"].get("namespace"), item["metadata"]["name"])] = item
    by_path["/apis/apps/v1/deployments"] = {"items": [an_operator(PROMETHEUS_URL=URL)]}
    sample = {"metric": {names.LABEL_DEPLOYMENT: "demo", WHICH: "0"}, "value": [0, "1"]}
    by_path[f"{service_path(URL)}/api/v1/query"] = {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
    return by_path


def measure(folder: Path, argv: list[str], seconds: float) -> tuple[float, int]:
    """Seconds of one command, and how many kubectl it ran."""
    asked = folder / "asked"
    asked.unlink(missing_ok=True)
    way = f"{folder}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": way, "STAND_IN": str(folder), "STAND_IN_SECONDS": str(seconds)}
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "llama_operator.cli", *argv], capture_output=True, text=True, env=environment, check=False)
    took = time.perf_counter() - begun
    if done.returncode == 1:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr}")
    return took, len(asked.read_text().splitlines()) if asked.exists() else 0


def main(arguments: list[str]) -> None:
    """Print the table."""
    seconds, rounds = (int(arguments[0]) if arguments else 50) / 1000, int(arguments[1]) if arguments[1:] else 9
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, body in answers().items():
            (folder / path.replace("/", "_")).write_text(json.dumps(body))
        (folder / "review").write_text(healthy_cluster().rights.out)  # type: ignore[attr-defined]
        (folder / "kubectl").write_text(SCRIPT)
        (folder / "kubectl").chmod(0o755)
        print(f"kubectl answers after {seconds * 1000:.0f} ms; {rounds} rounds; milliseconds")
        print(f"{'command':12}  kubectl  median  least  least overhead")
        for title, argv in COMMANDS.items():
            runs = [measure(folder, argv, seconds) for _ in range(rounds)]
            times, asked = [took * 1000 for took, _ in runs], runs[0][1]
            over = min(times) - (seconds * 1000 if asked else 0)
            print(f"{title:12}  {asked:7}  {statistics.median(times):6.0f}  {min(times):5.0f}  {over:14.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
