"""`python -m bench.routing`: the ways to choose a replica, each on real Ray Serve with HAProxy, with the same requests.

To be run with the serving environment's Python. Three replicas of the simulated engine with four slots each get requests at seeded moments,
whose lengths differ as those of conversations do (log-normal, as in Azure's trace of 2023). What a choice costs shows in requests that come
alone, one after the other; what it gains in the wait for a slot.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
from bench.endpoint.__main__ import CONFIG
from bench.endpoint.barehost import BareHost
from bench.endpoint.load import percentile

REPLICAS, SLOTS, PACE = 3, 4, 70.0
MEAN_TOKENS, SPREAD = 140.0, 0.9
ALONE = 200
WAYS = {
    "ours: the least loaded of three": "",
    "in turns (Ray's builder)": "ray.serve.experimental.round_robin_router:RoundRobinRouter",
    "Ray's default": "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
}
OTHER = """
from ray.serve.config import RequestRouterConfig
from llama_serving import app
app.routing = lambda: {{"request_router_config": RequestRouterConfig(request_router_class={path!r})}}
build = app.build
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """First tokens, milliseconds from the request."""

    alone: list[float]
    loaded: list[float]
    failed: int


def requests(seconds: float, use: float, seed: int) -> Iterator[tuple[float, int]]:
    """Moments in seconds, and tokens. `use`: of all slots, on average."""
    source = random.Random(seed)
    rate, at = use * REPLICAS * SLOTS * PACE / MEAN_TOKENS, 0.0
    while (at := at + source.expovariate(rate)) < seconds:
        yield at, max(round(source.lognormvariate(math.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD)), 1)


@contextmanager
def served(path: str) -> Iterator[list[str]]:
    """The replicas behind a router; the URLs of their pods."""
    config = replace(CONFIG, engine_args={"loadSeconds": 0, "slots": SLOTS, "tokensPerSecond": PACE})
    with tempfile.TemporaryDirectory(prefix="llama-bench-") as directory:
        host = BareHost(config=config, directory=Path(directory), application_path="other:build" if path else "llama_serving.app:build")
        (host.directory / "code" / "other.py").write_text(OTHER.format(path=path.replace(":", ".")), encoding="utf-8")
        try:
            host.start(REPLICAS)
            host.deploy(REPLICAS)
            host.wait_ready()
            yield [pod.url("http", "") for pod in host.pods[1:]]
        finally:
            host.stop()


async def first_token(session: aiohttp.ClientSession, url: str, tokens: int) -> float:
    """Milliseconds to the first token of a stream that is read to its end."""
    began, first = time.monotonic(), 0.0
    body = {"model": CONFIG.served_name, "prompt": "x", "max_tokens": tokens, "stream": True}
    async with session.post(f"{url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_any():
            if not first and b'"text"' in chunk:
                first = time.monotonic()
    if not first:
        raise RuntimeError("no token came")
    return 1000 * (first - began)


async def measure(urls: list[str], plan: list[tuple[float, int]]) -> Seen:
    """Requests one after the other, then those of the plan. Each enters at a pod drawn at random."""
    doors = random.Random(0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600), connector=connector) as session:
        for url in urls:
            await first_token(session, url, 1)  # what is imported with a first request is not the choice's cost
        alone = [await first_token(session, doors.choice(urls), 1) for _ in range(ALONE)]
        began = time.monotonic()

        async def one(at: float, tokens: int, url: str) -> float:
            await asyncio.sleep(max(began + at - time.monotonic(), 0))  # the request's moment
            return await first_token(session, url, tokens)

        got = await asyncio.gather(*(one(at, tokens, doors.choice(urls)) for at, tokens in plan), return_exceptions=True)
    return Seen(
        alone=alone, loaded=[item for item in got if isinstance(item, float)], failed=sum(not isinstance(item, float) for item in got)
    )


def main() -> int:
    """Measure and print. Status 1 where a request failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--use", type=float, default=0.75, help="of the slots, on average")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan = list(requests(options.seconds, options.use, options.seed))
    load = f"{len(plan)} requests in {options.seconds:g} s, slots in use {options.use:.0%}"
    print(f"{REPLICAS} replicas of {SLOTS} slots, {load}; {os.cpu_count()} cores for everything")
    print(f"{'first token, ms':<32} {'alone p50':>9} {'p99':>6} {'loaded p50':>11} {'p90':>7} {'p99':>7} {'failed':>7}")
    failed = 0
    for name, path in WAYS.items():
        with served(path) as urls:
            seen = asyncio.run(measure(urls, plan))
        failed += seen.failed
        alone = [percentile(seen.alone, share) for share in (0.5, 0.99)]
        loaded = [percentile(seen.loaded, share) for share in (0.5, 0.9, 0.99)]
        print(
            f"{name:<32} {alone[0]:>9.1f} {alone[1]:>6.1f} {loaded[0]:>11.0f} {loaded[1]:>7.0f} {loaded[2]:>7.0f} {seen.failed:>7}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
