"""The plan: every split of the model over the hardware, those that hold what is wished ranked, the others with their reasons.

invalid         the question makes no sense; nothing was computed
fits            `chosen`, then `alternatives` in the order of the ranking
does_not_fit    `nearest`: the least changes with which it would, each computed as a plan
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import KnownFrom, ModelFacts
from llama_operator.planning.fit.nearest import Change, nearest_changes
from llama_operator.planning.fit.option import Fit, Rejected
from llama_operator.planning.fit.search import Splits, all_options
from llama_operator.planning.fit.wishes import Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import Hardware

Verdict = Literal["fits", "does_not_fit", "invalid"]


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """The answer to a question of `plan_fit`."""

    model: str
    known_from: KnownFrom
    """Where the model's sizes are from."""
    accelerator: str
    verdict: Verdict
    chosen: Fit | None = None
    alternatives: tuple[Fit, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    nearest: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Of an invalid question; empty otherwise."""


def plan_fit(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> FitPlan:
    """Every split of that model over that hardware against those wishes."""
    problems = check_wishes(model, hardware, wishes)
    answer = partial(FitPlan, model=model.name, known_from=model.known_from, accelerator=hardware.accelerator.name)
    if problems:
        return answer(verdict="invalid", problems=tuple(problems))
    splits = Splits(model)
    fits, rejected = all_options(splits.ask(hardware, wishes))
    if not fits:
        nearest = tuple(nearest_changes(model, splits, hardware, wishes))
        return answer(verdict="does_not_fit", rejected=tuple(rejected), nearest=nearest)
    chosen, *others = fits
    return answer(verdict="fits", chosen=chosen, alternatives=tuple(others), rejected=tuple(rejected))
