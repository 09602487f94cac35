"""Promises about what leaves a cluster, over generated objects and texts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llama_operator.cli.redaction import redact, redact_log, redact_text

CANARY = "CaNaRy7f3a9"
NAMES = st.sampled_from(
    [
        "hfToken",
        "HF_TOKEN",
        "password",
        "apiKey",
        "api_key",
        "clientSecret",
        "Authorization",
        "private_key",
        "prompt",
        "messages",
        "content",
    ]
)
PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)
FORMS = st.sampled_from(
    [
        f"hf_{CANARY}",
        f"sk-{CANARY}",
        f"Bearer {CANARY}",
        f"https://u:{CANARY}@h/x",
        f"token={CANARY}",
        f'"api_key": "{CANARY}"',
        f"--password {CANARY}",
        f"prompt: {CANARY}",
        f"{{'messages': [{{'content': '{CANARY}'}}]}}",
        f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.x",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | PLAIN
KEYS = st.sampled_from(["name", "spec", "status", "args", "items", "message", "image", "labels"])
SECRETS = st.builds(lambda name, rest: {name: [CANARY, rest, {"x": CANARY}]}, NAMES, LEAVES)
VARIABLES = st.builds(lambda name: {"env": [{"name": name, "value": CANARY}]}, st.text("ABCDEFGH_", min_size=1, max_size=12))
TEXTS = st.builds(lambda before, form, after: f"{before} {form} {after}", PLAIN, FORMS, PLAIN)
OBJECTS: st.SearchStrategy[Any] = st.recursive(
    LEAVES | TEXTS | SECRETS | VARIABLES,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)


@given(OBJECTS)
def test_nothing_secret_leaves_with_an_object(value: Any) -> None:
    done = redact({"kind": "LlamaDeployment", "spec": value})
    assert CANARY not in json.dumps(done)
    assert redact(done) == done


@given(TEXTS)
def test_nothing_secret_leaves_with_a_text(text: str) -> None:
    done = redact_text(text)
    assert CANARY not in done
    assert redact_text(done) == done


@given(st.lists(TEXTS | PLAIN.map(lambda text: f"{text}{CANARY}"), max_size=6))
def test_nothing_that_others_logged_leaves_with_a_log(lines: list[str]) -> None:
    kept, others = redact_log(lines)
    assert kept == []
    assert others == len(lines)


@given(st.text("aA0-_+=:\"'\\ token{}[]prom/", max_size=2000))
def test_any_text_is_done_and_done_once(text: str) -> None:
    done = redact_text(text)
    assert redact_text(done) == done
