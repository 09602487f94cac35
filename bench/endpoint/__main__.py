"""`python -m bench.endpoint`: the three ways to one engine, side by side in one run, and whether the target is met.

Engine, proxies and client share the machine's cores, so that a cost on the way shows in the tokens per second. The rounds of the paths
alternate with rounds of the bare app: a machine that slows down half way slows both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.endpoint.bare_app import MODEL
from bench.endpoint.barehost import bare_host, call, free_port, wait_for
from bench.endpoint.load import Round

from llama_serving.config import ServingConfig

TARGET_SHARE = 0.97
TARGET_LATER_MS = 100.0
CONFIG = ServingConfig(
    deployment="bench",
    namespace="bench",
    revision="0000000000",
    source="file:///none",
    served_name=MODEL,
    engine="simulated",
    engine_args={"loadSeconds": 0},
    drain_seconds=5,
)


def measure(url: str, streams: int, tokens: int, ramp: float) -> Round:
    """One round by a client process of its own."""
    command = [sys.executable, "-m", "bench.endpoint.load", url, MODEL, str(streams), str(tokens), str(ramp)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Round(**json.loads(result.stdout))


@contextlib.contextmanager
def bare() -> Iterator[str]:
    """The engine's own app."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.endpoint.bare_app", str(port)], env=dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: call("GET", f"{url}/health")[0] == 200, 60, "the bare app answers")
        yield url
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def served(*, fast: bool) -> Iterator[str]:
    """The same engine through Ray Serve; `fast`: HAProxy and direct streaming."""
    environment = {} if fast else {"RAY_SERVE_HAPROXY_BINARY_PATH": "/nonexistent"}
    with (
        tempfile.TemporaryDirectory(prefix="llama-bench-") as directory,
        bare_host(CONFIG, Path(directory), environment=environment) as host,
    ):
        host.wait_ready()
        yield host.pods[1].url("http", "")


def median(rounds: list[Round]) -> Round:
    """The median of each figure; failures are summed."""
    return Round(
        tokens_per_second=statistics.median(item.tokens_per_second for item in rounds),
        first_p50=statistics.median(item.first_p50 for item in rounds),
        first_p99=statistics.median(item.first_p99 for item in rounds),
        failed=sum(item.failed for item in rounds),
    )


def main() -> int:
    """Measure and print. Status 1 when the fast path misses its target."""
    parser = argparse.ArgumentParser(prog="python -m bench.endpoint", description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=700, help="tokens of each stream (70 a second)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ramp", type=float, default=1.0, help="seconds over which the streams begin; 0: all in one instant")
    options = parser.parse_args()
    paths = {"fast path (HAProxy, direct streaming)": True, "ordinary path (Serve's proxy)": False}
    base: list[Round] = []
    table: dict[str, Round] = {}
    with bare() as bare_url:
        measure(bare_url, 8, 70, 0)  # what is imported or compiled with a first request is not the path's cost
        for name, fast in paths.items():
            with served(fast=fast) as url:
                measure(url, 8, 70, 0)
                rounds = []
                for _ in range(options.rounds):
                    base.append(measure(bare_url, options.streams, options.tokens, options.ramp))
                    rounds.append(measure(url, options.streams, options.tokens, options.ramp))
                table[name] = median(rounds)
    bare_round = median(base)
    return report({"the engine's own app (uvicorn)": bare_round, **table}, bare_round, options)


def report(table: dict[str, Round], base: Round, options: argparse.Namespace) -> int:
    """Print the table and the verdict."""
    begin = f"begun within {options.ramp:g} s" if options.ramp else "begun in one instant"
    print(f"{options.streams} streams of {options.tokens} tokens at 70 tokens/s, {begin}; medians; {os.cpu_count()} cores for everything")
    print(f"{'path':<40} {'tokens/s':>9} {'of bare':>8} {'first token p50':>16} {'p99':>8} {'failed':>7}")
    for name, item in table.items():
        share = item.tokens_per_second / base.tokens_per_second
        print(
            f"{name:<40} {item.tokens_per_second:>9.0f} {share:>8.3f} {item.first_p50:>13.0f} ms {item.first_p99:>5.0f} ms {item.failed:>7}"
        )
    fast = next(item for name, item in table.items() if name.startswith("fast"))
    share, later = fast.tokens_per_second / base.tokens_per_second, fast.first_p99 - base.first_p99
    met = share >= TARGET_SHARE and later <= TARGET_LATER_MS and fast.failed == 0
    print(f"fast path: {share:.3f} of bare (target {TARGET_SHARE}), first token p99 {later:+.0f} ms (at most {TARGET_LATER_MS:.0f})")
    print("target met" if met else "TARGET MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
