"""The autoscaler on a real Prometheus: up on the queue, down when it is gone, and still while it is blind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dashboards.tried import Choice, Tried, report, through_api, try_all
from llama_operator.api.price import ANNOTATION as PRICE
from llama_operator.telemetry.dashboards.boards import BOARDS
from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage, autoscaling

pytestmark = pytest.mark.cluster
NAME = "scaled"
URL = f"http://{NAME}"


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


def test_it_scales_up_on_requests_in_flight_holds_without_prometheus_and_scales_down_again(
    local: Stage, namespace: Namespace, client: Client
) -> None:
    args = {"tokensPerSecond": 10, "slots": 4, "loadSeconds": 15}
    began = time.time()
    wanted = local.simulated(NAME, args=args, autoscaling=autoscaling(2, in_flight=4, down_seconds=30), objectives=OBJECTIVES)
    wanted["metadata"]["annotations"] = {PRICE: "1"}
    namespace.apply(wanted)
    namespace.wait_ready(NAME, 1, 180)
    namespace.wait_reason(NAME, "MetricsAvailable", "Fresh", 60)
    load = client.load(URL, NAME, streams=8, seconds=900, tokens=60)
    namespace.wait_ready(NAME, 2, 120)
    history = namespace.status(NAME)["autoscaling"]
    assert history["desiredReplicas"] == 2
    see_every_panel(local, namespace, began)
    local.set_prometheus(0)
    try:
        held = namespace.wait_reason(NAME, "Scaling", "Holding", 60)
        assert "holding at 2" in held["message"]
        assert namespace.condition(NAME, "MetricsAvailable")["reason"] == "PrometheusUnreachable"
        # Two minutes without eyes: the number must not move, however long it lasts.
        moved, begun = set(), time.monotonic()

        def two_minutes_over() -> bool:
            moved.add(namespace.status(NAME)["autoscaling"]["desiredReplicas"])
            return time.monotonic() - begun > 120

        namespace.wait("two blind minutes", two_minutes_over, 180, NAME)
        assert moved == {2}
    finally:
        local.set_prometheus(1)
    namespace.wait_reason(NAME, "MetricsAvailable", "Fresh", 120)
    load.stop()
    result = load.result()
    assert result["errors"] == []
    status = namespace.wait_ready(NAME, 1, 240)
    assert status["autoscaling"]["desiredReplicas"] == 1
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)
