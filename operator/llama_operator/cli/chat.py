"""`kubectl llama chat NAME`: ask, read the answer as it comes, see the time to its first token and its tokens a second."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster
from llama_operator.cli.forwarding import entrance, forwarded
from llama_operator.cli.numbers import whole
from llama_operator.cli.openai_stream import Answer, EndpointError, ask, body
from llama_operator.cli.options import FITS, PROBLEMS
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.texts import json_text, plain

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
"""ECMA-48; only where the standard error is a terminal."""
MOST_PROMPT_BYTES = 16 * 1024 * 1024
KEY = re.compile(r"[\x21-\x7e\xa0-\xff]([\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?")
"""What a header can hold (https://www.rfc-editor.org/rfc/rfc9110#section-5.5), and `http.client` sends."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the options say of every answer."""

    model: str
    system: str | None
    max_tokens: int | None
    temperature: float | None
    key: str | None
    json: bool


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output, ("table", "json"))
        cluster = Cluster.of(arguments)
        with endpoint(cluster, arguments.name, arguments.url) as (url, model):
            return _talk(url, _wishes(arguments, model), arguments.prompt)
    except BadInput as refused:
        return refusals.tell(refused)


@contextmanager
def endpoint(cluster: Cluster, name: str, given: str | None) -> Iterator[tuple[str, str]]:
    """The URL of the OpenAI API, by a port-forward where none is given, and the model's name there. Raises BadInput."""
    if given is not None:
        if not _is_url(given):
            problem = Problem(field="--url", given=quoted(given), allowed="a URL as in http://host/v1", remedy="Correct it.")
            raise BadInput.of(problem)
        yield given, served_name(cluster.deployment(name))
        return
    deployment, pod = entrance(cluster, name)
    with forwarded(cluster, pod) as base:
        yield f"{base}/v1", served_name(deployment)


def _is_url(text: str) -> bool:
    """Whether HTTP can send it as it is: a path in other letters is to be given percent-encoded."""
    try:
        parts = urlsplit(text)
        return text.isascii() and text.isprintable() and parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is left open, or a port that is none
        return False


def served_name(deployment: dict[str, object]) -> str:
    """The model that clients ask for: spec.model.servedName, else the resource's name."""
    spec, metadata = deployment.get("spec"), deployment["metadata"]
    model = spec.get("model") if isinstance(spec, dict) else None
    named = model.get("servedName") if isinstance(model, dict) else None
    return str(named or (metadata["name"] if isinstance(metadata, dict) else ""))


def _wishes(arguments: argparse.Namespace, model: str) -> Wishes:
    """Raises BadInput."""
    key = None
    if arguments.api_key_env is not None:
        key = os.environ.get(arguments.api_key_env)
        if not key:
            given = f"{quoted(arguments.api_key_env)}, which is not set"
            problem = Problem(field="--api-key-env", given=given, allowed="the name of a variable that holds the key", remedy="Set it.")
            raise BadInput.of(problem)
        if KEY.fullmatch(key) is None:
            given = f"{quoted(arguments.api_key_env)}, whose value no HTTP header can hold"
            allowed = "the name of a variable that holds a key of one line, in printable Latin-1"
            raise BadInput.of(Problem(field="--api-key-env", given=given, allowed=allowed, remedy="Set it anew, without a line end."))
    return Wishes(
        model=model,
        system=arguments.system,
        max_tokens=None if arguments.max_tokens is None else whole("--max-tokens", arguments.max_tokens, 1, 10_000_000),
        temperature=None if arguments.temperature is None else _temperature(arguments.temperature),
        key=key,
        json=arguments.output == "json",
    )


def _temperature(given: str) -> float:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", given) is None or float(given) > 2:
        raise BadInput.of(Problem(field="--temperature", given=quoted(given), allowed="a number from 0 to 2", remedy="Correct it."))
    return float(given)


def _talk(url: str, wishes: Wishes, prompt: str | None) -> int:
    """One question, or a conversation from the standard input until it ends. Ctrl-C ends an answer; at a question it ends the talk."""
    messages = [{"role": "system", "content": wishes.system}] if wishes.system else []
    for question in _questions(prompt, wishes.model):
        messages.append({"role": "user", "content": question})
        request = body(wishes.model, messages, max_tokens=wishes.max_tokens, temperature=wishes.temperature)
        answer = _answered(url, request, wishes)
        if answer is None:
            return PROBLEMS
        messages.append({"role": "assistant", "content": answer.text})
    return FITS


def _questions(prompt: str | None, model: str) -> Iterator[str]:
    if prompt == "-":
        yield _read(sys.stdin.read)
        return
    if prompt is not None:
        yield prompt
        return
    asks = sys.stdin.isatty()
    if asks:
        sys.stderr.write(f"Talking to {plain(model)}. An empty line or Ctrl-D ends it.\n")
    while True:
        if asks:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = _read(sys.stdin.readline)
        if not line.strip():
            return
        yield line.strip()


def _read(some: Callable[[int], str]) -> str:
    """Of the standard input. Raises BadInput."""
    try:
        return some(MOST_PROMPT_BYTES)
    except UnicodeDecodeError as error:
        given = f"the standard input, with bytes that are no {error.encoding}"
        raise BadInput.of(Problem(field="--prompt", given=given, allowed="a text", remedy="Convert it: iconv -t UTF-8.")) from None


def _answered(url: str, request: dict[str, object], wishes: Wishes) -> Answer | None:
    """The answer, written as it comes; None where the talk cannot go on."""
    answer, stopped = Answer(), False
    try:
        for piece, known in ask(url, request, wishes.key, time.monotonic):
            answer = known
            if not wishes.json:
                sys.stdout.write(plain(piece))
                sys.stdout.flush()
    except EndpointError as error:
        if answer.text and not wishes.json:
            sys.stdout.write("\n")
        refusals.tell(BadInput.of(_refused(url, error, wishes.model)))
        return None
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        sys.stdout.write(" …")
        stopped = True
    if wishes.json:
        sys.stdout.write(json_text(answer.to_json()) + "\n")
        sys.stdout.flush()
        return answer if answer.complete or stopped else None
    sys.stdout.write("\n")
    sys.stdout.flush()
    words = f"({figures(answer)})"
    sys.stderr.write(f"{DIM}{words}{PLAIN}\n" if sys.stderr.isatty() else f"{words}\n")
    return answer if answer.complete or stopped else None


def figures(answer: Answer) -> str:
    """Its times and counts, in words; what was not measured is left out."""
    parts = [] if answer.first_seconds is None else [f"first token {answer.first_seconds:.2f} s"]
    if answer.output_tokens is not None:
        parts.append(f"{answer.output_tokens:,} tokens")
    elif answer.pieces:
        parts.append(f"{answer.pieces:,} pieces")
    if answer.tokens_per_second is not None:
        parts.append(f"{answer.tokens_per_second:.1f} {'tokens' if answer.output_tokens is not None else 'pieces'}/s")
    if not answer.complete:
        parts.append("the stream broke off")
    elif answer.finish == "length":
        parts.append("cut at the longest answer")
    return ", ".join(parts) or "no token came"


def _refused(url: str, error: EndpointError, model: str) -> Problem:
    said = f"{url} ({error.status}: {error})" if error.status else f"{url} ({error})"
    remedies = {
        0: "See whether the deployment still serves: kubectl llama status.",
        401: "Give the key in a variable: --api-key-env NAME.",
        404: f"The endpoint does not know {model}; is it another deployment's?",
        503: "Ask kubectl llama why: no replica takes requests.",
    }
    return Problem(field="endpoint", given=said, allowed="an answer", remedy=remedies.get(error.status, "Correct the request."))
