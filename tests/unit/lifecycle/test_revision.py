"""Which revision a spec is: stable against defaults, order and versions of the operator; new for whatever needs new pods."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.harness.builders import KEY, NEW, OLD, OPTIONS, UID, Scene, context, pinned, raw_spec, record, spec

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.plan import Wish
from llama_operator.lifecycle.revision import as_it_runs, keep_running, make_wish, render_context, revision_of, serving_config
from llama_operator.rendering import names
from llama_operator.rendering.context import RenderOptions
from llama_operator.rendering.pods import number_gang
from llama_operator.rendering.revision import from_controller_revision, render
from llama_serving.config import ServingConfig

GOLDEN = "21e74d5f52"
"""The revision of the least spec. It may only change together with a decision to restart every model at the next upgrade."""

BIG: dict[str, Any] = {
    "model": {"source": "hf://meta-llama/Llama-3.1-405B-Instruct-FP8", "servedName": "llama-405b", "tokenSecretRef": {"name": "hf"}},
    "hardware": {"accelerator": "nvidia-h100-80gb"},
    "parallelism": {"tensor": 8},
    "context": {"maxTokens": 131072},
    "replicas": 2,
}
GOLDEN_BIG = "c8bcbd6dfb"


def named(raw: dict[str, Any]) -> str:
    return revision_of(LlamaDeploymentSpec.model_validate(raw))


def test_the_hashes_of_known_specs_never_change() -> None:
    assert (revision_of(spec()), named(BIG)) == (GOLDEN, GOLDEN_BIG)


@pytest.mark.parametrize(
    "over",
    [
        {"replicas": 3},
        {"autoscaling": {"maxReplicas": 4, "objective": {"inFlightPerReplica": 8}}},
        {"replicas": 1},
        {"parallelism": {}},
        {"parallelism": {"tensor": 1}},
        {"context": {"kvCacheDtype": "auto"}},
        {"hardware": {"accelerator": "cpu", "gpusPerNode": 0}},
        {"hardware": {"gpuResource": "nvidia.com/gpu", "accelerator": "cpu"}},
        {"podTemplate": {}},
        {"podTemplate": {"spec": {}, "metadata": {"labels": {}}}},
        {"engine": {"args": {}, "type": "simulated"}},
        {"parallelism": {"tensor": 1, "pipeline": 1}},
        {"rollout": {}},
        {"rollout": {"strategy": "Replace"}},
        {"access": {}},
        {"model": {"source": "file:///models/tiny", "licenseAccepted": True}},
        {"model": {"source": "file:///models/tiny", "licenseNotes": "Apache-2.0"}},
        {"hardware": {"accelerator": "cpu", "custom": {"memoryGiB": 80, "memoryBandwidthGBps": 3350}}},
    ],
    ids=str,
)
def test_the_count_and_defaults_that_are_written_out_make_no_new_revision(over: dict[str, Any]) -> None:
    assert revision_of(spec(**over)) == GOLDEN


@pytest.mark.parametrize(
    "over",
    [
        {"model": {"source": "file:///models/other"}},
        {"model": {"source": "file:///models/tiny", "servedName": "x"}},
        {"context": {"maxTokens": 64}},
        {"context": {"kvCacheDtype": "fp8"}},
        {"engine": {"type": "simulated", "args": {"slots": 8}}},
        {"engine": {"type": "vllm"}},
        {"image": "other:1"},
        {"tracing": {"endpoint": "http://otel-collector:4318"}},
        {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}},
        {"podTemplate": {"metadata": {"labels": {"a": "b"}}}},
        {"parallelism": {"tensor": 2}},
        {"hardware": {"accelerator": "nvidia-h100-80gb"}},
    ],
    ids=str,
)
def test_whatever_pods_see_makes_a_new_revision(over: dict[str, Any]) -> None:
    assert revision_of(spec(**over)) != GOLDEN


def test_the_gpus_of_a_node_written_out_as_they_are_by_default_make_no_new_revision() -> None:
    assert named({**BIG, "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8}}) == GOLDEN_BIG
    assert named({**BIG, "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 16}}) != GOLDEN_BIG


def test_a_split_is_part_of_the_revision_each_way() -> None:
    splits = [{}, {"tensor": 8}, {"pipeline": 2}, {"tensor": 8, "pipeline": 2}]
    assert len({named({**BIG, "parallelism": split}) for split in splits}) == len(splits)
    assert named({**BIG, "parallelism": {"tensor": 8, "pipeline": 1}}) == GOLDEN_BIG


def test_the_order_of_fields_makes_no_new_revision() -> None:
    turned = {key: BIG[key] for key in reversed(BIG)}
    assert named(turned) == named(BIG)


def test_the_pods_are_told_what_the_spec_says() -> None:
    big = LlamaDeploymentSpec.model_validate(BIG)
    config = serving_config(KEY, big, "0123456789")
    assert (config.served_name, config.tensor_parallel, config.gpus_per_pod, config.max_model_len) == ("llama-405b", 8, 8, 131072)
    assert serving_config(KEY, spec(), "0123456789").served_name == "demo"
    made = render_context(KEY, "uid", big, OPTIONS)
    assert (made.revision, made.token_secret, made.image) == (GOLDEN_BIG, ("hf", "token"), "serving:test")
    assert render_context(KEY, "uid", spec(image="mine:1"), OPTIONS).image == "mine:1"


def test_the_pods_are_told_of_a_collector_and_without_one_what_they_were_told_before_there_was_such_a_field() -> None:
    traced = serving_config(KEY, spec(tracing={"endpoint": "http://collector:4318"}), "0123456789")
    assert traced.traces_url == "http://collector:4318/v1/traces"
    assert ServingConfig.from_json(traced.to_json()) == traced
    assert "tracing" not in serving_config(KEY, spec(), "0123456789").to_json()


def test_a_spec_without_a_gang_shape_cannot_come_this_far() -> None:
    bad = spec(parallelism={"tensor": 16}, hardware={"accelerator": "nvidia-h100-80gb"})
    with pytest.raises(TypeError, match="must have been refused"):
        serving_config(KEY, bad, "0123456789")


def test_a_newer_operator_keeps_what_the_older_one_pinned() -> None:
    """Another operator image renders other pods; the pinned ones stay."""
    world = Scene().head().world()
    newer = context(options=RenderOptions(operator_image="operator:newer", serving_image="serving:newer"), image="serving:newer")
    wish = make_wish(world, newer, 1)
    assert wish.record is None
    assert wish.pinned == world.pinned[NEW]
    assert "operator:test" in str(wish.pinned.head)


def test_a_new_revision_gets_the_next_number() -> None:
    objects = {("ControllerRevision", f"demo-{OLD}"): record(OLD, number=4), ("Service", "x"): {}}
    wish = make_wish(Scene().world(pinned={OLD: pinned(OLD)}, objects=objects), context(), 1)
    assert wish.record is not None
    assert wish.record["revision"] == 5


BUDGETS: dict[str, tuple[int, int, int]] = {
    # sentence: wanted replicas, pods of a gang, pods that must stay
    "none is wanted": (0, 1, 0),
    "a single one may go, or its node could never be drained": (1, 1, 0),
    "a single gang may go too": (1, 4, 0),
    "of two replicas one stays": (2, 1, 1),
    "of four replicas three stay, whatever spec.replicas says": (4, 1, 3),
    "of two gangs one pod may go: the rest of its gang is deleted by the operator": (2, 4, 7),
}


@pytest.mark.parametrize("sentence", BUDGETS)
def test_the_budget_counts_the_pods_of_the_wanted_replicas(sentence: str) -> None:
    replicas, size, stay = BUDGETS[sentence]
    assert budget(make_wish(Scene(size=size).world(), context(size=size), replicas))["minAvailable"] == stay


def test_the_budget_leaves_nothing_for_kubernetes_to_work_out_from_the_scale() -> None:
    spec = budget(make_wish(Scene().world(), context(), 4))
    assert isinstance(spec["minAvailable"], int)
    assert spec["maxUnavailable"] is None


def test_while_gangs_of_another_size_are_moved_over_the_larger_count() -> None:
    scene = Scene().gang(0, GangState.READY, OLD).gang(1, GangState.READY, OLD)
    larger = {NEW: pinned(NEW), OLD: pinned(OLD, size=4)}
    assert budget(make_wish(scene.world(pinned=larger), context(), 2))["minAvailable"] == 7
    assert budget(make_wish(Scene().gang(0, GangState.READY).world(pinned=larger), context(), 2))["minAvailable"] == 1


def budget(wish: Wish) -> dict[str, Any]:
    """The spec of the PodDisruptionBudget among what is wished for."""
    (found,) = (item for item in wish.shared if item["kind"] == "PodDisruptionBudget")
    return dict(found["spec"])


def test_a_refused_spec_keeps_what_ran_and_touches_nothing_shared() -> None:
    wish = keep_running(Scene().world(), NEW, 3)
    assert wish is not None
    assert (wish.pinned.revision, wish.record, list(wish.shared), wish.replicas) == (NEW, None, [], 3)
    assert keep_running(Scene().world(), OLD, 3) is None


def test_what_is_pinned_is_read_back_as_it_was() -> None:
    assert from_controller_revision(record(size=2, gpus=8), KEY, UID) == pinned(size=2, gpus=8)


@pytest.mark.parametrize(
    "change",
    [{"data": {"schema": 2}}, {"data": None}, {"data": {"schema": 1}}, {"metadata": {"name": "x"}}, {"data": "text"}, {"metadata": None}],
    ids=["newer", "empty", "half", "unlabelled", "no map", "no metadata"],
)
def test_a_record_that_another_hand_wrote_is_not_used(change: dict[str, Any]) -> None:
    assert from_controller_revision({**record(), **change}, KEY, UID) is None


ELSEWHERE = names.Key("kube-system", KEY.name)
FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    # what is wrong with it: how it is made so
    "a head in another namespace": lambda kept: kept["data"]["head"]["metadata"].update(namespace="kube-system"),
    "a head without a namespace": lambda kept: kept["data"]["head"]["metadata"].pop("namespace"),
    "a head that is no pod": lambda kept: kept["data"]["head"].update(kind="Secret"),
    "a head that is no manifest": lambda kept: kept["data"].update(head="text"),
    "a head without metadata": lambda kept: kept["data"]["head"].update(metadata=None),
    "a head of another name": lambda kept: kept["data"]["head"]["metadata"].update(name="pwn"),
    "a head without our labels": lambda kept: kept["data"]["head"]["metadata"].update(labels={}),
    "a head of another deployment": lambda kept: kept["data"]["head"]["metadata"]["labels"].update({names.LABEL_DEPLOYMENT: "other"}),
    "a head of another owner": lambda kept: kept["data"]["head"]["metadata"]["ownerReferences"][0].update(uid="other"),
    "a head of two owners": lambda kept: kept["data"]["head"]["metadata"]["ownerReferences"].append({"uid": "other"}),
    "a head of no owner": lambda kept: kept["data"]["head"]["metadata"].update(ownerReferences=None),
    "a Service in another namespace": lambda kept: kept["data"]["headService"]["metadata"].update(namespace="kube-system"),
    "a Service that is a Role": lambda kept: kept["data"]["headService"].update(kind="Role"),
    "a store that is a Secret": lambda kept: kept["data"]["headStore"].update(kind="Secret"),
    "a store that is empty": lambda kept: kept["data"].update(headStore={}),
    "a store in another namespace": lambda kept: kept["data"]["headStore"]["metadata"].update(namespace="kube-system"),
    "a gang's second pod in another namespace": lambda kept: kept["data"]["gang"][1]["metadata"].update(namespace="kube-system"),
    "a gang's pods in another order": lambda kept: kept["data"]["gang"].reverse(),
    "a gang with its number filled in": lambda kept: kept["data"].update(gang=number_gang(kept["data"]["gang"], 0)),
    "a gang without pods": lambda kept: kept["data"].update(gang=[]),
    "a gang that is no list": lambda kept: kept["data"].update(gang={}),
    "a record beside the one that we keep": lambda kept: kept["metadata"].update(name="demo-mine"),
    "a record of another revision than its manifests": lambda kept: kept["metadata"]["labels"].update({names.LABEL_REVISION: OLD}),
}


@pytest.mark.parametrize("sentence", FORGERIES)
def test_a_record_whose_manifests_are_not_as_we_name_them_is_not_used(sentence: str) -> None:
    """The operator makes what a record says, and may make more than the tenant who wrote it: pods in kube-system, for one."""
    kept = copy.deepcopy(record(size=2, gpus=8))
    FORGERIES[sentence](kept)
    assert from_controller_revision(kept, KEY, UID) is None


@pytest.mark.parametrize(("key", "uid"), [(ELSEWHERE, UID), (names.Key("llm", "other"), UID), (KEY, "of a predecessor")])
def test_a_record_of_another_deployment_is_not_used(key: names.Key, uid: str) -> None:
    assert from_controller_revision(record(), key, uid) is None


def test_what_others_add_to_a_record_or_a_newer_operator_pins_besides_is_read() -> None:
    kept = copy.deepcopy(record(size=2))
    kept["metadata"]["labels"] = {names.LABEL_REVISION: NEW, names.LABEL_DEPLOYMENT: KEY.name, "team": "search"}
    kept["metadata"]["ownerReferences"].append({"uid": "of a backup"})
    kept["data"]["aNewField"] = {"kind": "Job"}
    for manifest in (kept["data"]["head"], *kept["data"]["gang"]):
        manifest["metadata"]["labels"].update({"team": "search", names.LABEL_TRAFFIC: "new"})
        manifest["spec"]["aNewField"] = 1
    kept["data"]["headStore"] = None
    read = from_controller_revision(kept, KEY, UID)
    assert read is not None
    assert (read.head, read.head_store, read.gang) == (kept["data"]["head"], None, tuple(kept["data"]["gang"]))


def test_raw_and_read_specs_are_the_same() -> None:
    assert LlamaDeploymentSpec.model_validate(raw_spec()) == spec()


def running(**over: Any) -> tuple[dict[str, Any], str]:
    """The pinned manifests of a spec, by revision, and the revision."""
    asked = spec(**over)
    rendered = render(render_context(KEY, "uid", asked, OPTIONS))
    return {rendered.revision: rendered}, rendered.revision


SPLIT = {"parallelism": {"tensor": 4, "pipeline": 2}}


def test_a_spec_that_leaves_the_split_out_runs_as_it_was_split() -> None:
    """Nothing but the pinned manifests is needed: the status may be lost."""
    kept, name = running(**SPLIT)
    filled = as_it_runs(spec(), kept, {})
    assert filled is not None
    assert (filled.parallelism.tensor, filled.parallelism.pipeline, revision_of(filled)) == (4, 2, name)


@pytest.mark.parametrize("given", [{"tensor": 4}, {"pipeline": 2}, {"tensor": 4, "pipeline": 2}], ids=str)
def test_what_is_given_as_it_runs_is_the_same_revision(given: dict[str, int]) -> None:
    kept, name = running(**SPLIT)
    filled = as_it_runs(spec(parallelism=given), kept, {})
    assert filled is not None
    assert revision_of(filled) == name


@pytest.mark.parametrize("over", [{"parallelism": {"tensor": 2}}, {"context": {"maxTokens": 100}}, {"image": "other:1"}], ids=str)
def test_a_spec_that_asks_for_something_else_runs_nowhere(over: dict[str, Any]) -> None:
    kept, name = running(**SPLIT)
    assert as_it_runs(spec(**over), kept, {"revision": name}) is None


@pytest.mark.parametrize("plan", [{"tensorParallel": 4, "pipelineParallel": 2}, {"tensorParallel": "odd", "pipelineParallel": -1}], ids=str)
def test_the_status_alone_is_enough_too_and_an_odd_one_is_harmless(plan: dict[str, Any]) -> None:
    _, name = running(**SPLIT)
    filled = as_it_runs(spec(), {}, {"revision": name, "plan": plan})
    assert (filled is not None) == (plan["tensorParallel"] == 4)


def test_a_spec_of_before_the_planner_runs_unsplit() -> None:
    filled = as_it_runs(spec(), {}, {"revision": GOLDEN})
    assert filled is not None
    assert revision_of(filled) == GOLDEN
