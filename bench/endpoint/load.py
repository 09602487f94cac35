"""The client: many streams at once, each read to its end; run as a process of its own, so that it is the same for every path.

`python -m bench.endpoint.load URL MODEL STREAMS TOKENS RAMP` prints one JSON object. The streams begin evenly spread over
RAMP seconds; at 0 all in the same instant.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from dataclasses import asdict, dataclass

import aiohttp

STREAM_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of streams; times in milliseconds, from the request to the first token."""

    tokens_per_second: float
    first_p50: float
    first_p99: float
    failed: int


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


async def _stream(session: aiohttp.ClientSession, url: str, model: str, tokens: int, delay: float) -> tuple[float, float, int]:
    """Seconds to the first token, time of the last, and tokens received."""
    await asyncio.sleep(delay)  # the stream's place in the ramp
    began = time.monotonic()
    body = {"model": model, "prompt": "x", "max_tokens": tokens, "stream": True}
    first, received = 0.0, 0
    async with session.post(f"{url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_any():
            received += chunk.count(b'"text"')
            if not first and received:
                first = time.monotonic()
    if received != tokens:
        raise RuntimeError(f"{received} of {tokens} tokens came")
    return first - began, time.monotonic(), received


async def run(url: str, model: str, streams: int, tokens: int, ramp: float) -> Round:
    """Open the streams and read them to their ends."""
    timeout = aiohttp.ClientTimeout(total=STREAM_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.monotonic()
        tasks = [_stream(session, url, model, tokens, ramp * index / streams) for index in range(streams)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    good = [result for result in results if not isinstance(result, BaseException)]
    if not good:
        raise RuntimeError(f"no stream came through: {results[0]!r}")
    firsts = [result[0] * 1000 for result in good]
    rate = sum(result[2] for result in good) / (max(result[1] for result in good) - began)
    return Round(
        tokens_per_second=rate, first_p50=percentile(firsts, 0.5), first_p99=percentile(firsts, 0.99), failed=len(results) - len(good)
    )


def main(arguments: list[str]) -> None:
    """The command."""
    url, model, streams, tokens, ramp = arguments
    print(json.dumps(asdict(asyncio.run(run(url, model, int(streams), int(tokens), float(ramp))))))


if __name__ == "__main__":
    main(sys.argv[1:])
