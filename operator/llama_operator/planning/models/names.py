"""Which modules a quantization_config means by its lists of names.

The lists come from strangers and may hold patterns. A pattern that could take long is refused: the operator matches hundreds of names, in
its event loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Literal

from llama_operator.api.problems import show
from llama_operator.planning.models.reading import Refused

PATTERNS_MAX = 64
"""Patterns in one list; the longest lists, as Meta's 511 names, are names alone."""

NAME_LENGTH = 45
"""Letters of the longest module name, about: model.layers.1023.self_attn.q_proj has 34."""

WORK_MAX = 20_000
"""Steps that matching one name with all patterns of a list may take: each unbounded repeat is tried at each letter, each choice both ways.
405B's 883 modules then take some 17 million steps at worst, a second; the usual pattern takes 45.
"""

PATTERN_LENGTH = 200

NAMES_MAX = 100_000

_SAFE = re.compile(r"(?:\\[.dw]|\.|\[[A-Za-z0-9_-]+\]|[A-Za-z0-9_^$]|\((?:\?:)?|\)(?![*+?{])|\||(?<![*+?])[*+?]|\{\d{1,2}\})*")
"""Letters, escapes, sets, groups that are not repeated, and repeats of what stands before them."""

Style = Literal["inside", "anywhere", "pattern"]
"""inside: the module or one that holds it; anywhere: any part of the name; pattern: `re:` ones as regular expressions, others `inside`."""


@dataclass(frozen=True)
class Names:
    """A list of names, ready to be asked."""

    exact: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()

    def __contains__(self, module: str) -> bool:
        """Whether the list means that module, as `model.layers.3.mlp.up_proj`."""
        ends = [end for end, letter in enumerate(module) if letter == "."]
        if module in self.exact or any(module[:end] in self.exact for end in ends):
            return True
        return any(part in module for part in self.parts) or any(pattern.match(module) for pattern in self.patterns)


def read_names(entries: tuple[str, ...], style: Style, where: str) -> Names:
    """The list. Raises Refused for a pattern that is none or could take long."""
    if len(entries) > NAMES_MAX:
        raise Refused(f"{where} of {len(entries)} names", f"at most {NAMES_MAX}")
    if style == "inside":
        return Names(exact=frozenset(entries))
    odd = [entry for entry in entries if style == "anywhere" or _is_pattern(entry)]
    if len(odd) > PATTERNS_MAX:
        if style == "pattern":
            raise Refused(f"{where} of {len(odd)} patterns", f"at most {PATTERNS_MAX}")
        # Long lists name whole modules: each is looked up, not searched for.
        return Names(exact=frozenset(entries))
    if style == "anywhere":
        return Names(parts=entries)
    patterns = tuple(_compile(entry, where) for entry in odd)
    if sum(map(_work, odd)) > WORK_MAX:
        raise Refused(
            f"{where} with patterns as {show(max(odd, key=_work))}", "patterns of at most two repeats", "List the modules instead."
        )
    return Names(exact=frozenset(entries) - frozenset(odd), patterns=patterns)


def _is_pattern(entry: str) -> bool:
    return entry.startswith("re:") or "*" in entry


def _compile(entry: str, where: str) -> re.Pattern[str]:
    """`re:` is a regular expression from the name's beginning (compressed-tensors); else `*` stands for anything (modelopt)."""
    regex = entry.removeprefix("re:")
    try:
        if len(entry) <= PATTERN_LENGTH and not entry.startswith("re:"):
            return re.compile(translate(re.sub(r"\*+", "*", entry)))
        if len(entry) <= PATTERN_LENGTH and _SAFE.fullmatch(regex):
            return re.compile(regex)
    except (re.error, OverflowError):
        pass
    raise Refused(f"{where} with {show(entry)}", "names, and patterns of letters, sets and repeats of single letters or sets")


def _work(pattern: str) -> int:
    """Steps of matching a name with it, at worst. `*` of a plain pattern never goes back (fnmatch translates it so)."""
    if not pattern.startswith("re:"):
        return NAME_LENGTH * (1 + pattern.count("*"))
    return int(NAME_LENGTH ** min(8, len(re.findall(r"[*+]", pattern))) * 2 ** min(40, len(re.findall(r"[?|]", pattern))))
