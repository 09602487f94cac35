"""hf:// models in pods, against a small hub that the test serves: what the hub refuses is the root cause, and a cut download is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import hub as hub_module

from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
TINY = "tiny-llama-tp2"


@pytest.fixture(scope="module")
def hub(local: Stage) -> Iterator[hub_module.FakeHub]:
    """A hub on an address that pods reach, with one open model and one gated one."""
    folder = local.cluster.settings.models / TINY
    open_model = hub_module.Repo.of_folder(Path(folder))
    gated = hub_module.Repo(files=open_model.files, tokens={"a-token-that-nobody-has"})
    with hub_module.FakeHub({"llama/tiny": open_model, "llama/gated": gated}, host=local.cluster.host_ip) as served:
        local.operator.install(hub__endpoint=served.url)
        yield served
        local.operator.install()


def from_hub(stage: Stage, hub: hub_module.FakeHub, name: str, source: str) -> dict[str, Any]:
    """A LlamaDeployment whose pods ask that hub."""
    manifest = stage.small(name, TINY)
    manifest["spec"]["model"]["source"] = source
    container = manifest["spec"]["podTemplate"]["spec"]["containers"][0]
    container["env"] = [*container["env"], {"name": "HF_ENDPOINT", "value": hub.url}]
    return manifest


REFUSALS: dict[str, Any] = {
    "gated": ("hf://llama/gated", None, "HubUnauthorized", "tokenSecretRef"),
    # Without a token the hub says 401 of a model that does not exist, too: it does not tell strangers what there is.
    "absent": ("hf://llama/absent", None, "HubUnauthorized", "llama/absent"),
    "another revision": ("hf://llama/tiny", "no-such-branch", "HubNotFound", "no-such-branch"),
}


@pytest.mark.parametrize(("source", "revision", "reason", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_the_hub_refuses_is_said_with_its_remedy(
    stage: Stage, namespace: Namespace, hub: hub_module.FakeHub, source: str, revision: str | None, reason: str, words: str
) -> None:
    name = "refused"
    manifest = from_hub(stage, hub, name, source)
    if revision:
        manifest["spec"]["model"]["revision"] = revision
    namespace.apply(manifest)
    said = namespace.wait_reason(name, "Available", reason, 120)
    assert words in said["message"]
    namespace.delete_llama(name)
    namespace.wait_gone(name, 60)


def test_a_download_that_is_cut_and_rate_limited_goes_on_and_the_model_serves(
    stage: Stage, namespace: Namespace, client: Client, hub: hub_module.FakeHub
) -> None:
    namespace.apply(from_hub(stage, hub, "fetched", "hf://llama/tiny"))
    # The operator reads the headers; what goes wrong after that is met by the pod.
    namespace.wait_reason("fetched", "Accepted", "Fits", 60)
    hub.faults.rate_limited, hub.faults.retry_after = 2, 1
    hub.faults.cuts, hub.faults.cut_after = 1, 1_000_000
    namespace.wait_ready("fetched", 1, 400)
    plan = namespace.status("fetched")["plan"]
    assert 0.98 <= plan["observed"]["ratio"] <= 1.02, "what the engine holds is what was planned"
    assert 0.98 <= plan["observed"]["weightRatio"] <= 1.02
    assert 0.98 <= plan["observed"]["memoryRatio"] <= 1.02
    answer = client.chat("http://fetched", "fetched", "Hello")
    assert answer["status"] == 200
    assert hub.faults.cuts == 0
    assert any(seen.status == 206 for seen in hub.seen), "the rest was asked for by range"
    namespace.delete_llama("fetched")
    namespace.wait_gone("fetched", 60)
