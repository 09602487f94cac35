"""The stage of the cluster tests: one cluster and one operator for the session, a namespace for each module."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from localcluster.errors import MissingTool
from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FOREIGN = "LLAMA_KUBECONFIG" in os.environ
LONGEST_SECONDS = 900
"""For one test. Every wait in it has a deadline of its own, and a reason to give; this one only ends a test that hangs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each cluster test its own time, without that of the stage."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def stage() -> Stage:
    """A cluster with images, Prometheus and a running operator."""
    if os.geteuid() != 0 and not FOREIGN:
        pytest.skip("the local cluster needs root; set LLAMA_KUBECONFIG and LLAMA_CONTEXT to use another")
    try:
        return Stage().prepare()
    except MissingTool as error:
        pytest.skip(f"the local cluster cannot be started here: {error}")


@pytest.fixture(scope="session")
def local(stage: Stage) -> Stage:
    """The stage, where the test breaks parts that only the local cluster has."""
    if stage.cluster.foreign:
        pytest.skip("this test stops parts of the cluster itself, which is only done to the local one")
    return stage


@pytest.fixture(scope="module")
def namespace(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the module's own, gone afterwards with everything in it."""
    made = stage.namespace(request.module.__name__.rsplit(".", 1)[-1].replace("_", "-"))
    yield made
    left = [
        item["metadata"]["name"] for item in made.get(f"/apis/llama-operator.dev/v1alpha1/namespaces/{made.name}/llamadeployments")["items"]
    ]
    for name in left:
        made.delete_llama(name)
    # The namespace's own controller, where it finds pods, looks again after half of the time that their streams may take: minutes.
    for name in left:
        made.wait_gone(name, 90)
    made.remove()


@pytest.fixture(scope="module")
def client(stage: Stage, namespace: Namespace) -> Client:
    """A client pod in the module's namespace."""
    return stage.client(namespace)


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest) -> Iterator[ApiClient]:
    """A client of the cluster. One that is named needs nothing but its API server here, no operator and no node."""
    from kubernetes.config import new_client_from_config  # half a second, which every run that collects these tests would take

    path, context = os.environ.get("LLAMA_KUBECONFIG"), os.environ.get("LLAMA_CONTEXT")
    if not path:
        cluster = request.getfixturevalue("stage").cluster
        path, context = str(cluster.kubeconfig), cluster.context
    with new_client_from_config(config_file=path, context=context) as made:
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """When a cluster test fails, its report ends with what the operator and the pods logged and what the LlamaDeployments said."""
    outcome = yield
    report = outcome.get_result()
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(stage, Stage):
        try:
            # Short, so that what failed is not buried; Kopf's log of a restarted API server is left out.
            said_last = [line for line in stage.operator.logs(200).splitlines() if '"kopf.' not in line]
            report.sections.append(("operator log", "\n".join(said_last[-25:])[-5000:]))
            space = item.funcargs.get("namespace")
            if isinstance(space, Namespace):
                listed = space.get(f"/apis/llama-operator.dev/v1alpha1/namespaces/{space.name}/llamadeployments") or {"items": []}
                said = {llama["metadata"]["name"]: llama.get("status") for llama in listed["items"]}
                report.sections.append(("statuses", json.dumps(said, indent=1)[-4000:]))
                for pod in [pod["metadata"]["name"] for llama in said for kind in ("head", "replica") for pod in space.pods(llama, kind)]:
                    report.sections.append((f"log of pod {pod}", space.pod_log(pod, 12)[-1500:]))
        except Exception as error:  # noqa: BLE001 - the report of a failure must not fail itself
            report.sections.append(("operator log", f"could not be read: {error}"))
