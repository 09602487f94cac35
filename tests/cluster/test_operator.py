"""The operator itself: quiet at rest, one leader, and nothing of its going or coming touches a model."""

from __future__ import annotations

import json
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.harness.command import run

from localcluster.audit import WRITES, count
from playground.client import Client
from playground.kube import Namespace
from playground.operator import NAMESPACE, RESYNC_SECONDS
from playground.stage import Stage

pytestmark = pytest.mark.cluster
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:llama-operator"
PASSES = "llama_operator_reconcile_passes_total"
INSIDE = """
import importlib, json, os

def there(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True

def refusal(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return os.strerror(error.errno)

modules = [name for name in ("kopf", "llama_operator", "llama_serving", "torch", "ray", "vllm") if there(name)]
read_only = bool(os.statvfs("/").f_flag & os.ST_RDONLY)
print(json.dumps({"ids": [os.getuid(), os.getgid()], "readOnly": read_only, "refusal": refusal("/probe"), "modules": modules}))
"""


def pods_of(namespace: Namespace, *names: str) -> dict[str, str]:
    """Pods of several deployments, by name."""
    every = [pod for name in names for component in ("replica", "head") for pod in namespace.pods(name, component)]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in every}


def test_two_deployments_here_and_one_elsewhere_are_all_served(stage: Stage, namespace: Namespace, client: Client) -> None:
    elsewhere = stage.namespace("test-operator-elsewhere")
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.apply(stage.simulated(name, model={"source": "file:///simulated", "servedName": f"{name}-of-{space.name}"}))
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.wait_ready(name, 1, 400)  # six Ray nodes start at once, perhaps on two cores
        assert client.chat(f"http://{name}.{space.name}", f"{name}-of-{space.name}", "Hello")["status"] == 200
    assert client.chat(f"http://one.{namespace.name}", f"one-of-{elsewhere.name}", "Hello")["status"] == 404
    elsewhere.delete_llama("one")
    elsewhere.wait_gone("one", 60)
    elsewhere.remove()


def test_a_load_test_comes_from_inside_the_cluster_and_leaves_nothing(
    stage: Stage, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real tool, vLLM's own, in a pod beside the deployment."""
    for variable, value in (stage.cluster.environment | {"PATH": f"{Path(stage.tools.program('kubectl')).parent}:/usr/bin:/bin"}).items():
        monkeypatch.setenv(variable, value)
    at = ("-n", namespace.name, "--kubeconfig", str(stage.cluster.kubeconfig), "--context", stage.cluster.context)
    before = pods_of(namespace, "one")
    load = ("--concurrency", "4", "--requests", "20", "--input-tokens", "64", "--output-tokens", "16", "--longest", "5m")
    answer = run("bench", "one", *load, "--output", str(tmp_path / "report"), "-o", "json", *at)
    assert answer.status == 0, answer.err
    report = json.loads(answer.out)
    (only,) = report["runs"]
    assert (only["completed"], only["failures"], only["promptTokens"], only["outputTokens"]) == (20, [], 20 * 64, 20 * 16)
    assert only["peakInFlight"] <= 4
    assert 0 < only["timeToFirstToken"]["p50"]["value"] < only["endToEnd"]["p50"]["value"]
    assert report["deployment"]["revision"] == namespace.status("one")["revision"]
    assert "<svg" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    jobs = f"/apis/batch/v1/namespaces/{namespace.name}/jobs"
    assert [item for item in namespace.api.get(jobs)["items"] if not item["metadata"].get("deletionTimestamp")] == []
    assert pods_of(namespace, "one") == before


def test_at_rest_it_writes_nothing_and_lists_at_most_twice_a_pass(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    for name in ("one", "two"):
        namespace.wait_reason(name, "Progressing", "Complete", 60)
    # The last events of the load may still be on their way; then nothing moves any more.
    audit, quiet = local.cluster.audit, [""]
    namespace.wait("the objects rest", lambda: _unchanged(namespace, quiet), 60)
    mark, passes, begun = audit.mark(), local.operator.metric(PASSES), time.monotonic()
    namespace.wait("12 passes", lambda: local.operator.metric(PASSES) >= passes + 12, 180)
    done, seconds = local.operator.metric(PASSES) - passes, time.monotonic() - begun
    requests = [request for request in audit.since(mark) if request.user == ACCOUNT]
    assert {what: n for what, n in count(requests, user=ACCOUNT).items() if what[0] in WRITES and what[1] != "leases"} == {}
    # A pass lists the pods of its own namespace, once, and nothing else; those under way are counted with those that were done.
    under_way = len(namespace.api.get("/apis/llama-operator.dev/v1alpha1/llamadeployments")["items"])
    of_passes = Counter(request.resource for request in requests if request.verb == "list" and request.namespace)
    assert set(of_passes) == {"pods"}
    assert of_passes["pods"] <= done + under_way
    # What lists all namespaces is no pass: a resync each kind at its own pace, and a watch that begins anew, perhaps one in so short a time.
    of_resyncs = Counter(request.resource for request in requests if request.verb == "list" and not request.namespace)
    assert max(of_resyncs.values(), default=0) <= seconds / RESYNC_SECONDS + 2
    assert of_resyncs["pods"] <= 1
    assert of_resyncs["nodes"] == 0
    assert pods_of(namespace, "one", "two") == before


def _unchanged(namespace: Namespace, seen: list[str]) -> bool:
    """The resource versions are those of the look before."""
    now = ",".join(namespace.llama(name)["metadata"]["resourceVersion"] for name in ("one", "two"))
    same, seen[0] = now == seen[0], now
    return same


def test_scaling_writes_the_status_as_often_as_it_says_something_new(local: Stage, namespace: Namespace, record_property: Any) -> None:
    """Each write is one more version of the object, and each differs from the one before in more than times."""
    audit, quiet = local.cluster.audit, [""]
    for replicas in (2, 1):
        namespace.wait("the objects rest", lambda: _unchanged(namespace, quiet), 60)
        before, mark, passes = namespace.llama("two"), audit.mark(), local.operator.metric(PASSES)
        namespace.patch_llama("two", {"spec": {"replicas": replicas}})
        namespace.wait_ready("two", replicas, 120)
        namespace.wait_reason("two", "Progressing", "Complete", 60)
        told, writes = namespace.wait("a count with no write in it", partial(_counted, local, namespace, before, mark), 60, "two")
        changes = sum(_timeless(old["status"]) != _timeless(new["status"]) for old, new in pairwise([before, *told]))
        record_property(f"status writes to {replicas} replicas", writes)
        # Nothing else of the object is written: its spec is the user's, its finalizer there already.
        assert writes == {("patch", "llamadeployments/status"): changes}, [version["status"] for version in told]
        assert 2 <= changes <= local.operator.metric(PASSES) - passes + 1


def _counted(local: Stage, namespace: Namespace, before: dict[str, Any], mark: int) -> tuple[list[dict[str, Any]], dict[Any, int]] | None:
    """The versions of "two" since `before`, and the operator's writes of it by verb and resource; None where one came in between."""
    told = namespace.history("two", before["metadata"]["resourceVersion"])
    mine = [item for item in local.cluster.audit.since(mark) if (item.namespace, item.name) == (namespace.name, "two")]
    counts = {what: n for what, n in count(mine, user=ACCOUNT).items() if what[0] in WRITES and what[1].startswith("llamadeployments")}
    same = namespace.llama("two")["metadata"]["resourceVersion"] == told[-1]["metadata"]["resourceVersion"]
    return (told, counts) if same else None


def _timeless(value: Any) -> Any:
    """A status without moments: a write that tells another time alone says nothing new."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in ("lastTransitionTime", "since")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def test_the_image_that_runs_has_no_root_and_no_engine_in_it(stage: Stage) -> None:
    leader = next(pod for pod in stage.operator.pods() if pod["metadata"]["name"] == stage.operator.holder())
    (container,) = leader["spec"]["containers"]
    assert container["image"] == stage.operator_image
    said = json.loads(stage.operator.execute("python", "-c", INSIDE))
    assert 0 not in said["ids"]
    assert (said["readOnly"], said["refusal"]) == (True, "Read-only file system")
    assert said["modules"] == ["kopf", "llama_operator", "llama_serving"]


def test_a_frozen_leader_is_replaced_and_does_not_write_again(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    local.operator.scale(2)
    first = local.operator.holder()
    assert first is not None
    uid = local.operator.uid(first)
    local.freeze_pod(uid)
    try:
        namespace.wait("the standby leads", lambda: local.operator.holder() not in (None, first), 60)
        namespace.patch_llama("one", {"spec": {"replicas": 2}})
        namespace.wait_ready("one", 2, 120)
    finally:
        local.thaw_pod(uid)
    second = local.operator.holder()
    namespace.patch_llama("one", {"spec": {"replicas": 1}})
    namespace.wait_ready("one", 1, 120)
    assert local.operator.holder() == second
    assert pods_of(namespace, "one", "two") == before
    local.operator.scale(1)


def test_uninstalling_the_chart_leaves_models_and_objects_alone_and_installing_it_again_goes_on(
    stage: Stage, namespace: Namespace, client: Client
) -> None:
    before = pods_of(namespace, "one", "two")
    stage.operator.uninstall()
    assert client.chat("http://one", f"one-of-{namespace.name}", "Hello")["status"] == 200
    assert namespace.llama("one")["spec"]["engine"]["type"] == "simulated"
    stage.operator.install()
    namespace.patch_llama("two", {"spec": {"replicas": 2}})
    namespace.wait_ready("two", 2, 120)
    assert before.items() <= pods_of(namespace, "one", "two").items()
