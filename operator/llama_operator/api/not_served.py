"""Fields and values of the contract that no part of the operator serves yet: one table.

They are in the schema, so that their names and types are settled and editors know them, and they are refused, so that nobody believes in
something that is not there. A change that serves one deletes its row, and its invalid sample becomes a valid one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_operator.api.problems import show
from llama_operator.api.rule import Look, Rule

if TYPE_CHECKING:
    from collections.abc import Callable


def _given(field: str) -> Callable[[Look], str | None]:
    """Broken where the field is there at all."""

    def broken(look: Look) -> str | None:
        value = look.at(field)
        return None if value is None else show(value)

    return broken


def _is(field: str, refused: object) -> Callable[[Look], str | None]:
    """Broken where the field has that value; false is not 0."""

    def broken(look: Look) -> str | None:
        value = look.at(field)
        return show(value) if value == refused and type(value) is type(refused) else None

    return broken


def _s3(look: Look) -> str | None:
    source = look.text("spec.model.source")
    return show(source) if source is not None and source.startswith("s3://") else None


RULES: tuple[Rule, ...] = (
    Rule(
        field="spec.model.source",
        allowed="hf://ORGANISATION/NAME, pvc://CLAIM/PATH or file:///PATH: s3:// is not served yet",
        remedy="Copy the files to a volume and name it as pvc://CLAIM/PATH.",
        broken=_s3,
        at="spec.model",
        cel='!self.source.startsWith("s3://")',
        given_cel="self.source",
    ),
    Rule(
        field="spec.rollout.strategy",
        allowed="Auto or Replace: Surge is not served yet",
        remedy="Choose Auto.",
        broken=_is("spec.rollout.strategy", "Surge"),
        at="spec.rollout",
        cel='!has(self.strategy) || self.strategy != "Surge"',
        given='"Surge"',
    ),
    Rule(
        field="spec.access.apiKeysSecretRef",
        allowed="nothing: API keys are not served yet",
        remedy="Remove it, and let a gateway in front of the endpoint check keys.",
        broken=_given("spec.access.apiKeysSecretRef"),
        at="spec.access",
        cel="!has(self.apiKeysSecretRef)",
        given="a Secret",
    ),
)
"""What is refused as not served yet, in the order of the spec."""
