"""Only pods that we would have named are asked, a few at a time, and all of them within a time for the pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.harness.builders import KEY, NEW, UID, record
from tests.harness.virtual_time import run_virtually

from llama_operator.adapters.tokens import Tokens
from llama_operator.control.gather import ASKED_AT_ONCE, ASKING_SECONDS, Senses, gather
from llama_operator.control.rooms import Rooms
from llama_operator.control.store import Store
from llama_operator.lifecycle.observed import Serve, Unknown, World
from llama_operator.rendering import names


def pod(name: str, revision: str = "r1", **labels: str) -> dict[str, Any]:
    ours = {names.LABEL_DEPLOYMENT: KEY.name, names.LABEL_REVISION: revision} | {
        getattr(names, f"LABEL_{key.upper()}"): labels[key] for key in labels
    }
    metadata = {"name": name, "namespace": KEY.namespace, "uid": name, "labels": ours, "ownerReferences": [{"uid": UID}]}
    return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running", "podIP": name}}


class Silent:
    """Pods of which none ever answers."""

    def __init__(self, pods: list[dict[str, Any]]) -> None:
        self.pods, self.asked, self.now, self.most = pods, set[str](), 0, 0

    async def list(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return self.pods

    async def get(self, *_: Any) -> None:
        """Of what the store does not know there is nothing."""

    async def status(self, ip: str) -> Unknown:
        self.asked.add(ip)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(3)
        finally:
            self.now -= 1
        return Unknown("ReadTimeout")

    async def view(self, *_: Any) -> Serve:
        """A head, unlike the others, answers."""
        return Serve(deployed=True)


def gathered(pods: list[dict[str, Any]], *known: dict[str, Any]) -> tuple[World, Silent, float]:
    async def run() -> tuple[World, Silent, float]:
        silent: Any = Silent(pods)
        rooms = Rooms(reader=silent, clock=silent)
        store = Store()
        for manifest in known:
            store.put(manifest)
        senses = Senses(reader=silent, agents=silent, serve=silent, tokens=Tokens(b"k" * 32), store=store, rooms=rooms)
        raw = {"metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": UID}}
        return await gather(senses, raw, "nvidia.com/gpu"), silent, asyncio.get_running_loop().time()

    return run_virtually(run())


@pytest.mark.parametrize(
    ("name", "labels", "asked"),
    [
        (names.head(KEY.name, "r1"), {"component": "head"}, True),
        (names.gang_pod(KEY.name, "r1", 2, 1), {"component": "replica", "gang": "2", "rank": "1"}, True),
        ("mine", {"component": "head"}, False),
        (names.head(KEY.name, "r2"), {"component": "head"}, False),
        ("mine", {"component": "replica", "gang": "2", "rank": "1"}, False),
        (names.gang_pod(KEY.name, "r1", 2, 0), {"component": "replica", "gang": "2", "rank": "1"}, False),
        (names.head(KEY.name, "r1"), {"component": "bench"}, False),
    ],
)
def test_a_pod_that_is_only_labelled_like_ours_is_not_asked(name: str, labels: dict[str, str], asked: bool) -> None:
    world, silent, _ = gathered([pod(name, **labels)])
    assert len(world.pods) == 1
    assert silent.asked == ({name} if asked else set())


def test_hundreds_of_pods_that_never_answer_hold_a_pass_for_a_bounded_time() -> None:
    many = [pod(names.gang_pod(KEY.name, "r1", n, 0), component="replica", gang=str(n), rank="0") for n in range(300)]
    world, silent, seconds = gathered(many)
    assert seconds == ASKING_SECONDS
    assert silent.most == ASKED_AT_ONCE
    assert len(world.agents) == 300
    assert set(world.agents.values()) == {Unknown("ReadTimeout"), Unknown("no answer within the 20 s for all questions")}


def test_a_head_is_heard_however_many_other_pods_are_silent() -> None:
    many = [pod(names.gang_pod(KEY.name, NEW, n, 0), NEW, component="replica", gang=str(n), rank="0") for n in range(300)]
    world, _, _ = gathered([*many, pod(names.head(KEY.name, NEW), NEW, component="head")], record())
    assert world.serve == {NEW: Serve(deployed=True)}
