"""Takes out of texts and objects what must not leave the cluster: tokens, keys, passwords, prompts. Pure.

    objects     values under names that say that they are secret; every environment variable but those of ours that hold none; data of
                Secrets and ConfigMaps; kubectl's copy of what was applied; then every text that is left
    texts       what is known by its form (PEM, JWT, hub, cloud and forge tokens, credentials in URLs and headers), what stands after a name
                that says so, what follows the word prompt, and long runs of hex or base64 that could be a key
    log lines   only ours, which are JSON; of other programs' lines the number. A prompt has no form: where one could be, nothing is kept

Too much is taken rather than too little. Numbers and booleans stay, but for those under a secret name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

GONE = "[redacted]"

SECRET_NAME = re.compile(
    r"token(?!s|izer|ization)|secret(?!s?_?-?(?:key)?_?(?:ref|name|s$))|passw|pwd|api[-_.]?key|access[-_.]?key|authori[sz]ation|credential"
    r"|private[-_.]?key|cookie|signature|bearer|encryption[-_.]?key|client[-_.]?key|certificate|kubeconfig|dockerconfig",
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
DROPPED = frozenset({"managedFields", "kubectl.kubernetes.io/last-applied-configuration"})
HELD = frozenset({"data", "stringData", "binaryData"})
"""Of a Secret or a ConfigMap: all that is in it."""

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
    r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user:password in a URL
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
    text = NAMED.sub(_named, text)
    return FORMS.sub(GONE, text)


def _named(match: re.Match[str]) -> str:
    blank = not match["sign"].strip()
    if match["value"].startswith(GONE[:-1]) or (blank and (match["value"].lower() in PLAIN_WORDS or not match["name"].startswith("-"))):
        return match[0]
    return f"{match['name']}{match['sign']}{GONE}"


def redact(value: Any, name: str = "") -> Any:
    """An object as the API server gives it, or any part of it; `name` is the key that it stands under."""
    if isinstance(value, Mapping):
        held = value.get("kind") in {"Secret", "ConfigMap"}
        return {
            redact_text(str(key)): _everything_of(item) if held and key in HELD else redact(item, str(key))
            for key, item in value.items()
            if key not in DROPPED
        }
    if name in {"env", "envFrom"} and isinstance(value, list):
        return [_variable(item) for item in value]
    if is_secret(name) and not isinstance(value, bool) and value is not None:
        return _everything_of(value)
    if isinstance(value, list):
        return [GONE if _asks_for_a_secret(before) else redact(item, name) for before, item in zip([None, *value], value, strict=False)]
    return redact_text(value) if isinstance(value, str) else value


def _asks_for_a_secret(word: Any) -> bool:
    """An argument of a command line whose value is the next word."""
    return isinstance(word, str) and word.startswith("-") and "=" not in word and SECRET_NAME.search(word) is not None


def is_secret(name: str) -> bool:
    """Whether what stands under that name is taken out, whatever it is."""
    return name not in KEPT and (SECRET_NAME.search(name) is not None or PROMPT_NAME.match(name) is not None)


def _everything_of(value: Any) -> Any:
    """The shape stays, where it has one: what is missing is seen."""
    if isinstance(value, Mapping):
        return {redact_text(str(key)): _everything_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_everything_of(item) for item in value]
    return GONE


def _variable(item: Any) -> Any:
    """An environment variable: its name, and its value where it is ours and no secret; a reference to a Secret is a name."""
    if not isinstance(item, Mapping):
        return GONE
    name = str(item.get("name", ""))
    safe = SAFE_VARIABLE.match(name) is not None and SECRET_NAME.search(name) is None
    return {
        str(key): (redact(part, str(key)) if safe or key != "value" else GONE) if key != "name" else redact_text(name)
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
            kept.append(json.dumps(redact(body), ensure_ascii=False))
    return kept, others


def _ours(line: str) -> dict[str, Any] | None:
    """A line of the agent's or the operator's logger; None for anything else."""
    if not line.startswith("{") or len(line) > LONGEST_LINE:
        return None
    try:
        body = json.loads(line)
    except ValueError:
        return None
    known = (
        isinstance(body, dict) and "level" in body and ("event" in body or "message" in body) and ("time" in body or "timestamp" in body)
    )
    return body if known else None
