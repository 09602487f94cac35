"""Every problem of a raw LlamaDeployment, in words: what the models refuse, what the rules refuse, what the engine would refuse.

The API server refuses most of it before (the CRD holds the same schema and rules); the operator repeats all, because objects written
under an older CRD, and free-form fields, pass by there.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from llama_operator.api.depth import CUT, DEEPEST, is_shallow
from llama_operator.api.engine_args import check_args
from llama_operator.api.problems import Problem, show
from llama_operator.api.rule import Look
from llama_operator.api.rules import RULES, WARNINGS
from llama_operator.api.schedules import check_schedules
from llama_operator.api.v1alpha1 import API_VERSION, KIND, LlamaDeployment

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "string_unicode": "a text",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
}
"""pydantic's error types for a wrong type, and what is allowed."""

_BOUNDS = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "at most {le}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "too_long": "at most {max_length} entries",
}
"""pydantic's error types for a broken bound, and what is allowed, by pydantic's context."""

_FOLLOWS = "default_factory_not_called"
"""pydantic's error for a default that could not be made because of another error: it says nothing new."""


def validate(obj: Any) -> list[Problem]:
    """Every problem of a LlamaDeployment as read from YAML or from the API server, in the order of the models and then of the rules.

    The status is not looked at. Never raises for anything that YAML or JSON can hold.
    """
    if not isinstance(obj, dict):
        return [_document(obj)]
    raw = _looked_at(obj)
    if too_deep := _depth(raw):
        return too_deep  # whatever else is wrong: to look for it one would have to go down there
    problems = [*_model_problems(raw)]
    refused = {problem.field for problem in problems}
    look = Look(raw)
    problems += [problem for rule in RULES if rule.field not in refused and (problem := rule.problem(look))]
    if not any(field.startswith("spec.autoscaling.") for field in refused):
        problems += check_schedules(look.mapping("spec.autoscaling"))
    args = {} if "spec.engine.args" in refused else look.mapping("spec.engine.args")  # not one by one where there are too many
    return problems + check_args(look.text("spec.engine.type") or "vllm", args)


def warnings(obj: Any) -> list[Problem]:
    """What is accepted in a LlamaDeployment and yet should be looked at: problems of severity `warning`.

    They say nothing of what `validate` refuses, and like it never raise.
    """
    if not isinstance(obj, dict) or _depth(raw := _looked_at(obj)):
        return []
    look = Look(raw)
    return [problem for rule in WARNINGS if (problem := rule.problem(look))]


def _looked_at(obj: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: obj.get(name) for name in ("apiVersion", "kind", "metadata", "spec")}


def _document(obj: Any) -> Problem:
    return Problem(field="document", given=show(obj), allowed=f"an object of kind {KIND}", remedy=f"Begin with apiVersion: {API_VERSION}.")


def _depth(raw: dict[str, Any]) -> list[Problem]:
    """What is nested too deeply: the fields whose content the schema leaves open, else the whole spec, else all that is looked at."""
    look = Look(raw)
    for fields in (("spec.podTemplate", "spec.engine.args"), ("spec",)):
        deep = [field for field in fields if not is_shallow(look.at(field))]
        if deep:
            return [_too_deep(field) for field in deep]
    # The API server's own metadata.managedFields are as deep as what somebody applied; nothing of them is rendered.
    return [] if is_shallow(raw, CUT) else [_too_deep("document")]


def _too_deep(field: str) -> Problem:
    given, allowed = "more levels of objects and lists within each other", f"at most {DEEPEST} levels"
    return Problem(field=field, given=given, allowed=allowed, remedy="Take out what is nested deeper: no pod and no engine needs it.")


def _model_problems(raw: Mapping[str, Any]) -> list[Problem]:
    try:
        # By alias alone: the API server knows no snake_case names either.
        LlamaDeployment.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        return [_in_words(detail) for detail in details if detail["type"] != _FOLLOWS]
    return []


def _in_words(error: Any) -> Problem:
    """One pydantic error, said as every other problem is."""
    path, context, kind = [str(part) for part in error["loc"] if part != "[key]"], error.get("ctx", {}), error["type"]
    field, given = ".".join(path), "nothing" if kind == "missing" else show(error["input"])
    if kind == "extra_forbidden":
        return _unknown_field(path, given)
    allowed, remedy = error["msg"][:1].lower() + error["msg"][1:], "Correct the value."
    if kind == "missing" or (error["input"] is None and kind in _TYPES):
        allowed, remedy = _TYPES.get(kind, "a value"), "Add the field."
    elif kind in _TYPES:
        allowed = _TYPES[kind]
    elif kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "")
        remedy = "Choose one of these." if " or " in allowed else "Correct the value."
    elif kind in _BOUNDS:
        allowed = _BOUNDS[kind].format(**{name: _plainly(bound) for name, bound in context.items()})
    return Problem(field=field, given=given, allowed=allowed, remedy=remedy)


def _plainly(bound: Any) -> Any:
    """A bound as a person writes it: 1, not 1.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _unknown_field(path: list[str], given: str) -> Problem:
    known = _fields_at(path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.6)
    remedy = f"Did you mean {near[0]}?" if near else f"Known fields are {', '.join(known)}."
    return Problem(field=".".join(path), given=given, allowed="a known field", remedy=remedy)


def _fields_at(path: list[str]) -> list[str]:
    """The names that the model at that path knows, as users write them."""
    model: type[BaseModel] | None = LlamaDeployment
    for part in path:
        if part.isdigit():
            continue  # of a list: its items' model is known by then
        fields = {info.alias or name: info.annotation for name, info in model.model_fields.items()} if model else {}
        annotation = fields.get(part)
        options = [annotation, *get_args(annotation)]
        model = next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)
    return [info.alias or name for name, info in model.model_fields.items()] if model else []
