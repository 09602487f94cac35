"""What leading begins with is asked for until the API server gives it, and neither SIGTERM nor a lost Lease waits for that."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.harness.virtual_time import run_virtually

from llama_operator.adapters.kube import Kube
from llama_operator.adapters.lease import Lease
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.control import wiring
from llama_operator.control.begin import insist
from llama_operator.control.health import Health
from llama_operator.control.settings import Settings
from llama_operator.ports import ApiError, NotLeader

SHED = ApiError(429, "TooManyRequests", "slow down")
REFUSALS = [
    SHED,
    ApiError(410, "Expired", "the continue token is too old"),
    ApiError(503, "", "the server is starting"),
    ApiError(0, "NoAnswer", "no connection"),
    ApiError(401, "Unauthorized", "the token is not known"),
    ApiError(403, "Forbidden", "the service account may not list services"),
]


class Api:
    """An API server that holds the operator's key and nothing else, and fails the first LISTs."""

    def __init__(self, refusals: list[ApiError], lasting: float = 0.0) -> None:
        self.refusals, self.lasting = refusals, lasting
        self.begun = asyncio.Event()
        self.lists = 0

    async def get(self, kind: str, *_: str) -> dict[str, Any]:
        return {"data": {"key": base64.b64encode(b"k" * 32).decode()}}

    async def list(self, *_: Any) -> list[dict[str, Any]]:
        self.lists += 1
        self.begun.set()
        await asyncio.sleep(self.lasting)
        if self.refusals:
            raise self.refusals.pop(0)
        return []


class Held:
    """A Lease that is kept until it is lost."""

    def __init__(self, lost_after: float = 3600.0) -> None:
        self.lost_after, self.kept = lost_after, False

    async def keep(self, _: Kube) -> None:
        self.kept = True
        try:
            await asyncio.sleep(self.lost_after)
        finally:
            self.kept = False
        raise NotLeader("another took the Lease")


async def lead(api: Api, lease: Held, stop: asyncio.Event, health: Health) -> None:
    kube = cast("Kube", api)
    await wiring._lead(Settings(), OwnMetrics(), cast("Lease", lease), kube, kube, stop, health)


def leading() -> Health:
    return Health(held=lambda: True, standby=True, led=True)


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_the_api_server_refuses_at_the_begin_is_asked_again_and_said_meanwhile(
    refusal: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = asyncio.Event()

    async def watch(*_: Any) -> None:
        watched.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(wiring, "watch", watch)

    async def story() -> None:
        api, lease, stop, health = Api([refusal]), Held(), asyncio.Event(), leading()
        work = asyncio.create_task(lead(api, lease, stop, health))
        await api.begun.wait()
        await asyncio.sleep(0.5)
        assert not work.done()
        assert refusal.message in str(health.ready()), "an operator that cannot begin is not ready, and says why"
        assert health.healthy() is None, "a restart would mend nothing"
        await asyncio.wait_for(watched.wait(), 10)
        assert health.ready() is None
        stop.set()
        await work
        assert not lease.kept

    run_virtually(story())


def test_sigterm_during_the_first_lists_ends_the_operator_in_peace_with_nobody_left_to_renew_the_lease() -> None:
    async def story() -> None:
        for api in (Api([], lasting=600), Api([SHED] * 1000)):
            lease, stop = Held(), asyncio.Event()
            work = asyncio.create_task(lead(api, lease, stop, leading()))
            await api.begun.wait()
            await asyncio.sleep(7)
            assert lease.kept
            stop.set()
            await asyncio.wait_for(work, 2)
            assert not lease.kept, "it would take the Lease back once it was given up"

    run_virtually(story())


def test_a_lease_lost_during_the_first_lists_ends_the_operator_with_that_reason() -> None:
    async def story() -> None:
        for api in (Api([], lasting=600), Api([SHED] * 1000)):
            with pytest.raises(NotLeader, match="another took the Lease"):
                await asyncio.wait_for(lead(api, Held(lost_after=9), asyncio.Event(), leading()), 11)

    run_virtually(story())


def test_a_fault_of_its_own_at_the_begin_ends_the_operator_and_its_renewals() -> None:
    lease = Held()

    class Faulty(Api):
        async def list(self, *_: Any) -> list[dict[str, Any]]:
            await asyncio.sleep(1)
            assert lease.kept
            raise ZeroDivisionError("a fault")

    async def story() -> None:
        with pytest.raises(ZeroDivisionError):
            await lead(Faulty([]), lease, asyncio.Event(), leading())
        assert not lease.kept

    run_virtually(story())


def test_the_pauses_grow_to_ten_seconds_and_each_refusal_is_said_in_the_servers_words() -> None:
    async def story() -> None:
        at: list[float] = []
        loop = asyncio.get_running_loop()

        async def asked() -> str:
            at.append(loop.time())
            if len(at) <= 6:
                raise REFUSALS[-1]
            return "given"

        health = leading()
        with capture_logs() as said:
            assert await insist(asked, health) == "given"
        assert [round(later - earlier) for earlier, later in itertools.pairwise(at)] == [1, 2, 5, 10, 10, 10]
        assert [line["log_level"] for line in said] == ["warning"] * 6
        assert all("may not list services" in line["error"] for line in said)

    run_virtually(story())
