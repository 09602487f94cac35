"""What a replica can do by its plan, and which objectives it cannot keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import spec
from tests.harness.models import bf16

from llama_operator.api.duration import seconds_of, words
from llama_operator.planning.admission import Unread, admit, known_model
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
from llama_operator.planning.models.catalogue import LLAMA_8B
from llama_operator.planning.objective import check_objective
from llama_operator.planning.replica import SHARE, NoRates, Rates, rates_of_fit, rates_of_spec, slots_of

PLAN = {"prefillTokensPerSecond": 10_000.0, "decodeFloorSeconds": 0.02, "kvCacheTokens": 500_000}
VLLM = {"engine": {"type": "vllm"}, "hardware": {"accelerator": "nvidia-h100-80gb"}}
RATES = Rates(prefill=4000, itl=0.05, slots=64, kv=1e5, least_first_token=0.02, load_seconds=240)


def scaled(ttft: float | None = None, **fields: Any) -> Any:
    objective = {"inFlightPerReplica": 8} if ttft is None else {"timeToFirstTokenSeconds": ttft}
    return spec(autoscaling={"maxReplicas": 4, "objective": objective, **fields})


@pytest.mark.parametrize(
    ("given", "rates", "says"),
    [
        (scaled(6.0), RATES, []),
        (scaled(), NoRates(why="x"), []),
        (scaled(6.0), NoRates(why="nobody knows"), ["6 is given; allowed is nothing here: nobody knows"]),
        (scaled(0.01), RATES, ["0.01 is given; allowed is at least 0.02"]),
        (scaled(minReplicas=0), RATES, []),
        (scaled(minReplicas=0, scaleToZeroAfter="2m"), RATES, ['"2m" is given; allowed is at least 240s']),
        (scaled(minReplicas=0), Rates(prefill=1, itl=1, slots=1, kv=1, load_seconds=1801), ["the default, 30m is given"]),
        (spec(), NoRates(why="x"), []),
    ],
)
def test_an_objective_that_cannot_be_kept_is_refused_with_what_can(given: Any, rates: Any, says: list[str]) -> None:
    found = [problem.message for problem in check_objective(given, rates)]
    assert len(found) == len(says)
    assert all(part in message for part, message in zip(says, found, strict=True))


def test_without_a_plan_it_is_said_why_nothing_is_known() -> None:
    unread, unknown = rates_of_spec(spec(**VLLM), None), rates_of_spec(spec(**VLLM), {"kvCacheTokens": 5})
    assert isinstance(unread, NoRates)
    assert isinstance(unknown, NoRates)
    assert "cannot read the files" in unread.why
    assert "of nvidia-h100-80gb is not known" in unknown.why


@pytest.mark.parametrize(
    "args", [{"slots": "x"}, {"slots": 0}, {"tokensPerSecond": -1}, {"loadSeconds": True}, {"prefillTokensPerSecond": None}]
)
def test_arguments_of_the_simulated_engine_that_are_no_numbers_are_the_engine_s_to_refuse(args: dict[str, Any]) -> None:
    assert isinstance(rates_of_spec(spec(engine={"type": "simulated", "args": args}), None), Rates)


def test_a_hub_model_that_nobody_read_may_be_planned_yet_and_files_on_a_volume_never() -> None:
    for source, accepted in (("hf://some/model", True), ("pvc://claim/model", False), ("file:///m", False)):
        given = spec(**VLLM, model={"source": source}, autoscaling={"maxReplicas": 2, "objective": {"timeToFirstTokenSeconds": 6}})
        model = known_model(source)
        assert isinstance(model, Unread)
        verdict = admit(given, model)
        assert verdict.accepted is accepted, source
        assert [problem.field for problem in verdict.problems] == (
            [] if accepted else ["spec.autoscaling.objective.timeToFirstTokenSeconds"]
        )


def test_a_model_of_the_catalogue_is_planned_and_its_floor_is_known() -> None:
    source = "hf://meta-llama/Llama-3.1-405B-Instruct-FP8"  # 18 ms to read its weights once
    for seconds, accepted in ((6.0, True), (0.01, False)):
        given = spec(
            **VLLM,
            model={"source": source, "licenseAccepted": True},
            autoscaling={"maxReplicas": 2, "objective": {"timeToFirstTokenSeconds": seconds}},
        )
        verdict = admit(given, known_model(source))
        assert verdict.accepted is accepted, verdict.message
        assert accepted or "0.01 is given; allowed is at least 0.018" in verdict.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1h1m1s", 3661),
        ("", None),
        ("30", None),
        ("m", None),
        ("1m1h", None),
        ("-1s", None),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (1800, "30m"), (5400, "1h30m"), (7200, "2h")])
def test_and_written_so(seconds: float, text: str) -> None:
    assert words(seconds) == text


def test_the_slots_are_those_of_the_engines_arguments() -> None:
    assert slots_of(spec(engine={"type": "vllm", "args": {"max_num_seqs": 5}}, hardware={"accelerator": "nvidia-h100-80gb"})) == 5


def test_a_split_does_a_share_of_what_its_bounds_allow_and_nothing_is_known_without_them() -> None:
    fit = plan_fit(bf16(LLAMA_8B), Hardware(accelerator=CATALOGUE["nvidia-h100-80gb"], gpus_per_node=8), Wishes(context_tokens=1000)).chosen
    assert fit is not None
    assert fit.prefill_tokens_per_second is not None
    assert fit.decode_floor_seconds is not None
    rates = rates_of_fit(fit, 1000, 500.0, 64)
    assert rates is not None
    assert (rates.prefill, rates.itl) == (fit.prefill_tokens_per_second * SHARE, fit.decode_floor_seconds / SHARE)
    assert 0 < rates.itl_per_sequence < rates.itl
    assert rates_of_fit(replace(fit, prefill_tokens_per_second=None), 1000, 500.0, 64) is None
