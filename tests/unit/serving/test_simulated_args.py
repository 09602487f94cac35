"""The simulated engine's arguments: what is taken, and in what words the rest is refused."""

from __future__ import annotations

import pytest

from llama_serving.config import ConfigError
from llama_serving.engines.simulated import FAULTS, SimulatedArgs


def test_no_argument_gives_the_contract_s_defaults() -> None:
    args = SimulatedArgs.parse({})
    assert (args.load_seconds, args.tokens_per_second, args.prefill_tokens_per_second) == (5, 70, 10000)
    assert (args.slots, args.fault, args.fault_after_seconds) == (64, "none", 0)


def test_every_argument_of_the_contract_is_taken() -> None:
    given = {"loadSeconds": 0, "tokensPerSecond": 5.5, "prefillTokensPerSecond": 100, "slots": 2, "fault": "hang", "faultAfterSeconds": 30}
    args = SimulatedArgs.parse(given)
    assert (args.load_seconds, args.tokens_per_second, args.prefill_tokens_per_second) == (0, 5.5, 100)
    assert (args.slots, args.fault, args.fault_after_seconds) == (2, "hang", 30)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokenPerSecond": 3}, "did you mean tokensPerSecond?"),
        ({"zzz": 3}, "engine.args.zzz: unknown argument"),
        ({"slots": 0}, "engine.args.slots: 0 is not a whole number of at least 1"),
        ({"slots": 1.5}, "engine.args.slots: 1.5"),
        ({"slots": True}, "engine.args.slots: True is not a number"),
        ({"tokensPerSecond": 0}, "engine.args.tokensPerSecond: 0 must be more than 0"),
        ({"loadSeconds": -1}, "engine.args.loadSeconds: -1 must be at least 0"),
        ({"loadSeconds": "5"}, "engine.args.loadSeconds: '5' is not a number"),
        ({"fault": "fire"}, "engine.args.fault: 'fire' is not one of none, load-hang"),
    ],
)
def test_a_bad_argument_is_refused_by_name_with_what_is_allowed(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SimulatedArgs.parse(given)
    assert message in str(caught.value)


def test_the_faults_are_those_of_the_contract() -> None:
    assert set(FAULTS) == {"none", "load-hang", "load-crash", "out-of-memory", "hang", "crash", "no-metrics"}
