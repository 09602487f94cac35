"""The authoritative LISTs: at the start, and again and again. They notice what a watch has missed, deletions above all."""

from __future__ import annotations

import asyncio

import structlog

from llama_operator.adapters.kinds import CHILD_KINDS
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.ports import ApiError, NotLeader, Reader
from llama_operator.rendering import names

log = structlog.get_logger(__name__)


async def resync(reader: Reader, store: Store, queue: WorkQueue[names.Key], namespaces: tuple[str, ...]) -> None:
    """List LlamaDeployments and their children, make the store equal to them, and have everything looked at. Raises ApiError."""
    known = set(store.deployments())
    for kind in (names.KIND, *CHILD_KINDS):
        labels = None if kind == names.KIND else names.MANAGED_SELECTOR
        items, mark = [], store.mark()
        for namespace in namespaces or (None,):
            items += await reader.list(kind, namespace, labels)
        store.replace_kind(kind, items, namespaces, mark)
    for key in known | set(store.deployments()):
        queue.remind(key)


async def resync_forever(reader: Reader, store: Store, queue: WorkQueue[names.Key], settings: Settings) -> None:
    """Resync every `resync_seconds`; one that fails is tried again at the next turn. Raises NotLeader."""
    while True:
        await asyncio.sleep(settings.resync_seconds)
        try:
            await resync(reader, store, queue, settings.watch_namespaces)
        except ApiError as error:
            log.warning("resync failed", error=str(error))
        except NotLeader:
            raise
        except Exception:  # as in a pass: one tenant's object that we trip over must not end the operator, after each restart anew
            log.exception("resync failed by a mistake in the operator")
