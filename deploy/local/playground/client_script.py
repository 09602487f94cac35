"""Runs inside the client pod: one chat, a load of streams, or requests at given times, against an OpenAI-compatible endpoint. Prints one
JSON object.

    python3 - chat URL MODEL PROMPT
    python3 - load URL MODEL '{"streams": 8, "tokens": 64, "seconds": 60, "requests": null, "stop": "/tmp/stop-1"}'
    python3 - replay URL MODEL '{"arrivals": [0.5, 0.7], "tokens": 64, "stop": "/tmp/stop-1"}'

A load keeps `streams` requests open for `seconds` (or until `requests` were made), each asking for `tokens` tokens. A replay begins each
request so many seconds after the start, whatever became of the others. No new one is begun once the file `stop` is there. It never
retries: what a user would see is what it reports.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(300.0, connect=10.0)


def body_of(model: str, prompt: str, tokens: int, *, stream: bool) -> dict[str, Any]:
    """A chat request that ends after exactly `tokens` tokens where the engine honours ignore_eos."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": stream,
    }


async def chat(url: str, model: str, prompt: str) -> dict[str, Any]:
    """One answer."""
    begun = time.monotonic()
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        answer = await client.post(f"{url}/v1/chat/completions", json=body_of(model, prompt, 32, stream=False))
    text = answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else answer.text[:500]
    return {"status": answer.status_code, "seconds": time.monotonic() - begun, "text": text}


async def one_stream(client: httpx.AsyncClient, url: str, model: str, tokens: int, number: int) -> dict[str, Any]:
    """One streamed answer: when it began, its first token's delay, how many chunks came, whether it ended as it should."""
    begun, first, chunks, finished = time.monotonic(), None, 0, False
    result: dict[str, Any] = {"begun": time.time(), "error": None}
    body = {**body_of(model, f"Tell me story number {number}.", tokens, stream=True), "ignore_eos": True}
    try:
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                text = (await answer.aread()).decode("utf-8", "replace")
                result["error"] = f"status {answer.status_code}: {text[:200]}"
            else:
                async for line in answer.aiter_lines():
                    if line == "data: [DONE]":
                        finished = True
                    elif line.startswith("data: ") and json.loads(line[6:])["choices"]:
                        delta = json.loads(line[6:])["choices"][0]
                        if delta.get("delta", {}).get("content"):
                            chunks += 1
                            first = first or time.monotonic() - begun
    except (httpx.HTTPError, ValueError, KeyError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    if not finished and not result["error"]:
        result["error"] = "the stream ended without [DONE]"
    return {**result, "first": first, "seconds": time.monotonic() - begun, "chunks": chunks}


async def load(url: str, model: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Many streams."""
    begun, results, numbers = time.monotonic(), [], iter(range(1_000_000))
    limit, stop = plan.get("requests"), Path(plan["stop"])

    async def worker(client: httpx.AsyncClient) -> None:
        while time.monotonic() - begun < plan["seconds"] and not stop.exists():  # noqa: ASYNC240 - a stat of a local file
            number = next(numbers)
            if limit is not None and number >= limit:
                return
            results.append(await one_stream(client, url, model, plan["tokens"], number))
            if results[-1]["error"]:
                # A refused connection fails in microseconds; a person would not press the key faster than this.
                await asyncio.sleep(0.2)

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits) as client:
        await asyncio.gather(*(worker(client) for _ in range(plan["streams"])))
    seconds = time.monotonic() - begun
    firsts = sorted(item["first"] for item in results if item["first"])
    failed = [item for item in results if item["error"]]
    return {
        "requests": len(results),
        "failed": len(failed),
        "errors": sorted({item["error"] for item in failed})[:10],
        "seconds": seconds,
        "tokensPerSecond": sum(item["chunks"] for item in results) / seconds,
        "firstP50": firsts[len(firsts) // 2] if firsts else None,
        "firstP99": firsts[min(len(firsts) - 1, int(len(firsts) * 0.99))] if firsts else None,
        "firstTokenAt": min((item["begun"] + item["first"] for item in results if item["first"]), default=None),
        "longest": max((item["seconds"] for item in results), default=0.0),
    }


async def replay(url: str, model: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Requests when they are due."""
    begun, begun_at, stop = time.monotonic(), time.time(), Path(plan["stop"])

    async def one(client: httpx.AsyncClient, due: float, number: int) -> dict[str, Any] | None:
        await asyncio.sleep(max(begun + due - time.monotonic(), 0.0))
        if stop.exists():  # noqa: ASYNC240 - a stat of a local file
            return None
        sent = time.monotonic() - begun
        result = await one_stream(client, url, model, plan["tokens"], number)
        return {"sent": sent, "first": result["first"], "seconds": result["seconds"], "error": result["error"]}

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits) as client:
        answers = await asyncio.gather(*(one(client, due, number) for number, due in enumerate(plan["arrivals"])))
    return {"begunAt": begun_at, "answers": [answer for answer in answers if answer]}


if __name__ == "__main__":
    if sys.argv[1] == "chat":
        print(json.dumps(asyncio.run(chat(*sys.argv[2:5]))))
    elif sys.argv[1] == "replay":
        print(json.dumps(asyncio.run(replay(sys.argv[2], sys.argv[3], json.loads(sys.argv[4])))))
    else:
        print(json.dumps(asyncio.run(load(sys.argv[2], sys.argv[3], json.loads(sys.argv[4])))))
