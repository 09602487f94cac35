"""For one LlamaDeployment the operator writes in that one's namespace, and nothing but what it renders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from tests.harness.builders import NEW, Scene, context, pinned, raw_deployment
from tests.harness.fake_api import FakeApi
from tests.harness.fake_cluster import FakeCluster

from llama_operator.adapters.tokens import Tokens
from llama_operator.control.execute import Astray, Hands, execute
from llama_operator.control.store import Store
from llama_operator.lifecycle.actions import Action, Apply, Create
from llama_operator.rendering import guards

ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all", "namespace": "llm"}}


def moved(**metadata: Any) -> dict[str, Any]:
    """The head pod with other metadata."""
    head = pinned(NEW).head
    return {**head, "metadata": {**head["metadata"], **metadata}}


REFUSED: dict[str, tuple[Mapping[str, Any], str]] = {
    # sentence: manifest, what is said
    "another namespace": (moved(namespace="kube-system"), "its manifest names namespace kube-system, not llm"),
    "no namespace": (moved(namespace=""), "its manifest names no namespace, not llm"),
    "a cluster's kind": (ROLE, "ClusterRole all for llm/demo is refused: only ControllerRevision, "),
    "a Secret, which no manifest that was read may be": (
        guards.token_secret(context(), "x"),
        "Secret demo-ray-token for llm/demo is refused",
    ),
    "no kind": ({"metadata": {"namespace": "llm"}}, "is refused: only "),
}


@pytest.mark.parametrize("sentence", REFUSED)
@pytest.mark.parametrize("step", [Create, Apply])
async def test_what_is_no_child_of_the_deployment_is_refused_before_anything_is_sent(sentence: str, step: type[Create | Apply]) -> None:
    manifest, said = REFUSED[sentence]
    api = FakeApi(clock=lambda: 0.0)
    api.put(raw_deployment())
    cluster = cast("FakeCluster", None)
    hands = Hands(writer=api, agents=cluster, serve=cluster, tokens=Tokens(b"k" * 32), store=Store())
    actions: list[Action] = [Create(why="it is ours", manifest=pinned(NEW).head), step(why="it was read", manifest=manifest)]
    with pytest.raises(Astray, match=said):
        await execute(hands, Scene().world(), raw_deployment(), context(), actions)
    assert not api.writes
    outcome = await execute(hands, Scene().world(), raw_deployment(), context(), actions[:1])
    assert (len(outcome.done), dict(api.writes)) == (1, {"create Pod": 1})
