"""The OpenAI bodies of the simulated engine."""

from __future__ import annotations

import json

import pytest

from llama_serving.engines import openai_wire as wire

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x" * 40}]}


def parse(body: object, *, chat: bool = True) -> wire.Ask:
    return wire.parse(body, chat=chat, model="m", context_tokens=1000)


@pytest.mark.parametrize(
    ("body", "chat", "message", "status"),
    [
        ([], True, "the body must be a JSON object", 400),
        ({**CHAT, "model": "other"}, True, "The model `other` does not exist", 404),
        ({"model": "m"}, True, "messages: a non-empty list of messages is required", 400),
        ({"model": "m", "messages": []}, True, "messages:", 400),
        ({"model": "m", "prompt": ""}, False, "prompt: a non-empty string or list is required", 400),
        ({**CHAT, "max_tokens": 0}, True, "max_tokens: 0 is not a whole number", 400),
        ({**CHAT, "max_tokens": "7"}, True, "max_tokens: '7'", 400),
        ({**CHAT, "max_tokens": 991}, True, "the prompt has 10 and max_tokens asks for 991", 400),
    ],
)
def test_a_bad_body_is_refused_with_the_field_and_what_is_wrong(body: object, chat: bool, message: str, status: int) -> None:
    with pytest.raises(wire.BadRequestError) as caught:
        parse(body, chat=chat)
    assert message in str(caught.value)
    assert caught.value.status == status


def test_the_newer_name_of_the_token_limit_wins() -> None:
    assert parse({**CHAT, "max_completion_tokens": 5, "max_tokens": 9}).max_tokens == 5


def test_tokens_are_counted_in_every_shape_of_prompt() -> None:
    assert wire.count_tokens("abcde") == 2
    assert wire.count_tokens([1, 2, 3]) == 3
    assert wire.count_tokens([{"role": "user", "content": [{"type": "text", "text": "abcd"}]}]) == 1


def test_an_event_is_one_line_of_json_with_the_head_and_the_choice() -> None:
    ask = parse({**CHAT, "max_tokens": 3})
    opening = json.dumps(wire.head(ask, chunk=True))[:-1].encode()
    line = wire.event(opening, {"index": 0, "delta": {"content": "hi"}})
    assert line.startswith(b"data: ")
    assert line.endswith(b"\n\n")
    body = json.loads(line[6:])
    assert body["object"] == "chat.completion.chunk"
    assert body["choices"] == [{"index": 0, "delta": {"content": "hi"}}]


def test_usage_adds_up() -> None:
    assert wire.whole(parse({**CHAT, "max_tokens": 3}), "a b c")["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "total_tokens": 13,
    }
