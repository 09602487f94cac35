"""The OpenAI HTTP surface of the simulated engine: models, chat completions, completions; whole or streamed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from llama_serving.engines import openai_wire as wire

if TYPE_CHECKING:
    from llama_serving.engines.simulated import SimulatedEngine


def build_surface(engine: SimulatedEngine, model: str) -> FastAPI:
    """The FastAPI app that serves `engine` under the name `model`."""
    card = {
        "id": model,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llama-operator",
        "max_model_len": engine.context_tokens,
    }

    async def health(_: Request) -> Response:
        return Response(status_code=200)

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [card]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(card) if name == model else _error(wire.BadRequestError(f"The model `{name}` does not exist.", 404))

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
        ask = wire.parse(body, chat=chat, model=model, context_tokens=engine.context_tokens)
    except wire.BadRequestError as error:
        return _error(error)
    except ValueError:
        return _error(wire.BadRequestError("the body is not JSON"))
    if ask.stream:
        return StreamingResponse(_stream(engine, ask), media_type="text/event-stream")
    words = [word async for word in engine.generate(ask.prompt_tokens, ask.max_tokens)]
    return JSONResponse(wire.whole(ask, "".join(words)))


def _error(error: wire.BadRequestError) -> JSONResponse:
    kind = "NotFoundError" if error.status == 404 else "BadRequestError"
    return JSONResponse({"error": {"message": str(error), "type": kind, "param": None, "code": error.status}}, status_code=error.status)


async def _stream(engine: SimulatedEngine, ask: wire.Ask) -> AsyncIterator[bytes]:
    head = wire.head(ask, chunk=True)
    # What does not change from chunk to chunk is encoded once: at 64 streams of 70 tokens/s the encoder would be the bottleneck.
    opening = json.dumps(head)[:-1].encode()
    if ask.chat:
        yield wire.event(opening, {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
    left = ask.max_tokens
    async for word in engine.generate(ask.prompt_tokens, ask.max_tokens):
        left -= 1
        finish = "length" if left == 0 else None
        piece: dict[str, Any] = {"delta": {"content": word}} if ask.chat else {"text": word}
        yield wire.event(opening, {"index": 0, **piece, "finish_reason": finish})
    if ask.include_usage:
        yield b"data: " + json.dumps({**head, "choices": [], "usage": wire.usage(ask)}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"
