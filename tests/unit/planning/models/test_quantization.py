"""Every quantization_config is understood as its own tools write it, or refused in words that name the known ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, QUANTISED, compressed

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import Precision
from llama_operator.planning.models.layouts import Stored
from llama_operator.planning.models.quantization import read_quantization
from llama_operator.planning.models.recipe import Recipe

BF16, FP8, INT8, FP4, INT4 = Precision.BFLOAT16, Precision.FP8, Precision.INT8, Precision.FP4, Precision.INT4


def recipe_of(quantization: dict[str, Any], dtype: Precision = BF16) -> Recipe:
    recipe = read_quantization(CONFIG | {"quantization_config": quantization}, dtype)
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.mark.parametrize(
    ("kind", "weights", "activations", "group", "skipped", "cache"),
    [
        ("compressed fp8, static", FP8, FP8, None, (), None),
        ("compressed fp8, dynamic", FP8, FP8, None, (), None),
        ("compressed fp8, weights only", FP8, BF16, None, (), None),
        ("compressed fp8, blocks", FP8, FP8, 128, (), None),
        ("compressed fp8 with a KV cache", FP8, FP8, None, (), FP8),
        ("compressed int8", INT8, INT8, None, (), None),
        ("compressed int8, static and lopsided", INT8, INT8, None, (), None),
        ("compressed w4a16", INT4, BF16, 128, (), None),
        ("compressed w4a16, reordered and lopsided", INT4, BF16, 128, (), None),
        ("compressed w8a16", INT8, BF16, None, (), None),
        ("compressed w4a8, static", INT4, INT8, 128, (), None),
        ("compressed nvfp4", FP4, FP4, 16, (), None),
        ("compressed nvfp4, weights only", FP4, BF16, 16, (), None),
        ("fbgemm_fp8", FP8, FP8, None, (0, 2), None),
        ("fp8, static", FP8, FP8, None, (), None),
        ("fp8, dynamic", FP8, FP8, None, (), None),
        ("fp8, blocks", FP8, FP8, 128, (), None),
        ("modelopt fp8", FP8, FP8, None, (), FP8),
        ("modelopt nvfp4", FP4, FP4, 16, (0,), FP8),
        ("awq", INT4, BF16, 128, (), None),
        ("awq, older keys", INT4, BF16, 64, (), None),
        ("gptq", INT4, BF16, 128, (), None),
        ("gptq, 8 bits, one group", INT8, BF16, None, (), None),
        ("bitsandbytes nf4", INT4, BF16, None, (), None),
        ("bitsandbytes fp4", FP4, BF16, None, (), None),
        ("bitsandbytes int8", INT8, BF16, None, (), None),
    ],
)
def test_what_the_planner_is_told(
    kind: str, weights: Precision, activations: Precision, group: int | None, skipped: tuple[int, ...], cache: Precision | None
) -> None:
    told = recipe_of(QUANTISED[kind]).describe(3, BF16)
    assert (told.weights, told.activations, told.group_size, told.skipped_layers, told.kv_cache) == (
        weights,
        activations,
        group,
        skipped,
        cache,
    )
    assert told.method == QUANTISED[kind]["quant_method"]


def S(suffix: str, dtype: str, *shape: int) -> Stored:  # noqa: N802 -- short, for the table
    return Stored(suffix, dtype, shape)


@pytest.mark.parametrize(
    ("kind", "tensors"),
    [
        ("compressed fp8, static", [S("weight", "F8_E4M3", 512, 256), S("weight_scale", "BF16", 1), S("input_scale", "BF16", 1)]),
        ("compressed fp8, dynamic", [S("weight", "F8_E4M3", 512, 256), S("weight_scale", "BF16", 512, 1)]),
        ("compressed fp8, blocks", [S("weight", "F8_E4M3", 512, 256), S("weight_scale", "BF16", 4, 2)]),
        ("compressed int8", [S("weight", "I8", 512, 256), S("weight_scale", "BF16", 512, 1)]),
        (
            "compressed int8, static and lopsided",
            [
                S("weight", "I8", 512, 256),
                S("weight_scale", "BF16", 512, 1),
                S("weight_zero_point", "I8", 512, 1),
                S("input_scale", "BF16", 1),
                S("input_zero_point", "I8", 1),
            ],
        ),
        ("compressed w4a16", [S("weight_packed", "I32", 512, 32), S("weight_scale", "BF16", 512, 2), S("weight_shape", "I64", 2)]),
        (
            "compressed w4a16, reordered and lopsided",
            [
                S("weight_packed", "I32", 512, 32),
                S("weight_scale", "BF16", 512, 2),
                S("weight_shape", "I64", 2),
                S("weight_zero_point", "I32", 64, 2),
                S("weight_g_idx", "I32", 256),
            ],
        ),
        (
            "compressed nvfp4",
            [
                S("weight_packed", "U8", 512, 128),
                S("weight_scale", "F8_E4M3", 512, 16),
                S("weight_global_scale", "F32", 1),
                S("input_global_scale", "F32", 1),
            ],
        ),
        ("fp8, blocks", [S("weight", "F8_E4M3", 512, 256), S("weight_scale_inv", "F32", 4, 2)]),
        (
            "modelopt nvfp4",
            [S("weight", "U8", 512, 128), S("weight_scale", "F8_E4M3", 512, 16), S("weight_scale_2", "F32", 1), S("input_scale", "F32", 1)],
        ),
        ("awq", [S("qweight", "I32", 256, 64), S("qzeros", "I32", 2, 64), S("scales", "F16", 2, 512)]),
        ("gptq", [S("qweight", "I32", 32, 512), S("qzeros", "I32", 2, 64), S("scales", "F16", 2, 512), S("g_idx", "I32", 256)]),
        ("bitsandbytes int8", [S("weight", "I8", 512, 256), S("SCB", "F32", 512), S("weight_format", "U8")]),
    ],
)
def test_how_a_layer_of_512_by_256_is_stored(kind: str, tensors: list[Stored]) -> None:
    layout = recipe_of(QUANTISED[kind]).schemes[0].layout
    assert list(layout.tensors(512, 256)) == tensors


def test_two_groups_quantise_two_kinds_of_modules() -> None:
    both = compressed("mixed-precision", {})
    both["config_groups"] = {
        "mlp": {
            "targets": ["re:.*mlp.*"],
            "format": "pack-quantized",
            "weights": {"num_bits": 4, "strategy": "group", "group_size": 32},
        },
        "attention": {
            "targets": ["re:.*self_attn.(q|k|v|o)_proj$"],
            "format": "int-quantized",
            "weights": {"num_bits": 8, "strategy": "channel"},
        },
    }
    recipe = recipe_of(both)
    assert [
        scheme and scheme.weights
        for scheme in map(recipe.scheme, ("model.layers.1.mlp.up_proj", "model.layers.1.self_attn.k_proj", "lm_head"))
    ] == [
        INT4,
        INT8,
        None,
    ]
    told = recipe.describe(3, BF16)
    assert (told.weights, told.group_size) == (INT8, 32), "four attention modules outnumber three of the MLP; its groups must hold whole"


def test_modelopts_own_file_counts_where_config_json_is_silent() -> None:
    own = {
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
    }
    recipe = read_quantization(CONFIG, BF16, own)
    assert isinstance(recipe, Recipe)
    assert (recipe.method, recipe.kv_cache) == ("modelopt", FP8)
    assert read_quantization(CONFIG | {"compression_config": QUANTISED["awq"]}, BF16, own) == recipe_of(QUANTISED["awq"])


def test_nvfp4_has_groups_of_sixteen_said_or_not() -> None:
    assert recipe_of({"quant_method": "modelopt", "quant_algo": "NVFP4"}).describe(1, BF16).group_size == 16


@pytest.mark.parametrize("own", [None, [], "text", {}, {"quantization": None}])
def test_no_config_means_not_quantised(own: object) -> None:
    assert read_quantization(CONFIG, BF16, own) is None


def change(kind: str, *path: str, to: Any) -> dict[str, Any]:
    """A known config with one value changed."""
    copy: dict[str, Any] = dict(QUANTISED[kind])
    inner = copy
    for name in path[:-1]:
        inner[name] = dict(inner[name])
        inner = inner[name]
    inner[path[-1]] = to
    return copy


GROUP = ("config_groups", "group_0")


@pytest.mark.parametrize(
    ("quantization", "words"),
    [
        ({"quant_method": "quip"}, "awq, bitsandbytes, compressed-tensors, fbgemm_fp8, fp8, gptq, modelopt, modelopt_fp4"),
        ({}, "quant_method of nothing"),
        ({"quant_method": 7}, "quant_method of 7"),
        ([], "config.json.quantization_config of []"),
        (change("gptq", "bits", to=3), "quantization_config.bits of 3 is given; allowed is 4, 8"),
        (change("gptq", "bits", to=True), "bits of true"),
        (change("gptq", "group_size", to=0), "group_size of 0"),
        (change("gptq", "group_size", to=None), "group_size of nothing"),
        (change("gptq", "lm_head", to="yes"), "true or false"),
        (change("awq", "bits", to=8), "bits of 8"),
        (change("awq", "modules_to_not_convert", to="mlp"), "a list of at most"),
        (change("awq", "modules_to_not_convert", to=[1]), "a list of at most"),
        (change("fp8, blocks", "weight_block_size", to=[128]), "two whole numbers"),
        (change("fp8, blocks", "weight_block_size", to=[128, 0]), "two whole numbers"),
        (change("fp8, blocks", "activation_scheme", to="static"), "two whole numbers"),
        (change("fp8, static", "activation_scheme", to="other"), "dynamic, static"),
        (change("modelopt fp8", "quant_algo", to="W4A8_AWQ"), "FP8, NVFP4"),
        (change("modelopt fp8", "kv_cache_scheme", to={"num_bits": 4}), "kv_cache_scheme.num_bits of 4"),
        (change("bitsandbytes int8", "load_in_4bit", to=True), "one of them"),
        (change("compressed w4a16", "config_groups", to={}), "config_groups of 0"),
        (change("compressed w4a16", "config_groups", to=[]), "an object"),
        (change("compressed w4a16", "format", to="marlin-24"), "pack-quantized"),
        (change("compressed w4a16", *GROUP, "weights", to=None), "an object"),
        (change("compressed w4a16", *GROUP, "weights", "num_bits", to=2), "8, 4"),
        (change("compressed w4a16", *GROUP, "weights", "actorder", to="random"), "actorder"),
        (change("compressed nvfp4", *GROUP, "weights", "group_size", to=32), "groups of 16"),
        (change("compressed fp8, blocks", *GROUP, "weights", "block_structure", to="128x128"), "block_structure"),
        (change("compressed fp8 with a KV cache", "kv_cache_scheme", to={"num_bits": 4}), "kv_cache_scheme.num_bits of 4"),
        (change("compressed w4a16", "ignore", to=["re:(a+)+$"]), "patterns"),
        (change("compressed w4a16", "ignore", to=["re:("]), "patterns"),
        (change("compressed w4a16", "ignore", to=["re:a{3}{4}"]), "patterns"),
        (change("compressed w4a16", "ignore", to=["re:" + "a" * 300]), "patterns"),
        (change("compressed w4a16", "ignore", to=["re:.*.*.*.*b"]), "at most two repeats"),
        (change("compressed w4a16", "ignore", to=["re:" + "a?" * 40]), "at most two repeats"),
        (change("compressed w4a16", "ignore", to=["re:.*x"] * 100), "100 patterns"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(quantization: Any, words: str) -> None:
    problem = read_quantization(CONFIG | {"quantization_config": quantization}, BF16)
    assert isinstance(problem, Problem)
    assert words in problem.message
    assert problem.field == "spec.model.source"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["re:.*", "*", "Linear", "FP8", "float"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(["weights", "targets"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(QUANTISED)), st.data())
def test_any_change_of_a_config_is_a_recipe_or_a_problem(kind: str, data: st.DataObject) -> None:
    config = QUANTISED[kind] | data.draw(
        st.dictionaries(st.sampled_from([*QUANTISED[kind], "ignore", "exclude_modules"]), json_values, max_size=2)
    )
    if "config_groups" in QUANTISED[kind] and isinstance(config["config_groups"], dict):
        group = dict(QUANTISED[kind]["config_groups"]["group_0"])
        weights = group["weights"] | data.draw(st.dictionaries(st.sampled_from(sorted(group["weights"])), json_values, max_size=2))
        group |= {"weights": weights} | data.draw(
            st.dictionaries(st.sampled_from(["targets", "input_activations"]), json_values, max_size=1)
        )
        config = config | {"config_groups": {"g": group}}
    read = read_quantization(CONFIG | {"quantization_config": config}, BF16)
    assert read is None or isinstance(read, Recipe | Problem)
    if isinstance(read, Recipe):
        assert read.describe(2, BF16).weights in Precision
        assert all(stored.nbytes >= 0 for scheme in read.schemes for stored in scheme.layout.tensors(64, 32))


@given(json_values)
def test_any_value_at_all_is_answered(value: Any) -> None:
    read = read_quantization({"quantization_config": value}, BF16, {"quantization": value})
    assert read is None or isinstance(read, Recipe | Problem)
