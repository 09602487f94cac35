"""The Lease: one writer at a time. The rules are in `lifecycle/leadership.py`; here they meet the API server and the clock.

Not `kubernetes.aio.leaderelection`: it compares wall clocks of different nodes, ends on a connection error, and gives a frozen holder
no way to notice before its next write that it was replaced (docs/adr/0003-own-lease.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from llama_operator.adapters.kube import Kube
from llama_operator.lifecycle.leadership import Observation, may_take, may_write
from llama_operator.ports import ApiError, Conflict, NotLeader

MARGIN_SECONDS = 5.0
"""We stop writing this long before a standby may start: longer than a write may take (`kube.WRITE_TIMEOUT_SECONDS`)."""

log = structlog.get_logger(__name__)


class Lease:
    """Acquires and renews the Lease; `guard` is what every write asks first."""

    def __init__(self, namespace: str, name: str, identity: str, duration: float) -> None:
        """`duration` in seconds; the Lease is renewed every fifth of it (`turn`)."""
        self._namespace, self._name, self._identity, self._duration = namespace, name, identity, duration
        self._observation = Observation(duration=duration)
        self._renewed_at: float | None = None

    @property
    def held(self) -> bool:
        """This process may write."""
        return may_write(self._renewed_at, self._duration, MARGIN_SECONDS, time.monotonic())

    @property
    def turn(self) -> float:
        """Seconds from one renewal to the next; also what one of its requests may take, so that two can hang and the Lease be kept."""
        return self._duration / 5

    def guard(self) -> None:
        """Raises NotLeader when this process may not write."""
        if not self.held:
            raise NotLeader(f"{self._identity} does not hold Lease {self._namespace}/{self._name}")

    async def acquire(self, kube: Kube) -> None:
        """Return when the Lease is ours."""
        waiting = ""
        while not await self._try(kube):
            if self._observation.holder != waiting:
                waiting = self._observation.holder
                log.info("standing by", lease=f"{self._namespace}/{self._name}", holder=waiting)
            await asyncio.sleep(self.turn)
        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)

    async def keep(self, kube: Kube) -> None:
        """Renew until it cannot be done in time. Raises NotLeader then. One that hung has used up its turn: the next comes at once."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(max(begun + self.turn - time.monotonic(), 0.0))
            begun = time.monotonic()
            if not self.held:
                raise NotLeader("the Lease ran out before it could be renewed: this process was frozen, or the API server was away")
            if not await self._try(kube) and self._observation.holder not in ("", self._identity):
                raise NotLeader(f"{self._observation.holder} took the Lease")

    async def release(self, kube: Kube) -> None:
        """Give the Lease up, so that a standby need not wait for its end."""
        if not self.held:
            return
        try:
            lease = await kube.get("Lease", self._namespace, self._name)
            if lease and (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                await kube.replace(
                    {**lease, "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "spec": {**lease["spec"], "holderIdentity": ""}}
                )
        except ApiError as error:
            log.warning("the Lease could not be released; a standby waits for its end", error=str(error))
        finally:
            self._renewed_at = None

    async def _try(self, kube: Kube) -> bool:
        begun = time.monotonic()
        try:
            lease = await kube.get("Lease", self._namespace, self._name)
            if lease is None:
                written = await kube.create_unguarded(self._manifest({}))
            else:
                self._observation = self._observation.seen(lease, begun)
                if not may_take(self._observation, self._identity, begun):
                    return False
                written = await kube.replace(self._manifest(lease))
        except Conflict:
            return False
        except ApiError as error:
            log.warning("the Lease could not be read or written", error=str(error))
            return False
        self._observation = self._observation.seen(written, begun)
        self._renewed_at = begun
        return True

    def _manifest(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        spec = dict(lease.get("spec") or {})
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if lease else 0)
        spec.update(holderIdentity=self._identity, leaseDurationSeconds=int(self._duration), renewTime=now)
        metadata = lease.get("metadata") or {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
