"""One streamed answer of an OpenAI-compatible endpoint, with the times of its tokens. The standard library alone: it starts at once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from llama_operator.api.depth import read_json

FIRST_SECONDS = 900.0
"""For the next byte. A head holds requests while replicas load, which takes minutes for a large model."""
MOST_ERROR_BYTES = 64 * 1024


class EndpointError(Exception):
    """No answer, or a refusal. `status` is the HTTP status, 0 without one; the text says what was answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came, and when. Seconds are since the request was sent; None: it never came, or was not told."""

    text: str = ""
    first_seconds: float | None = None
    """Until the first piece of text."""
    seconds: float = 0.0
    pieces: int = 0
    """Events with text in them; an engine may put several tokens into one."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None
    complete: bool = False
    """The stream ended as it should."""

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token: that one's time is the prompt's."""
        tokens = self.pieces if self.output_tokens is None else self.output_tokens
        if self.first_seconds is None or tokens < 2 or self.seconds <= self.first_seconds:
            return None
        return (tokens - 1) / (self.seconds - self.first_seconds)

    def to_json(self) -> dict[str, Any]:
        """As `-o json` shows it."""
        return {
            "text": self.text,
            "firstTokenSeconds": self.first_seconds,
            "seconds": self.seconds,
            "promptTokens": self.prompt_tokens,
            "outputTokens": self.output_tokens,
            "tokensPerSecond": self.tokens_per_second,
            "finishReason": self.finish,
            "complete": self.complete,
        }


def body(model: str, messages: Sequence[Mapping[str, str]], *, max_tokens: int | None, temperature: float | None) -> dict[str, Any]:
    """A chat request that is streamed, and ends with its counts of tokens."""
    asked: dict[str, Any] = {"model": model, "messages": list(messages), "stream": True, "stream_options": {"include_usage": True}}
    if max_tokens is not None:
        asked["max_tokens"] = max_tokens
    if temperature is not None:
        asked["temperature"] = temperature
    return asked


def read(lines: Iterable[bytes], clock: Callable[[], float]) -> Iterator[tuple[str, Answer]]:
    """The pieces of text of a server-sent event stream as they come, each with what is known of the answer by then; at last an empty piece.
    `clock` gives seconds since the request was sent. A line that is no event is passed over. Raises EndpointError for an error event.
    """
    answer = Answer()
    for raw in lines:
        data = raw.strip().removeprefix(b"data:").strip() if raw.startswith(b"data:") else b""
        if data == b"[DONE]":
            answer = replace(answer, complete=True)
            break
        try:
            event = read_json(data) if data else None
        except ValueError:
            continue
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            raise EndpointError(0, _said(event))
        answer = _counted(answer, event)
        piece = _text(event)
        if piece:
            first = clock() if answer.first_seconds is None else answer.first_seconds
            answer = replace(answer, text=answer.text + piece, pieces=answer.pieces + 1, first_seconds=first, seconds=clock())
            yield piece, answer
    yield "", replace(answer, seconds=answer.seconds or clock())


def _text(event: Mapping[str, Any]) -> str:
    pieces = [((choice or {}).get("delta") or {}).get("content") for choice in event.get("choices") or []]
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _counted(answer: Answer, event: Mapping[str, Any]) -> Answer:
    usage = event.get("usage") or {}
    finish = next((choice["finish_reason"] for choice in event.get("choices") or [] if (choice or {}).get("finish_reason")), answer.finish)
    prompt, output = usage.get("prompt_tokens", answer.prompt_tokens), usage.get("completion_tokens", answer.output_tokens)
    return replace(answer, finish=finish, prompt_tokens=prompt, output_tokens=output)


def _said(body_: Any) -> str:
    error = body_.get("error") if isinstance(body_, dict) else body_
    text = error.get("message") if isinstance(error, dict) else error
    return str(text)[:500]


def ask(url: str, request: Mapping[str, Any], key: str | None, clock: Callable[[], float]) -> Iterator[tuple[str, Answer]]:
    """Sends a chat request to `URL/chat/completions` and reads its stream. `clock` gives seconds on any scale. Raises EndpointError."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **({"Authorization": f"Bearer {key}"} if key else {})}
    connection: http.client.HTTPConnection | None = None
    try:
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(parts.netloc, timeout=FIRST_SECONDS)
        begun = clock()
        connection.request("POST", f"{parts.path.rstrip('/')}/chat/completions", json.dumps(request), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raw = answer.read(MOST_ERROR_BYTES)
            try:
                said = _said(read_json(raw))
            except ValueError:
                said = raw[:200].decode("utf-8", "replace")
            raise EndpointError(answer.status, said or answer.reason)
        yield from read(answer, lambda: clock() - begun)
    except (OSError, http.client.HTTPException) as error:
        raise EndpointError(0, f"{type(error).__name__} {error}".rstrip()) from None
    except ValueError:
        # Its text repeats the header, and with it the key.
        raise EndpointError(0, "the URL, or the key, cannot be sent by HTTP") from None
    finally:
        if connection is not None:
            connection.close()
