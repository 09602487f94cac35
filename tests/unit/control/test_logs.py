"""Every line that a pass writes says whose it is and which pass, whoever writes it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from tests.harness.builders import KEY

from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.control.logs import set_up
from llama_operator.control.reconcile import run_worker
from llama_operator.control.workqueue import WorkQueue
from llama_operator.ports import ApiError
from llama_operator.rendering import names
from llama_operator.telemetry.operator_metrics import PASSES


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the operator's own set-up writes."""
    root, stream = logging.getLogger(), io.StringIO()
    before = (root.handlers[:], root.level)
    set_up("info", "json")
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@dataclass
class Talkative:
    """A reconciler that logs in every way there is, and fails the first time."""

    own: OwnMetrics = field(default_factory=OwnMetrics)
    failed: bool = False
    faulty: set[names.Key] = field(default_factory=set)

    async def reconcile(self, key: names.Key) -> float | None:
        structlog.get_logger("own").info("own", of=str(key))
        logging.getLogger("library").warning("library")
        await asyncio.gather(self._beside(), self._beside())
        if key == KEY and not self.failed:
            self.failed = True
            raise ApiError(500, "X", "the API server hiccups")
        return None

    async def _beside(self) -> None:
        await asyncio.sleep(0)
        structlog.get_logger("own").info("beside")


async def test_every_line_of_a_pass_names_the_deployment_and_the_pass(written: io.StringIO) -> None:
    queue, reconciler = WorkQueue[names.Key](), Talkative()
    other = names.Key("elsewhere", "demo")
    queue.add(KEY)
    queue.add(other)
    workers = [asyncio.create_task(run_worker(reconciler, queue)) for _ in range(2)]  # type: ignore[arg-type] - as much of one as is needed
    structlog.get_logger("own").info("outside")
    async with asyncio.timeout(20):
        while not all(reconciler.own.registry.get_sample_value(PASSES.name, {"outcome": outcome}) for outcome in ("ok", "error")):
            await asyncio.wait(workers, timeout=0.01)
            assert not any(worker.done() for worker in workers), [worker.result() for worker in workers if worker.done()]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    lines: list[dict[str, Any]] = [json.loads(line) for line in written.getvalue().splitlines()]
    outside = [line for line in lines if line["event"] == "outside"]
    assert [("deployment" in line, "reconcile" in line) for line in outside] == [(False, False)]
    inside = [line for line in lines if line["event"] != "outside"]
    assert {line["event"] for line in inside} == {"own", "library", "beside", "pass failed"}
    passes = {line["reconcile"]: line["deployment"] for line in inside}
    assert sorted(passes.values()) == [str(other), str(KEY)]
    assert all(len(name) == 8 for name in passes)
    assert all(line["of"] == line["deployment"] for line in inside if "of" in line)
    assert [line["deployment"] for line in inside if line["event"] == "pass failed"] == [str(KEY)]
