"""The planner in the operator: it chooses once, what runs keeps its split, and nothing begins on a guess that may soon be known better."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from tests.harness.builders import KEY
from tests.harness.models import bf16
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.planning.admission import Unread
from llama_operator.planning.models.catalogue import LLAMA_8B, LLAMA_70B
from llama_operator.rendering import names

SOURCE = "hf://someone/llama-70b-of-ours"
VLLM: dict[str, Any] = {"engine": {"type": "vllm"}, "hardware": {"accelerator": "nvidia-h100-80gb"}}
OURS = {"model": {"source": SOURCE}, **VLLM}
FP8_405B = {"model": {"source": "hf://meta-llama/Llama-3.1-405B-Instruct-FP8", "licenseAccepted": True}, **VLLM}


def live(seed: int, story: Callable[[Sim], Awaitable[None]], **sim: Any) -> None:
    async def run() -> None:
        async with Sim(seed, **sim) as world:
            await story(world)

    run_virtually(run())


def uids(sim: Sim) -> set[str]:
    return {pod["metadata"]["uid"] for pod in sim.pods()}


def gpus(sim: Sim) -> list[str]:
    return [pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for pod in sim.pods()]


def test_the_planner_chooses_eight_gpus_for_405b_and_says_so() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        assert gpus(sim) == ["8"]
        assert (sim.condition("Accepted")["status"], sim.condition("Accepted")["reason"]) == ("True", "Fits")
        assert "tensor 8 x pipeline 1, 8 GPUs: 56.73 GiB of weights on the fullest" in sim.condition("Accepted")["message"]
        plan = sim.status()["plan"]
        assert (plan["tensorParallel"], plan["pipelineParallel"], plan["kvCacheTokens"]) == (8, 1, 190_768)

    live(0, story)


def test_a_model_that_cannot_fit_makes_no_pod_and_what_ran_goes_on() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        before = uids(sim)
        sim.apply(**{**FP8_405B, "parallelism": {"tensor": 4, "pipeline": 1}})
        await sim.until(lambda: sim.condition("Accepted")["status"] == "False", 30)
        assert "Nearest: " in sim.condition("Accepted")["message"]
        assert sim.status()["phase"] == "Invalid"
        await asyncio.sleep(60)
        assert uids(sim) == before
        assert sim.status()["plan"]["tensorParallel"] == 8, "the plan of what runs"
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        assert uids(sim) == before
        assert sim.condition("Accepted")["reason"] == "Fits"

    live(0, story)


def test_the_choice_written_out_restarts_nothing() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        before = uids(sim)
        sim.apply(**{**FP8_405B, "parallelism": {"tensor": 8, "pipeline": 1}})
        await asyncio.sleep(60)
        assert sim.settled()
        assert uids(sim) == before

    live(0, story)


LATER = {"a hub that is gone": Unread(why="-", soon=True), "a gate": Unread(why="-"), "another model": bf16(LLAMA_8B)}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_what_the_planner_would_say_later_changes_nothing_that_runs(later: Any) -> None:
    async def story(sim: Sim) -> None:
        sim.models.answers[SOURCE] = bf16(LLAMA_70B)
        sim.apply(**OURS)
        await sim.until(sim.settled, 60)
        assert gpus(sim) == ["4"]
        before, accepted = uids(sim), sim.condition("Accepted")
        sim.models.answers[SOURCE] = later
        asked = len(sim.models.asked)
        await sim.restart()
        sim.apply(**OURS, replicas=2)
        await sim.until(sim.settled, 60)
        assert before < uids(sim)
        assert gpus(sim) == ["4", "4"]
        assert sim.condition("Accepted")["message"] == accepted["message"]
        assert len(sim.models.asked) == asked, "a revision that runs is not looked up again"

    live(0, story)


def test_a_silent_hub_holds_the_first_load_up_until_it_answers() -> None:
    async def story(sim: Sim) -> None:
        sim.models.answers[SOURCE] = Unread(why="the hub gives no answer", soon=True)
        sim.apply(**OURS)
        await sim.until(lambda: sim.condition("Accepted").get("status") == "Unknown", 30)
        assert sim.condition("Accepted")["reason"] == "ReadingModel"
        assert (sim.status()["phase"], sim.status()["reason"]) == ("Pending", "ReadingModel")
        await asyncio.sleep(120)
        assert sim.pods() == sim.pods(names.HEAD) == []
        sim.models.answers[SOURCE] = bf16(LLAMA_70B)
        await sim.until(sim.settled, 90)
        assert gpus(sim) == ["4"]

    live(0, story)


def test_the_operator_of_before_planned_nothing_and_its_models_go_on() -> None:
    """A spec without parallelism ran on one GPU, whatever a planner would say of it today."""

    async def story(sim: Sim) -> None:
        sim.models.answers[SOURCE] = Unread(why="nobody looked")
        sim.apply(**OURS)
        await sim.until(sim.settled, 60)
        before = uids(sim)
        sim.models.answers[SOURCE] = bf16(LLAMA_70B)
        status = sim.api.objects[names.KIND, KEY.namespace, KEY.name]["status"]
        status["conditions"][0].update(reason="Valid", message="every field is allowed")
        await sim.restart()
        await asyncio.sleep(120)
        assert uids(sim) == before
        assert sim.settled()

    live(0, story)


@pytest.mark.parametrize(
    ("tokens", "told"), [(190_000, False), (170_000, True), (10**16, False)], ids=["as planned", "11 % less", "absurd"]
)
def test_what_the_engine_holds_stands_beside_the_plan_and_a_deviation_is_told_once(tokens: int, told: bool) -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.kv_cache_tokens = tokens
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        await asyncio.sleep(90)
        observed = sim.status()["plan"].get("observed")
        if tokens == 10**16:
            assert observed is None
        else:
            assert observed == {"kvCacheTokens": tokens, "ratio": round(tokens / 190_768, 3)}
        events = [event for event in sim.api.all("Event") if event["reason"] == "PlanDeviation"]
        assert [event["count"] for event in events] == ([1] if told else [])
        if told:
            assert events[0]["type"] == "Warning"
            assert "the engine's KV cache holds 170,000 tokens, 0.891 of the 190,768 that were planned" in events[0]["message"]
        # The engine's word outlives the moments in which nobody can be asked.
        await sim.restart()
        await asyncio.sleep(60)
        assert sim.status()["plan"].get("observed") == observed

    live(0, story)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ({"weight_bytes": 1.0, "memory_bytes": 0.98}, ()),
        ({"weight_bytes": 1.2, "memory_bytes": 1.0}, ("the weights take", "1.200 of the")),
        ({"weight_bytes": 1.0, "memory_bytes": 1.08}, ("are in use on the fullest GPU", "1.080 of the")),
        ({"weight_bytes": 1.2, "memory_bytes": 0.5}, ("the weights take", "1.200 of the", "are in use on the fullest GPU", "0.500 of the")),
    ],
    ids=["as planned", "weights", "memory", "both"],
)
def test_the_weights_and_the_memory_of_the_engine_stand_beside_the_plan_too(share: Mapping[str, float], words: Sequence[str]) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**FP8_405B)
        await sim.until(sim.settled, 60)
        planned = sim.status()["plan"]
        sim.cluster.weight_bytes = int(planned["weightBytesPerGpu"] * share["weight_bytes"])
        sim.cluster.memory_bytes = int(planned["memoryBytesPerGpu"] * share["memory_bytes"])
        await asyncio.sleep(90)
        assert sim.status()["plan"]["observed"] == {
            "weightBytesPerGpu": sim.cluster.weight_bytes,
            "weightRatio": share["weight_bytes"],
            "memoryBytesPerGpu": sim.cluster.memory_bytes,
            "memoryRatio": share["memory_bytes"],
        }
        told = [event["message"] for event in sim.api.all("Event") if event["reason"] == "PlanDeviation"]
        assert len(told) == bool(words)
        assert all(word in told[0] for word in words)

    live(0, story)


def test_what_is_accepted_and_should_be_looked_at_is_told_in_an_event() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(model={"source": "pvc://models/fine-tune"}, **VLLM)
        await sim.until(sim.settled, 60)
        (event,) = [event for event in sim.api.all("Event") if event["reason"] == "SpecWarning"]
        assert event["message"].startswith("spec.model.servedName: ")
        assert event["count"] == 1

    live(0, story)


TTFT = {"maxReplicas": 2, "objective": {"timeToFirstTokenSeconds": 6}}


def test_a_time_to_first_token_is_kept_by_the_plan_and_refused_where_there_is_none_and_what_ran_goes_on() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**FP8_405B, autoscaling=TTFT)
        await sim.until(sim.settled, 60)
        assert sim.status()["plan"]["prefillTokensPerSecond"] > 0
        assert sim.status()["autoscaling"]["desiredReplicas"] == 1
        before = uids(sim)
        sim.apply(**FP8_405B, autoscaling={**TTFT, "objective": {"timeToFirstTokenSeconds": 0.01}})
        await sim.until(lambda: sim.condition("Accepted")["status"] == "False", 30)
        assert "0.01 is given; allowed is at least 0.018" in sim.condition("Accepted")["message"]
        await asyncio.sleep(30)
        assert uids(sim) == before

    live(0, story)


def test_where_nobody_can_plan_a_time_to_first_token_is_refused_with_the_way_out() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(model={"source": "pvc://weights/llama"}, **VLLM, autoscaling=TTFT)
        await sim.until(lambda: sim.condition("Accepted").get("status") == "False", 30)
        assert "the operator cannot read the files" in sim.condition("Accepted")["message"]
        assert "Set spec.autoscaling.objective.inFlightPerReplica instead" in sim.condition("Accepted")["message"]
        assert not sim.pods()

    live(0, story)


def test_a_time_to_first_token_waits_for_a_hub_that_may_answer_soon() -> None:
    async def story(sim: Sim) -> None:
        sim.models.answers[SOURCE] = Unread(why="the hub does not answer", soon=True)
        sim.apply(**OURS, parallelism={"tensor": 8, "pipeline": 1}, autoscaling=TTFT)
        await sim.until(lambda: sim.condition("Accepted").get("reason") == "ReadingModel", 30)
        assert "the objective needs the plan of a replica" in sim.condition("Accepted")["message"]
        sim.models.answers[SOURCE] = bf16(LLAMA_70B)
        await sim.until(sim.settled, 120)
        assert sim.condition("Accepted")["status"] == "True"

    live(0, story)
