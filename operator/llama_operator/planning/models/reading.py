"""Small checks of a parsed JSON file. A bad value raises Refused, which the room's doors turn into its Problem: nobody outside sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from llama_operator.api.depth import is_shallow
from llama_operator.api.problems import Problem, show

FIELD = "spec.model.source"

DEFAULT_REMEDY = "Correct the model's files, or name another model."

P = ParamSpec("P")
T = TypeVar("T")


class Refused(Exception):
    """A model that cannot be planned for; `problem` says why."""

    def __init__(self, given: str, allowed: str, remedy: str = DEFAULT_REMEDY) -> None:
        # Names come from strangers' files: half a surrogate pair in one of them could not be printed.
        given = given.encode("utf-8", "backslashreplace").decode()
        self.problem = Problem(field=FIELD, given=given, allowed=allowed, remedy=remedy)
        super().__init__(self.problem.message)


def answering(read: Callable[P, T]) -> Callable[P, T | Problem]:
    """The same reader, whose refusal is its answer."""

    def door(*args: P.args, **kwargs: P.kwargs) -> T | Problem:
        try:
            return read(*args, **kwargs)
        except Refused as refused:
            return refused.problem

    door.__name__, door.__doc__ = read.__name__, read.__doc__
    return door


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8 (STYLE's "missing is not zero" holds for keys too: a repeated key would hide a value).

    Raises ValueError for anything else: too deep a nesting, whole numbers of more digits than Python reads, NaN and Infinity.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not is_shallow(value):
        raise ValueError("nested too deeply")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def mapping(raw: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """An object that must be there. Raises Refused."""
    value = raw.get(name)
    if not isinstance(value, Mapping):
        raise Refused(f"{where}.{name} of {show(value)}", "an object")
    return value


def optional_mapping(raw: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any] | None:
    """An object, or None where it is absent or null. Raises Refused."""
    return None if raw.get(name) is None else mapping(raw, name, where)


def flag(raw: Mapping[str, Any], name: str, where: str, *, default: bool) -> bool:
    """True or false. Raises Refused."""
    value = raw.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Refused(f"{where}.{name} of {show(value)}", "true or false")
    return value


def one_of(raw: Mapping[str, Any], name: str, where: str, allowed: tuple[T, ...], default: T | None = None) -> T:
    """One of a few values, a default where it is absent. Raises Refused."""
    value = raw.get(name, default) if raw.get(name) is not None else default
    for candidate in allowed:
        if value == candidate and isinstance(value, bool) == isinstance(candidate, bool):
            return candidate
    raise Refused(f"{where}.{name} of {show(value)}", ", ".join(map(str, allowed)))


def whole(raw: Mapping[str, Any], name: str, where: str, *, low: int, high: int, default: int | None = None) -> int:
    """A whole number within bounds. Raises Refused."""
    value = raw.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"{where}.{name} of {show(value)}", f"a whole number from {low} to {high}")
    return value


def texts(raw: Mapping[str, Any], name: str, where: str, *, most: int) -> tuple[str, ...]:
    """A list of texts; an absent one is empty. Raises Refused."""
    value = raw.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > most or not all(isinstance(item, str) for item in value):
        raise Refused(f"{where}.{name} of {show(value)}", f"a list of at most {most} names")
    return tuple(value)
