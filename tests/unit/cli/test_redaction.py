"""What is taken out, and what is left for whoever helps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llama_operator.cli.redaction import GONE, redact, redact_log, redact_text

CANARY = "CaNaRy0123"
TEXTS = [
    f"hf_{CANARY}",
    f"using sk-proj-{CANARY} now",
    f"Authorization: Bearer {CANARY}",
    f"authorization: Basic {CANARY}==",
    f'{{"Authorization": "Bearer {CANARY}"}}',
    f"curl -H 'Authorization: token {CANARY}'",
    f"Cookie: session={CANARY}; a=b",
    f"https://user:{CANARY}@hub.example/x",
    f"GET /model?token={CANARY}&b=1",
    f"https://s3/x?X-Amz-Signature={CANARY}&y",
    f"HF_TOKEN={CANARY}",
    f'"api_key": "{CANARY}"',
    f'\\"api_key\\": \\"{CANARY}\\"',
    f"--api-key {CANARY}",
    f"--api-key={CANARY}",
    f"password: '{CANARY} with blanks'",
    f"AWS_SECRET_ACCESS_KEY={CANARY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY} cut short",
    f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    f"Received request cmpl-1: prompt: 'tell me about {CANARY}', params: SamplingParams(n=1)",
    f'{{"messages": [{{"role": "user", "content": "{CANARY}"}}]}}',
    f"prompt='{CANARY}\nover lines'",
    f"generated_text: {CANARY}",
    f"tokens ghp_{CANARY}{CANARY}",
    f"redis://:{CANARY}@host/0",
    f"https://{CANARY}@host/x",
    f"amqp://user:p@{CANARY}@host:5672",
    f"https://account.blob/x?sv=2024&sig={CANARY}%2F&se=1",
    f"db_pass: {CANARY}",
    f"PGPASS={CANARY}",
    f"--pass {CANARY}",
    f"passphrase={CANARY}",
    f"S3_KEY={CANARY}",
    f"AccountName=x;AccountKey={CANARY}/a+b==",
    f'env [{{"name":"DB_PASSWORD","value":"{CANARY}"}}]',
    f'{{\\"name\\": \\"DB_PASSWORD\\", \\"value\\": \\"{CANARY}\\"}}',
    f"- name: DB_PASSWORD\n  value: {CANARY}",
    f"H4sIA{CANARY}/a+b/{CANARY}+x==",
]


@pytest.mark.parametrize("text", TEXTS)
def test_no_secret_and_no_prompt_is_left_in_a_text(text: str) -> None:
    done = redact_text(text)
    assert CANARY not in done
    assert GONE in done
    assert redact_text(done) == done


def test_keys_without_a_name_are_known_by_their_length() -> None:
    assert redact_text(f"key {'0123456789abcdef' * 4}") == f"key {GONE}"
    assert redact_text("x Ab3" + "xY9_" * 10) == f"x {GONE}"


@pytest.mark.parametrize(
    "text",
    [
        "0 of 1 replicas are ready; gang 0: LoadingWeights (loading weights: 42 % of 269 MB)",
        "ghcr.io/x/llama@sha256:" + "0123456789abcdef" * 4,
        "demo-aaaaaaaaaa-g0-0 on ip-10-0-133-209.eu-central-1.compute.internal",
        "11111111-2222-3333-4444-555555555555",
        "the token of this deployment is needed",
        "4,096 tokens a second, the tokenizer is missing, maxTokens: 4096",
        "Secret llm/llama-ray-token is there",
        "http://prometheus.monitoring.svc:9090/api",
        "KeyError: 'layers'",
        "the pass failed; a partition key is missing, bypasses",
        "/var/lib/kubelet/pods/x/volumes/kubernetes.io~empty-dir",
    ],
)
def test_what_helps_is_left(text: str) -> None:
    assert redact_text(text) == text


OBJECT: dict[str, Any] = {
    "metadata": {
        "name": "demo",
        "managedFields": [{"x": CANARY}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY, "note": f"token={CANARY}", "vendor/api-key": CANARY},
    },
    "spec": {
        "model": {"source": "hf://a/b", "tokenSecretRef": {"name": "hf", "key": "token"}},
        "context": {"maxTokens": 4096},
        "engine": {"args": {"max_num_seqs": 8, "api_key": [CANARY], "password": 123456}},
        "podTemplate": {
            "spec": {
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "llama",
                        "args": ["--api-key", CANARY, f"--token={CANARY}"],
                        "env": [
                            {"name": "MY_SETTING", "value": CANARY},
                            {"name": "LLAMA_ROLE", "value": "head"},
                            {"name": "LLAMA_OPERATOR_API_TOKEN", "value": CANARY},
                            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
                        ],
                    }
                ],
            }
        },
    },
}


def test_an_object_keeps_its_shape_and_loses_its_secrets() -> None:
    done = redact(OBJECT)
    text = json.dumps(done)
    assert "123456" not in text
    assert "managedFields" not in text
    spec = done["spec"]
    assert spec["context"] == {"maxTokens": 4096}
    assert spec["model"]["tokenSecretRef"] == {"name": "hf", "key": "token"}
    assert spec["engine"]["args"]["max_num_seqs"] == 8
    assert spec["podTemplate"]["spec"]["automountServiceAccountToken"] is False
    variables = {item["name"]: item for item in spec["podTemplate"]["spec"]["containers"][0]["env"]}
    assert variables["LLAMA_ROLE"]["value"] == "head"
    assert variables["MY_SETTING"]["value"] == GONE
    assert variables["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "hf", "key": "token"}
    assert CANARY not in text, [line for line in json.dumps(done, indent=1).splitlines() if CANARY in line]


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_of_a_secret_the_names_are_left(kind: str) -> None:
    assert redact({"kind": kind, "data": {"a": CANARY, "b": {"c": CANARY}}}) == {"kind": kind, "data": {"a": GONE, "b": {"c": GONE}}}


def test_of_a_log_our_own_lines_are_left() -> None:
    ours = {"time": "2026-09-21T14:13:20Z", "level": "info", "message": "loading weights: 42 % of 269 MB"}
    lines = [
        json.dumps(ours),
        json.dumps({**ours, "message": f"prompt: {CANARY}"}),
        json.dumps({**ours, "prompt": CANARY, "messages": [{"content": CANARY}]}),
        f"INFO 11-21 Received request: {CANARY}",
        json.dumps({"text": CANARY}),
        f'{{"level": "info", "message": "{CANARY}',
    ]
    kept, others = redact_log(lines)
    assert (len(kept), others) == (3, 3)
    assert json.loads(kept[0]) == ours
    assert CANARY not in "".join(kept)


MANIFEST = {
    "metadata": {"annotations": {"inner": json.dumps({"data": {"x": CANARY}, "kind": "Secret"})}},
    "spec": {"env": [{"name": "FOO", "value": CANARY}, {"name": "LLAMA_ROLE", "value": "head"}], "replicas": 2},
}


@pytest.mark.parametrize("text", [json.dumps(MANIFEST), json.dumps(MANIFEST, indent=2), json.dumps([MANIFEST])])
def test_a_text_that_is_an_object_is_looked_into_like_one(text: str) -> None:
    done = redact({"annotations": {"copy": text}})["annotations"]["copy"]
    assert CANARY not in done
    assert "head" in done
    assert '"replicas": 2' in done
    assert json.loads(done) is not None


@pytest.mark.parametrize(
    "value",
    [
        {"metadata": {"annotations": {"kapp.k14s.io/original": CANARY, "objectset.rio.cattle.io/applied": CANARY}}},
        {"runtime_env": {"env_vars": {"FOO": CANARY}}},
        {"env": {"FOO": CANARY, "LLAMA_OPERATOR_API_TOKEN": CANARY}},
        {"note": json.dumps({"name": "DB_PASSWORD", "value": CANARY})},
        {"parameters": [{"name": "db-password", "value": CANARY}]},
        {"kind": "SecretList", "items": [{"metadata": {"name": "a"}, "data": {"b": CANARY}}]},
        {"metadata": {"name": "a"}, "stringData": {"b": CANARY}},
    ],
    ids=["copies", "Ray's variables", "a mapping", "a pair in a text", "a pair", "an item of a list", "no kind"],
)
def test_what_has_no_secret_form_is_known_by_where_it_stands(value: dict[str, Any]) -> None:
    assert CANARY not in json.dumps(redact(value))


def test_variables_that_help_stay_in_a_mapping_too() -> None:
    assert redact({"env": {"LLAMA_ROLE": "head", "X": "y"}}) == {"env": {"LLAMA_ROLE": "head", "X": GONE}}


def test_what_is_deep_is_taken_out_and_kills_nothing() -> None:
    deep: Any = CANARY
    for _ in range(3000):
        deep = {"a": [deep]}
    nested: Any = CANARY
    for _ in range(12):
        nested = json.dumps([nested])
    for value in (deep, {"env": [{"name": "LLAMA_ROLE", "value": deep}]}, {"token": deep}, f'{"[" * 50_000}"{CANARY}"'):
        assert CANARY not in json.dumps(redact(value))
    assert json.dumps(redact(nested))
    ours = '{"time": "t", "level": "info", "message": "m", "x": '
    assert redact_log([ours + "[" * 50_000, f"{ours}{'[' * 900}{']' * 900}}}"]) == ([], 2)
