"""The bodies of the OpenAI interface, as far as the simulated engine needs them: requests read by hand, answers built as dicts. Pure.

It takes what vLLM takes and ignores what does not change the pace. Prompts are counted, never kept.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_TOKENS = 16  # OpenAI's own default for completions
DEFAULT_CHAT_TOKENS = 256  # vLLM's own is the rest of the context, which at a modelled pace would take half an hour
CHARACTERS_PER_TOKEN = 4  # a usual rule of thumb for English text


class BadRequestError(ValueError):
    """The body cannot be served. Carries the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request, reduced to what the pace depends on."""

    chat: bool
    model: str
    prompt_tokens: int
    max_tokens: int
    stream: bool
    include_usage: bool


def count_tokens(value: Any) -> int:
    """Tokens of a prompt: a string, a list of token ids, a list of prompts, or a chat's messages. At least 1."""
    if isinstance(value, str):
        return max(1, -(-len(value) // CHARACTERS_PER_TOKEN))
    if isinstance(value, list):
        return max(1, sum(1 if isinstance(item, int) else count_tokens(item) for item in value))
    if isinstance(value, dict):
        return count_tokens(value.get("content") or value.get("text") or "")
    return 1


def parse(body: Any, *, chat: bool, model: str, context_tokens: int) -> Ask:
    """Check a request's body. Raises BadRequestError with the field, what was given and what is allowed."""
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    if (asked := body.get("model", model)) != model:
        raise BadRequestError(f"The model `{asked}` does not exist; this endpoint serves `{model}`.", 404)
    field = "messages" if chat else "prompt"
    prompt = body.get(field)
    if not isinstance(prompt, list if chat else (str, list)) or not prompt:
        raise BadRequestError(f"{field}: a non-empty {'list of messages' if chat else 'string or list'} is required")
    tokens = count_tokens(prompt)
    room = context_tokens - tokens
    given = [body[key] for key in ("max_completion_tokens", "max_tokens") if body.get(key) is not None]
    limit = given[0] if given else (min(room, DEFAULT_CHAT_TOKENS) if chat else DEFAULT_MAX_TOKENS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadRequestError(f"max_tokens: {limit!r} is not a whole number of at least 1")
    if limit > room:
        raise BadRequestError(
            f"This model's maximum context length is {context_tokens} tokens; the prompt has {tokens} and max_tokens asks for {limit} more."
        )
    options = body.get("stream_options") or {}
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Ask(chat=chat, model=model, prompt_tokens=tokens, max_tokens=limit, stream=bool(body.get("stream")), include_usage=wants_usage)


def usage(ask: Ask) -> dict[str, int]:
    """The `usage` of an answer."""
    total = ask.prompt_tokens + ask.max_tokens
    return {"prompt_tokens": ask.prompt_tokens, "completion_tokens": ask.max_tokens, "total_tokens": total}


def head(ask: Ask, *, chunk: bool) -> dict[str, Any]:
    """What every answer, and every chunk of a stream, begins with."""
    name = ("chat.completion" if ask.chat else "text_completion") + (".chunk" if chunk and ask.chat else "")
    prefix = "chatcmpl" if ask.chat else "cmpl"
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": name, "created": int(time.time()), "model": ask.model}


def whole(ask: Ask, text: str) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    content = {"message": {"role": "assistant", "content": text}} if ask.chat else {"text": text}
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": "length"}
    return {**head(ask, chunk=False), "choices": [choice], "usage": usage(ask)}


def event(opening: bytes, choice: dict[str, Any]) -> bytes:
    """One server-sent event: `opening` is the encoded head without its closing brace."""
    return b"data: " + opening + b', "choices": [' + json.dumps(choice).encode() + b"]}\n\n"
