"""What a new leader must have before it can do anything: the key for Ray's tokens, and what there is.

It is asked for until the API server gives it. After an outage a server sheds load for minutes (429, 503); a leader that ended over one such
answer would hand the same answer to the next, and the kubelet's back-off would then keep all of them away long after the server is back.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from llama_operator.adapters.kube import Kube
from llama_operator.adapters.tokens import Tokens, load_tokens
from llama_operator.control.health import Health
from llama_operator.control.resync import resync
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.ports import ApiError
from llama_operator.rendering import names

log = structlog.get_logger(__name__)

T = TypeVar("T")

PAUSES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between the first attempts; the last one goes on."""


async def begin(kube: Kube, unguarded: Kube, store: Store, queue: WorkQueue[names.Key], settings: Settings, health: Health) -> Tokens:
    """Load the key and fill the store, however long the API server refuses."""
    tokens = await insist(partial(load_tokens, unguarded, settings.namespace), health)
    await insist(partial(resync, kube, store, queue, settings.watch_namespaces), health)
    return tokens


async def insist(ask: Callable[[], Awaitable[T]], health: Health) -> T:
    """What `ask` gives in the end. Its ApiErrors are said in the log and at /readyz, those that last (401, 403) no less than the others:
    whoever mends the rights need not start the operator anew.
    """
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        try:
            given = await ask()
        except ApiError as error:
            health.trouble = str(error)
            log.warning("leading cannot begin yet; the API server is asked again", error=str(error), seconds=pause)
        else:
            health.trouble = ""
            return given
        await asyncio.sleep(pause)  # an API server that sheds load is not asked again at once
    raise AssertionError("the pauses never end")
