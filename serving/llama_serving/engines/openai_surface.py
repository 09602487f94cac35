"""The OpenAI HTTP surface of the simulated engine: models, chat completions, completions; whole or streamed.

Bodies are read by hand: the surface takes what vLLM takes and ignores what does not change the pace. Prompts are counted, never kept.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from llama_serving.engines.simulated import SimulatedEngine

DEFAULT_MAX_TOKENS = 16  # OpenAI's own default for completions
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
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or (min(room, 256) if chat else DEFAULT_MAX_TOKENS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadRequestError(f"max_tokens: {limit!r} is not a whole number of at least 1")
    if limit > room:
        raise BadRequestError(
            f"This model's maximum context length is {context_tokens} tokens; the request has {tokens} in its prompt and asks for {limit} more."
        )
    options = body.get("stream_options") or {}
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Ask(chat=chat, model=model, prompt_tokens=tokens, max_tokens=limit, stream=bool(body.get("stream")), include_usage=usage)


def build_surface(engine: SimulatedEngine, model: str) -> FastAPI:
    """The FastAPI app that serves `engine` under the name `model`."""
    card = {
        "id": model,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llama-operator",
        "max_model_len": engine.context_tokens,
    }

    async def health() -> Response:
        return Response(status_code=200)

    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [card]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(card) if name == model else _error(BadRequestError(f"The model `{name}` does not exist.", 404))

    async def chat(request: Request) -> Response:
        return await _answer(engine, model, request, chat=True)

    async def completions(request: Request) -> Response:
        return await _answer(engine, model, request, chat=False)

    app = FastAPI(title="simulated engine")
    app.add_route("/health", health, methods=["GET"])
    app.add_route("/v1/models", models, methods=["GET"])
    app.add_route("/v1/models/{name:path}", one_model, methods=["GET"])
    app.add_route("/v1/chat/completions", chat, methods=["POST"])
    app.add_route("/v1/completions", completions, methods=["POST"])
    return app


async def _answer(engine: SimulatedEngine, model: str, request: Request, *, chat: bool) -> Response:
    try:
        body = json.loads(await request.body())
        ask = parse(body, chat=chat, model=model, context_tokens=engine.context_tokens)
    except BadRequestError as error:
        return _error(error)
    except ValueError:
        return _error(BadRequestError("the body is not JSON"))
    if ask.stream:
        return StreamingResponse(_stream(engine, ask), media_type="text/event-stream")
    words = [word async for word in engine.generate(ask.prompt_tokens, ask.max_tokens)]
    return JSONResponse(_whole(ask, "".join(words)))


def _error(error: BadRequestError) -> JSONResponse:
    kind = "NotFoundError" if error.status == 404 else "BadRequestError"
    return JSONResponse({"error": {"message": str(error), "type": kind, "param": None, "code": error.status}}, status_code=error.status)


def _usage(ask: Ask) -> dict[str, int]:
    total = ask.prompt_tokens + ask.max_tokens
    return {"prompt_tokens": ask.prompt_tokens, "completion_tokens": ask.max_tokens, "total_tokens": total}


def _head(ask: Ask, *, chunk: bool) -> dict[str, Any]:
    name = ("chat.completion" if ask.chat else "text_completion") + (".chunk" if chunk and ask.chat else "")
    prefix = "chatcmpl" if ask.chat else "cmpl"
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": name, "created": int(time.time()), "model": ask.model}


def _whole(ask: Ask, text: str) -> dict[str, Any]:
    content = {"message": {"role": "assistant", "content": text}} if ask.chat else {"text": text}
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": "length"}
    return {**_head(ask, chunk=False), "choices": [choice], "usage": _usage(ask)}


async def _stream(engine: SimulatedEngine, ask: Ask) -> AsyncIterator[bytes]:
    head = _head(ask, chunk=True)
    # What does not change from chunk to chunk is encoded once: at 64 streams of 70 tokens/s the encoder would be the bottleneck.
    opening = json.dumps(head)[:-1].encode()
    if ask.chat:
        yield _event(opening, {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
    left = ask.max_tokens
    async for word in engine.generate(ask.prompt_tokens, ask.max_tokens):
        left -= 1
        finish = "length" if left == 0 else None
        piece: dict[str, Any] = {"delta": {"content": word}} if ask.chat else {"text": word}
        yield _event(opening, {"index": 0, **piece, "finish_reason": finish})
    if ask.include_usage:
        yield b"data: " + json.dumps({**head, "choices": [], "usage": _usage(ask)}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _event(opening: bytes, choice: dict[str, Any]) -> bytes:
    return b"data: " + opening + b', "choices": [' + json.dumps(choice).encode() + b"]}\n\n"
