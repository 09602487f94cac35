"""What a rule is: one check of a LlamaDeployment, held as Python and as CEL beside the words that both say.

The rules themselves stand in `llama_operator.api.rules` (fields that must fit each other), `scaling_rules` (the number of replicas),
`licence` (the Llama licences) and `not_served` (fields of the contract that nothing serves yet).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_operator.api.problems import Problem, Severity, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Look:
    """Reads values out of a raw LlamaDeployment, whatever is wrong with the rest of it."""

    def __init__(self, obj: Mapping[str, Any]) -> None:
        self._obj = obj

    def at(self, path: str) -> Any:
        """The value at a dotted path, or None."""
        value: Any = self._obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def text(self, path: str) -> str | None:
        """The text at a path, or None where there is none."""
        value = self.at(path)
        return value if isinstance(value, str) else None

    def number(self, path: str, default: int | None = None) -> int | None:
        """The whole number at a path, `default` where the field is absent, None where it holds something else."""
        value = self.at(path)
        if value is None:
            return default
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def mapping(self, path: str) -> dict[str, Any]:
        """The object at a path, else an empty one."""
        value = self.at(path)
        return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One check. `broken` gives what was given where the rule is broken, else None.

    `cel` is true where the rule holds; `self` is the object at `at`. The API server's message says `given`, or where that is a text of the
    object itself, the value of `given_cel`. Numbers are said in words there: CEL's cost estimate takes the text of a number to be endless.
    """

    field: str
    allowed: str
    remedy: str
    broken: Callable[[Look], str | None]
    at: str = ""
    cel: str | None = None
    given: str = "something else"
    given_cel: str | None = None
    severity: Severity = "error"

    def problem(self, look: Look) -> Problem | None:
        """The rule's problem with that object, or None."""
        given = self.broken(look)
        if given is None:
            return None
        return Problem(field=self.field, given=given, allowed=self.allowed, remedy=self.remedy, severity=self.severity)

    def schema(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`. Only for rules that have CEL."""
        static = Problem(field=self.field, given=self.given, allowed=self.allowed, remedy=self.remedy)
        entry = {"rule": self.cel or "", "message": static.message}
        if self.given_cel:
            tail = f'" is given; allowed is {self.allowed}. {self.remedy}'
            head = self.field + ': "'
            entry["messageExpression"] = f"{quote(head)} + {self.given_cel} + {quote(tail)}"
        if self.at:
            entry["fieldPath"] = self.field.removeprefix(self.at)
        return entry


def quote(text: str) -> str:
    """A CEL string literal: JSON's escapes are CEL's, and non-ASCII characters stand as they are."""
    return json.dumps(text, ensure_ascii=False)


def pattern_rule(field: str, pattern: str, allowed: str, remedy: str, *, no_dots: bool = False) -> Rule:
    """A rule that an optional text matches a pattern whole, and where asked holds no `..`."""
    at, _, name = field.rpartition(".")
    compiled = re.compile(pattern)  # only what RE2, which CEL uses, and Python read alike: no \s, no [:space:]

    def broken(look: Look) -> str | None:
        text = look.text(field)
        ok = text is None or (compiled.fullmatch(text) and not (no_dots and ".." in text))
        return None if ok else show(text)

    cel = f"!has(self.{name}) || (self.{name}.matches({quote(f'^{pattern}$')})"
    cel += f" && !self.{name}.contains({quote('..')}))" if no_dots else ")"
    return Rule(field=field, allowed=allowed, remedy=remedy, broken=broken, at=at, cel=cel, given_cel=f"self.{name}")
