"""Arguments of the engine are known by name and type, and those that the operator sets are refused with the field that sets them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api import engine_args_vllm as vllm
from llama_operator.api.engine_args import FAULTS, INTERNAL, OWNED, SIMULATED, check_args

HUGE = 10**5000

ACCEPTED = [
    ("a fraction", {"gpu_memory_utilization": 0.9}),
    ("a whole number where a fraction is wanted", {"gpu_memory_utilization": 1}),
    ("null where vLLM takes it", {"max_num_seqs": None}),
    ("one of several names", {"dtype": "bfloat16"}),
    ("an object", {"compilation_config": {"level": 3}, "speculative_config": {"method": "ngram"}}),
    (
        "the chat template and tools of the front end",
        {"chat_template": "{{x}}", "enable_auto_tool_choice": True, "tool_call_parser": "llama3_json"},
    ),
    ("a number among numbers", {"max_lora_rank": 64}),
    ("a number that no float holds", {"gpu_memory_utilization": 10**400}),
]

REFUSED = [
    ("a typing error, with the nearest name", {"max_num_seq": 1}, "Did you mean max_num_seqs?"),
    ("the command line's spelling", {"--max-num-seqs": 1}, "Did you mean max_num_seqs?"),
    ("a name like nothing", {"zzzz": 1}, "Remove it."),
    ("a text for a number", {"max_num_seqs": "many"}, "allowed is a whole number"),
    ("true for a number", {"seed": True}, "allowed is a whole number"),
    ("1 for true", {"enforce_eager": 1}, "allowed is true or false"),
    ("a name that is not one of several", {"dtype": "int8"}, "one of auto, half, float16"),
    ("not a number", {"gpu_memory_utilization": float("nan")}, "allowed is a number"),
    ("a number without end", {"gpu_memory_utilization": float("inf")}, "allowed is a number"),
    ("the context length", {"max_model_len": 4096}, "set spec.context.maxTokens"),
    ("data parallelism", {"data_parallel_size": 2}, "set spec.replicas"),
    ("a part of data parallelism", {"data_parallel_address": "x"}, "Remove it."),
    ("the executor", {"distributed_executor_backend": "mp"}, "the operator sets it"),
    ("no metrics, which would blind the autoscaler", {"disable_log_stats": True}, "the operator sets it"),
    ("vLLM's own server", {"host": "0.0.0.0"}, "requests enter through Ray Serve"),
    ("the command line's spelling of an owned one", {"tensor-parallel-size": 2}, "set spec.parallelism.tensor"),
]


@pytest.mark.parametrize(("what", "args"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_vllm_takes(what: str, args: dict[str, Any]) -> None:
    assert check_args("vllm", args) == []


@pytest.mark.parametrize(("what", "args", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_vllm_is_refused(what: str, args: dict[str, Any], words: str) -> None:
    (problem,) = check_args("vllm", args)
    assert problem.field == f"spec.engine.args.{next(iter(args))}"
    assert words in problem.message


@pytest.mark.parametrize("name", ["hf_token", "hf-token", "api_key", "hf_tokn"])
def test_a_misplaced_secret_is_never_repeated(name: str) -> None:
    problems = check_args("vllm", {name: "hf_secret-value"})
    assert problems
    assert name != "hf_token" or "spec.model.tokenSecretRef" in problems[0].message
    if name != "hf_tokn":
        assert all("hf_secret-value" not in problem.message for problem in problems)


@given(
    st.sampled_from(sorted(vllm.ENGINE | vllm.FRONTEND | vllm.SERVER)),
    st.none() | st.booleans() | st.integers() | st.text() | st.just(HUGE),
)
def test_every_argument_with_any_value_is_accepted_or_refused_once(name: str, value: Any) -> None:
    assert len(check_args("vllm", {name: value})) <= 1


def test_a_number_of_thousands_of_digits_is_refused_without_repeating_it() -> None:
    (problem,) = check_args("vllm", {"dtype": HUGE})
    assert "a number of thousands of digits is given" in problem.message


def test_what_the_operator_owns_exists_in_vllm() -> None:
    known = vllm.ENGINE.keys() | vllm.FRONTEND.keys()
    assert OWNED.keys() <= known
    assert set(INTERNAL) <= known


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"slots": 0}, "1 or more"),
        ({"slots": 1.5}, "a whole number"),
        ({"tokensPerSecond": 0}, "a number above 0"),
        ({"loadSeconds": -1}, "0 or more"),
        ({"fault": "explode"}, "one of none, load-hang"),
        ({"fault": ["hang"]}, "one of none, load-hang"),
        ({"tokens_per_second": 1}, "Did you mean tokensPerSecond?"),
    ],
)
def test_the_simulated_engine_is_refused(args: dict[str, Any], words: str) -> None:
    (problem,) = check_args("simulated", args)
    assert words in problem.message


def test_an_engine_that_does_not_exist_has_no_arguments_of_its_own() -> None:
    assert check_args("tgi", {"anything": 1}) == []


def test_the_simulated_engines_arguments_are_those_that_it_reads() -> None:
    from llama_serving.engines.simulated import Fault, SimulatedArgs

    assert get_args(Fault) == FAULTS
    sound: dict[str, Any] = {
        "loadSeconds": 1,
        "tokensPerSecond": 2,
        "prefillTokensPerSecond": 3,
        "slots": 4,
        "fault": "hang",
        "faultAfterSeconds": 5,
    }
    assert sound.keys() == SIMULATED.keys()
    assert check_args("simulated", sound) == []
    assert SimulatedArgs.parse(sound).slots == 4
