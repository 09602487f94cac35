"""The end of a replica whose engine has died: when, whatever else fails, and what is said where nobody can see the engine."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
from tests.harness.virtual_time import run_virtually

from llama_serving import ray_internals
from llama_serving.engines import vllm_server
from llama_serving.engines.vllm_server import VllmServer

DIED_AT = 7.25


class Ended(BaseException):
    """In place of the process's end."""


class Engine:
    """As vLLM's client: it says that it has died, and only to who asks."""

    @property
    def errored(self) -> bool:
        return asyncio.get_running_loop().time() >= DIED_AT


def replica(monkeypatch: pytest.MonkeyPatch, engine: Any, error: OSError | None = None) -> tuple[Any, list[str]]:
    """Its server's two fields, and the phases that it told the agent; `error` where they cannot be written."""
    told = list[str]()

    def enter(phase: str) -> None:
        told.append(phase)
        if error:
            raise error

    def end(status: int) -> None:
        assert status == 1
        raise Ended

    monkeypatch.setattr(ray_internals, "engine_client", lambda _: engine)
    monkeypatch.setattr(os, "_exit", end)
    return SimpleNamespace(_server=None, _lifecycle=SimpleNamespace(enter=enter)), told


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, "No space left on device")], ids=["told to the agent", "the volume is full"])
def test_it_ends_two_tenths_of_a_second_after_vllm_has_seen_its_engine_s_death(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    made, told = replica(monkeypatch, Engine(), error)

    async def life() -> float:
        with pytest.raises(Ended):
            await VllmServer._end_with_the_engine(made)
        return asyncio.get_running_loop().time()

    assert DIED_AT + vllm_server.LAST_ANSWERS_SECONDS <= run_virtually(life()) <= DIED_AT + 0.2
    assert told == ["Starting"]


def test_where_the_engine_cannot_be_seen_the_log_says_so_and_the_replica_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, told = replica(monkeypatch, SimpleNamespace(errored_in_another_vllm=False))
    run_virtually(VllmServer._end_with_the_engine(made))
    assert told == []
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.name == "llama_serving.engines.vllm_server"
    assert "errored" in str(record.exc_info and record.exc_info[1])
