"""Takes out of texts and objects what must not leave the cluster: tokens, keys, passwords, prompts. Pure.

    objects     values under names that say that they are secret; every environment variable but those of ours that hold none; data of
                Secrets and ConfigMaps; the copies that kubectl, kapp or Rancher keep of what was applied; then every text that is left.
                A text that is JSON is an object; what is deeper than `api.depth.DEEPEST` is taken out whole
    texts       what is known by its form (PEM, JWT, hub, cloud and forge tokens, credentials in URLs and headers), what stands after a name
                that says so, what follows the word prompt, and long runs of hex or base64 that could be a key
    log lines   only ours, which are JSON; of other programs' lines the number. A prompt has no form: where one could be, nothing is kept

Too much is taken rather than too little. Numbers and booleans stay, but for those under a secret name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.api.depth import DEEPEST, TooDeep, read_json
from llama_operator.cli.texts import json_text

GONE = "[redacted]"

SECRET_NAME = re.compile(
    r"token(?!s|izer|ization)|secret(?!s?_?-?(?:key)?_?(?:ref|name|s$))|pass(?:w|phrase|(?![a-z]))|pwd|api[-_.]?key|access[-_.]?key|authori[sz]ation|credential"
    r"|private[-_.]?key|cookie|signature|bearer|encryption[-_.]?key|client[-_.]?key|certificate|kubeconfig|dockerconfig"
    r"|account[-_.]?key|[-_]key\b|\bsig\b",
    re.IGNORECASE,
)
"""A name whose value is secret. `tokens`, `tokenizer` and the names of Secrets are none."""
PROMPT_NAME = re.compile(
    r"^(?:prompts?|messages|content|completions?|choices|delta|(?:input|output|generated|prompt)_?text|system_?prompt|input_ids|"
    r"prompt_?(?:token_?)?(?:ids|embeds)|chat_template_kwargs)$",
    re.IGNORECASE,
)
"""A name whose value is what users said, or were answered."""
KEPT = frozenset({"automountServiceAccountToken", "serviceAccountToken", "tokenSecretRef", "apiKeysSecretRef", "imagePullSecrets"})
"""Names that look secret, and whose values are references or switches: they are looked into."""
DROPPED = re.compile(r"^managedFields$|last-applied-configuration$|/(?:original|applied)$")
"""Copies of a whole object: kubectl's, kapp's (kapp.k14s.io/original), Rancher's (objectset.rio.cattle.io/applied: gzip in base64)."""
HELD = frozenset({"data", "stringData", "binaryData"})
"""Of a Secret or a ConfigMap: all that is in it."""
ENVIRONMENT = frozenset({"env", "envFrom", "env_vars"})
"""Environment variables: of a container, and of Ray's runtime environment."""

SAFE_VARIABLE = re.compile(
    r"(?:LLAMA_OPERATOR_(?!EXTRA)|LLAMA_(?:ROLE|GANG|RANK|HEAD|POD_NAME|POD_IP|RUN_DIR)$|RAY_AUTH_MODE$"
    r"|RAY_(?:gcs|metrics|raylet|GRACEFUL|SERVE_HAPROXY)|VLLM_(?:CPU|LOGGING_LEVEL|NO_USAGE|ENGINE_READY)|NCCL_|CUDA_VISIBLE_DEVICES$|PYTHONPATH$|HF_HUB_OFFLINE$|GODEBUG$)"
)
"""Environment variables whose values help and hold no secret; any other is the user's own."""

_FORMS = (
    r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)",  # PEM: keys, certificates
    r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,4}",  # JSON web tokens
    r"\b(?:hf_|api_org_)[A-Za-z0-9]{8,}",  # Hugging Face
    r"\bsk-[A-Za-z0-9_-]{8,}",  # OpenAI, Anthropic, and whoever follows them
    r"\b(?:gh[pousr]_|github_pat_|glpat-|gl[a-z]{2,4}-|xox[abeprs]-|npm_|pypi-|dckr_pat_|ya29\.)[A-Za-z0-9_.-]{8,}",  # forges, chats
    r"\b(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{12,}",  # AWS
    r"\bAIza[A-Za-z0-9_-]{20,}",  # Google
    r"(?<=://)[^/\s\"]+(?=@)",  # user:password in a URL, or a token alone; a password may hold an @
    r"\bH4sI[A-Za-z0-9+/_-]{16,}={0,2}",  # gzip in base64: what is in it is not looked at
    r"(?i:(?<=bearer )|(?<=basic )|(?<=negotiate ))\S+",
    r"(?<!sha256:)(?<![0-9a-fA-F])[0-9a-fA-F]{32,}(?![0-9a-fA-F])",  # Ray's tokens are 64 hex digits; digests of images are none
    # Keys in base64: long, with small and capital letters and digits.
    r"(?<![A-Za-z0-9+_-])(?=[A-Za-z0-9+_-]*[a-z])(?=[A-Za-z0-9+_-]*[A-Z])(?=[A-Za-z0-9+_-]*[0-9])[A-Za-z0-9+_-]{40,}={0,2}",
)
FORMS = re.compile("|".join(_FORMS), re.DOTALL)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
_NAME = rf"[\w.-]{{0,64}}(?:{SECRET_NAME.pattern})[\w.-]{{0,64}}"
NAMED = re.compile(
    rf"(?P<name>{_NAME})(?P<sign>\\?[\"']?\s*(?:[:=]|\s(?=\S))\s*)(?P<value>\\?(?:{_QUOTED})|\[[^\]]*\]?|[^\s,;&}}\])]+)", re.IGNORECASE
)
"""A secret name with its value: `token=x`, `"api_key": "x"`, `--api-key x`, `?signature=x&`."""
PAIRED = re.compile(
    rf"(?P<name>\bname\\?[\"']?\s*[:=]\s*\\?[\"']?{_NAME}\\?[\"']?[\s,;-]*\\?[\"']?value\\?[\"']?\s*[:=]\s*)(?P<value>\\?(?:{_QUOTED})|[^\s,;&}}\])]+)",
    re.IGNORECASE,
)
"""A variable as Kubernetes writes it, in JSON or YAML: `{"name": "DB_PASSWORD", "value": "x"}`."""
SAID = re.compile(
    r"(?P<name>\b(?:prompts?|messages|content|completions?|choices|delta|(?:input|output|generated|prompt)_?text|prompt_?(?:token_?)?ids)"
    r"\\?[\"']?\s*[:=]).*",
    re.IGNORECASE | re.DOTALL,
)
"""From the word prompt, or its like, to the end: a prompt may hold anything, line ends and quotes too."""
HEADERS = re.compile(r"(?P<name>\b(?:proxy-)?authorization\b\\?[\"']?\s*[:=]\s*|\b(?:set-)?cookie\s*:\s*)[^\r\n]*", re.IGNORECASE)
LONGEST_LINE = 64 * 1024
"""Characters of a line of a log that is looked at; none of ours is nearly as long."""
PLAIN_WORDS = frozenset(
    {"is", "was", "are", "of", "for", "in", "to", "not", "and", "or", "the", "a", "has", "have", "must", "may", "that", "as", "with"}
)
"""After a secret name and a blank, what shows that it is a sentence: `the token of this deployment`."""


def redact_text(text: str) -> str:
    """A text without what looks like a secret, or like what users said. Doing it twice changes nothing."""
    text = HEADERS.sub(lambda match: f"{match['name']}{GONE}", text)
    text = SAID.sub(lambda match: f"{match['name']} {GONE}", text)
    text = PAIRED.sub(lambda match: match[0] if match["value"].startswith(GONE[:-1]) else f"{match['name']}{GONE}", text)
    text = NAMED.sub(_named, text)
    return FORMS.sub(GONE, text)


def _named(match: re.Match[str]) -> str:
    blank = not match["sign"].strip()
    if match["value"].startswith(GONE[:-1]) or (blank and (match["value"].lower() in PLAIN_WORDS or not match["name"].startswith("-"))):
        return match[0]
    return f"{match['name']}{match['sign']}{GONE}"


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """An object as the API server gives it, or any part of it; `name` is the key that it stands under, `depth` how far down that is."""
    if depth > DEEPEST:
        return GONE
    if isinstance(value, Mapping):
        return _redacted_map(value, name, depth)
    if name in ENVIRONMENT and isinstance(value, list):
        return [_variable(item, depth) for item in value]
    if is_secret(name) and not isinstance(value, bool) and value is not None:
        return _everything_of(value, depth)
    if isinstance(value, list):
        words = zip([None, *value], value, strict=False)
        return [GONE if _asks_for_a_secret(before) else redact(item, name, depth + 1) for before, item in words]
    return _redacted_string(value, name, depth) if isinstance(value, str) else value


def _redacted_map(value: Mapping[Any, Any], name: str, depth: int) -> dict[str, Any]:
    # An item of a list that the API server gave says no kind: it may be a Secret.
    held = value.get("kind") in {"Secret", "ConfigMap"} or ("kind" not in value and "metadata" in value)
    names_a_secret = isinstance(value.get("name"), str) and SECRET_NAME.search(value["name"]) is not None
    done = {}
    for key, item in value.items():
        if DROPPED.search(str(key)):
            continue
        everything = (held and key in HELD) or (names_a_secret and key == "value") or (name in ENVIRONMENT and not _is_safe(str(key)))
        done[redact_text(str(key))] = _everything_of(item, depth + 1) if everything else redact(item, str(key), depth + 1)
    return done


def _redacted_string(text: str, name: str, depth: int) -> str:
    """A text; one that is JSON as the object that it says, since nothing but its shape tells what belongs to a secret name."""
    if text.lstrip()[:1] in {"{", "["}:
        try:
            value = read_json(text)
        except TooDeep:
            return GONE
        except ValueError:
            return redact_text(text)
        return json_text(redact(value, name, depth + 1))
    return redact_text(text)


def _asks_for_a_secret(word: Any) -> bool:
    """An argument of a command line whose value is the next word."""
    return isinstance(word, str) and word.startswith("-") and "=" not in word and SECRET_NAME.search(word) is not None


def is_secret(name: str) -> bool:
    """Whether what stands under that name is taken out, whatever it is."""
    return name not in KEPT and (SECRET_NAME.search(name) is not None or PROMPT_NAME.match(name) is not None)


def _everything_of(value: Any, depth: int) -> Any:
    """The shape stays, where it has one: what is missing is seen."""
    if depth <= DEEPEST and isinstance(value, Mapping):
        return {redact_text(str(key)): _everything_of(item, depth + 1) for key, item in value.items()}
    if depth <= DEEPEST and isinstance(value, list):
        return [_everything_of(item, depth + 1) for item in value]
    return GONE


def _is_safe(variable: str) -> bool:
    return SAFE_VARIABLE.match(variable) is not None and SECRET_NAME.search(variable) is None


def _variable(item: Any, depth: int) -> Any:
    """An environment variable: its name, and its value where it is ours and no secret; a reference to a Secret is a name."""
    if not isinstance(item, Mapping):
        return GONE
    name = str(item.get("name", ""))
    safe = _is_safe(name)
    return {
        str(key): (redact(part, str(key), depth + 2) if safe or key != "value" else GONE) if key != "name" else redact_text(name)
        for key, part in item.items()
    }


def redact_log(lines: Iterable[str]) -> tuple[list[str], int]:
    """Our own lines of a log, each redacted, and how many of others were left out."""
    kept, others = [], 0
    for line in lines:
        body = _ours(line)
        if body is None:
            others += 1
        else:
            kept.append(json_text(redact(body)))
    return kept, others


def _ours(line: str) -> dict[str, Any] | None:
    """A line of the agent's or the operator's logger; None for anything else."""
    if not line.startswith("{") or len(line) > LONGEST_LINE:
        return None
    try:
        body = read_json(line)
    except ValueError:
        return None
    known = (
        isinstance(body, dict) and "level" in body and ("event" in body or "message" in body) and ("time" in body or "timestamp" in body)
    )
    return body if known else None
