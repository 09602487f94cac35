"""The catalogue says what the published models are, and the bytes that are computed are those that are published."""

from __future__ import annotations

import pytest

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.models import catalogue
from llama_operator.planning.models.catalogue import CATALOGUE, Known, find, known_facts

PUBLISHED_BYTES = {
    # metadata.total_size of model.safetensors.index.json on the hub
    "hf://meta-llama/Llama-3.1-8B-Instruct": 16_060_522_496,
    "hf://meta-llama/Llama-3.1-70B": 141_107_412_992,
    "hf://meta-llama/Llama-3.3-70B-Instruct": 141_107_412_992,
    "hf://hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4": 39_767_785_472,
    # two bytes for each parameter that the hub counts: all of these are BF16
    "hf://meta-llama/Llama-3.1-405B": 2 * 405_853_388_800,
    "hf://meta-llama/Llama-3.2-1B": 2 * 1_235_814_400,
    "hf://meta-llama/Llama-3.2-3B": 2 * 3_212_749_824,
    "hf://meta-llama/Llama-Guard-3-1B": 2 * 1_498_482_688,
    "hf://meta-llama/Llama-Guard-3-8B": 2 * 8_030_261_248,
}


@pytest.mark.parametrize("source", PUBLISHED_BYTES)
def test_computed_bytes_are_the_published_ones(source: str) -> None:
    facts = known_facts(source)
    assert facts is not None
    assert facts.checkpoint_bytes == PUBLISHED_BYTES[source]


@pytest.mark.parametrize(
    ("source", "gigabytes"),
    [
        ("hf://meta-llama/Llama-3.1-405B-Instruct", 811.7),
        ("hf://RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8", 410.1),
        ("hf://RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8-dynamic", 410.1),
        ("hf://meta-llama/Llama-3.1-405B-Instruct-FP8", 487.2),
    ],
)
def test_the_three_405bs_have_three_sizes(source: str, gigabytes: float) -> None:
    """All-linear FP8 halves the checkpoint; Meta's keeps attention and two layers in BF16 and is 77 GB larger."""
    facts = known_facts(source)
    assert facts is not None
    assert round(facts.checkpoint_bytes / 1e9, 1) == gigabytes


def test_metas_fp8_leaves_attention_and_the_outer_layers_alone() -> None:
    meta, plain = known_facts("hf://meta-llama/Llama-3.1-405B-FP8"), known_facts("hf://meta-llama/Llama-3.1-405B")
    assert meta is not None
    assert plain is not None
    assert meta.quantization is not None
    assert (meta.quantization.skipped_layers, meta.quantization.activations) == ((0, 125), Precision.FP8)
    assert meta.layers[0] == meta.layers[125] == plain.layers[0]
    assert (meta.layers[1].query_output, meta.layers[1].key_value) == (plain.layers[1].query_output, plain.layers[1].key_value)
    mlp = 3 * 16_384 * 53_248
    scales = 4 * (2 * 53_248 + 16_384)  # a float32 for each output
    assert meta.layers[1].mlp == mlp + scales


def test_four_bits_take_a_little_more_than_a_quarter() -> None:
    sizes = {
        method: known_facts(f"hf://hugging-quants/Meta-Llama-3.1-405B-Instruct-{method}-INT4").checkpoint_bytes / 1e9  # type: ignore[union-attr]
        for method in ("AWQ", "GPTQ")
    }
    assert {method: round(size, 1) for method, size in sizes.items()} == {"AWQ": 217.1, "GPTQ": 217.2}


@pytest.mark.parametrize(
    ("recipe", "gigabytes"), [("fp8", 410.1), ("fp8-dynamic", 410.1), ("w4a16", 215.5), ("awq", 217.1), ("gptq", 217.2)]
)
def test_any_model_can_be_asked_what_it_would_take(recipe: str, gigabytes: float) -> None:
    facts = catalogue.quantised("405B", catalogue.LLAMA_405B, recipe)
    assert round(facts.checkpoint_bytes / 1e9, 1) == gigabytes


def test_a_small_model_has_no_head_of_its_own() -> None:
    facts = known_facts("hf://meta-llama/Llama-3.2-1B")
    assert facts is not None
    assert facts.lm_head == 0
    assert facts.embedding == 2 * 128_256 * 2048


@pytest.mark.parametrize("known", CATALOGUE, ids=lambda known: known.repo)
def test_every_entry_is_whole(known: Known) -> None:
    facts = known.facts()
    assert isinstance(facts, ModelFacts)
    assert (facts.known_from, facts.name, len(facts.layers)) == ("catalogue", known.repo, known.shape.layers)
    assert known.licence_name.startswith("Llama 3.")
    assert known.gated is (True if known.repo.startswith("meta-llama/") else None)
    assert (known.tool_parser == "llama3_json") == ("Instruct" in known.repo)
    assert facts.shape.max_positions == 131_072
    assert find(f"hf://{known.repo}/") is known


def test_no_repository_stands_there_twice() -> None:
    assert len(catalogue.BY_REPO) == len(CATALOGUE)


def test_renamed_repositories_are_found_by_their_older_names() -> None:
    known = find("hf://meta-llama/Meta-Llama-3.1-405B-Instruct-FP8")
    assert known is not None
    assert known.shape is catalogue.LLAMA_405B
    assert find("hf://neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8") is find("hf://RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8") is not None


@pytest.mark.parametrize("source", ["hf://meta-llama/Llama-9", "hf://someone/Llama-3.1-8B", "file:///Llama-3.1-8B", "hf://", "", "hf://x"])
def test_what_is_not_in_it_is_not_guessed(source: str) -> None:
    assert find(source) is known_facts(source) is None
