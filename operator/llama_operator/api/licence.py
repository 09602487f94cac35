"""The Llama Community License, as far as a resource can show that it is kept.

Meta's models are gated on the hub: downloading one means that the licence was accepted there, and `licenseAccepted` says that whoever
writes the resource knows it. A model that was made from a Llama and is made available must begin with "Llama" by name. Which model was,
the operator cannot know, so that is a warning, and `licenseNotes` answers it.

Source: Llama 3.1 Community License Agreement, section 1.b.i,
https://github.com/meta-llama/llama-models/blob/main/models/llama3_1/LICENSE
"""

from __future__ import annotations

from llama_operator.api.problems import show
from llama_operator.api.rule import Look, Rule, quote

GATED = "hf://meta-llama/"
"""Sources whose models Meta gives out against its licence alone."""

NAME_BEGINS = "llama"
"""In either case: the name of a LlamaDeployment, which is the served name where none is given, is in lower case always."""


def _not_accepted(look: Look) -> str | None:
    source, accepted = look.text("spec.model.source"), look.at("spec.model.licenseAccepted")
    return show(accepted) if source is not None and source.startswith(GATED) and accepted is not True else None


def _unnamed_derivative(look: Look) -> str | None:
    source, name = look.text("spec.model.source"), look.text("spec.model.servedName") or look.text("metadata.name")
    if source is None or name is None or source.startswith(GATED) or look.text("spec.engine.type") == "simulated":
        return None
    if look.text("spec.model.licenseNotes") or name.rpartition("/")[2].lower().startswith(NAME_BEGINS):
        return None
    return show(name)


GATE = Rule(
    field="spec.model.licenseAccepted",
    allowed=f"true for {GATED}..., whose models are gated",
    remedy="Accept the Llama Community License on the model's page at the hub (https://huggingface.co/meta-llama), then set it to true.",
    broken=_not_accepted,
    at="spec.model",
    cel=f"!self.source.startsWith({quote(GATED)}) || (has(self.licenseAccepted) && self.licenseAccepted)",
    given="nothing or false",
)
"""Gated models need a word of the user. It hangs on spec.model alone, so that an object of before may still change elsewhere."""

NAMING = Rule(
    field="spec.model.servedName",
    allowed='a name that begins with "Llama", where the model was made from a Llama (Llama Community License, 1.b.i)',
    remedy="Choose such a name, or say in spec.model.licenseNotes why none is needed.",
    broken=_unnamed_derivative,
    severity="warning",
)
