"""One scripted load on a real Prometheus: up on the queue, still while blind, down without a cut stream, to zero, and back for one request."""

from __future__ import annotations

import copy
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dashboards.tried import Choice, Tried, report, through_api, try_all
from llama_operator.api.price import ANNOTATION as PRICE
from llama_operator.telemetry.dashboards.boards import BOARDS
from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
NAME = "scaled"
URL = f"http://{NAME}"
ARGS = {"tokensPerSecond": 10, "slots": 4, "loadSeconds": 30}
SCALING = {
    "minReplicas": 0,
    "maxReplicas": 3,
    "objective": {"inFlightPerReplica": 4},
    "scaleDownStabilizationSeconds": 20,
    "scaleToZeroAfter": "60s",
}
HELD = 2


OBJECTIVES = {"timeToFirstTokenSeconds": 10, "interTokenSeconds": 0.5}
DRAW = "LLAMA_DRAW_DASHBOARDS"
"""Names a folder: the dashboards of the run are drawn there."""


def see_every_panel(stage: Stage, namespace: Namespace, began: float) -> None:
    """Every query of every dashboard has data of this load, or says why it has none; two minutes, since rates and rules look back."""
    get, seen = through_api(stage.api), list[Tried]()

    def choice() -> Choice:
        return Choice(namespace=namespace.name, deployment=NAME, start=began, end=time.time())

    def all_there() -> bool:
        seen[:] = try_all(get, BOARDS, choice())
        return not any(tried.wrong for tried in seen)

    try:
        namespace.wait("data in every panel", all_there, 180, NAME)
    finally:
        print(report(seen))  # noqa: T201 - the table is what the run is asked for
        if os.environ.get(DRAW):
            from dashboards.draw import draw_all  # matplotlib is needed for the pictures alone

            draw_all(BOARDS, seen, choice(), Path(os.environ[DRAW]))


class Diary(threading.Thread):
    """Every number that was wanted, in its order, and when; and the changes as the status tells them."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(daemon=True)
        self.namespace, self.wanted, self.over = namespace, list[tuple[float, int]](), threading.Event()
        self.changes = list[dict[str, Any]]()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.5):
            try:
                told = self.namespace.status(NAME).get("autoscaling") or {}
            except OSError:
                continue
            found, self.changes = told.get("desiredReplicas"), told.get("changes") or self.changes
            if found is not None and (not self.wanted or self.wanted[-1][1] != found):
                self.wanted.append((time.time(), found))

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.wanted]

    def has(self, *numbers: int) -> None:
        """These were wanted, in this order, and no others; where not, why each came."""
        assert self.numbers == list(numbers), self.changes


def template(local: Stage) -> dict[str, Any]:
    """The pod template, with a head that holds HELD requests at most."""
    made = copy.deepcopy(local.pod_template)
    made["spec"]["containers"][0]["env"].append({"name": "LLAMA_HOLD_REQUESTS", "value": str(HELD)})
    return made


def test_the_number_follows_the_load_from_zero_and_to_zero_and_no_stream_is_cut(
    local: Stage, namespace: Namespace, client: Client, record_property: Any
) -> None:
    began = time.time()
    wanted = local.simulated(NAME, args=ARGS, autoscaling=SCALING, podTemplate=template(local), objectives=OBJECTIVES)
    wanted["metadata"]["annotations"] = {PRICE: "1"}
    namespace.apply(wanted)
    diary = Diary(namespace)
    namespace.wait_ready(NAME, 1, 180)
    namespace.wait_reason(NAME, "MetricsAvailable", "Fresh", 60)

    # Up: 8 streams at 4 a replica want 2, however long the second takes to load.
    crowd = client.load(URL, NAME, streams=8, seconds=900, tokens=60)
    namespace.wait_ready(NAME, 2, 180)
    diary.has(1, 2)
    see_every_panel(local, namespace, began)

    # Blind for two minutes under load: the number must not move.
    local.set_prometheus(0)
    try:
        held = namespace.wait_reason(NAME, "Scaling", "Holding", 60)
        assert "holding at 2" in held["message"]
        assert namespace.condition(NAME, "MetricsAvailable")["reason"] == "PrometheusUnreachable"
        begun = time.monotonic()
        namespace.wait("two blind minutes", lambda: time.monotonic() - begun > 120, 180, NAME)
    finally:
        local.set_prometheus(1)
    namespace.wait_reason(NAME, "MetricsAvailable", "Fresh", 120)
    diary.has(1, 2)

    # Down, with streams open all the while.
    crowd.stop()
    assert crowd.result()["errors"] == []
    few = client.load(URL, NAME, streams=2, seconds=900, tokens=100)
    namespace.wait_ready(NAME, 1, 180)
    few.stop()
    assert few.result()["errors"] == []

    # To zero once no request came for a minute.
    quiet = time.time()
    namespace.wait("no replica", lambda: namespace.status(NAME).get("phase") == "Idle" and not namespace.pods(NAME), 240, NAME)
    diary.has(1, 2, 1, 0)
    assert diary.wanted[-1][0] - quiet >= 45  # the streams ended a little before `few` said so
    assert namespace.condition(NAME, "Available")["reason"] == "ScaledToZero"
    assert namespace.condition(NAME, "MetricsAvailable")["reason"] == "Fresh"
    assert namespace.wait_reason(NAME, "Scaling", "ScaledToZero", 30)["status"] == "True"

    # From zero: what comes is held and answered, as far as the bound goes; beyond it the answer says when to come again.
    asked = time.time()
    late = client.load(URL, NAME, streams=HELD + 1, seconds=60, tokens=5, requests=HELD + 1)
    result = late.result()
    assert len(result["errors"]) == 1, result["errors"]
    assert "status 503" in result["errors"][0]
    assert "Try again in" in result["errors"][0]
    namespace.wait_ready(NAME, 1, 120)
    diary.has(1, 2, 1, 0, 1)
    record_property("seconds from the request to the decision", round(diary.wanted[-1][0] - asked, 1))
    record_property("changes", diary.wanted)
    record_property("answered from zero", result)
    diary.over.set()
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)
