"""One pass over one LlamaDeployment: gather, decide, write the status, act, tell."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from llama_operator.adapters.events import Events
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.api.conditions import ConditionType, find
from llama_operator.api.price import hour_price
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.api.validation import validate, warnings
from llama_operator.control import autoscaler
from llama_operator.control.admission import admit_spec
from llama_operator.control.execute import Hands, Outcome, execute
from llama_operator.control.gather import Senses, gather, pinned_revisions
from llama_operator.control.rooms import Rooms
from llama_operator.control.said import Said
from llama_operator.control.scalers import Scalers
from llama_operator.control.settings import Settings
from llama_operator.lifecycle import held, measures
from llama_operator.lifecycle.observed import World
from llama_operator.lifecycle.ownership import foreign_writer
from llama_operator.lifecycle.plan import Plan, Wish, look_again_in, plan
from llama_operator.lifecycle.plan_view import deviation
from llama_operator.lifecycle.revision import keep_running, make_wish, render_context
from llama_operator.lifecycle.scaling_view import ScalingView, newest_change, says_something_new
from llama_operator.lifecycle.status import build_status
from llama_operator.planning.admission import Admission, refuse
from llama_operator.ports import INVALID, NOT_FOUND, ApiError, Clock, Metrics, Models, NotLeader
from llama_operator.rendering import names
from llama_operator.rendering.context import RenderContext

log = structlog.get_logger(__name__)

BAD_NEWS = frozenset({"GangIncomplete", "HeadLost", "DrainDeadline"})
"""Announced steps that are warnings."""
WARNED = (ConditionType.ACCEPTED, ConditionType.METRICS_AVAILABLE, ConditionType.DEGRADED, ConditionType.SCALING_CONTESTED)
"""Conditions whose bad turn is a warning."""
DEFAULT_GPU_RESOURCE = "nvidia.com/gpu"
FAULT_LIMIT = 200
"""Characters of an unforeseen exception that an Event shows."""
READ_AGAIN_SECONDS = 15.0
"""Between two looks at a spec whose model could not be read yet; the hub itself is asked less often (`adapters.models`)."""


class StepsFailed(Exception):
    """Some steps of the pass failed; it must be tried again."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Carries a pass through its ports."""

    senses: Senses
    hands: Hands
    metrics: Metrics
    events: Events
    own: OwnMetrics
    clock: Clock
    settings: Settings
    models: Models
    rooms: Rooms
    scalers: Scalers
    said: Said = field(default_factory=Said)
    faulty: set[names.Key] = field(default_factory=set)
    """Whose fault was told, and no pass has gone well since."""

    async def reconcile(self, key: names.Key) -> float | None:
        """One pass. Returns seconds until the next look, None when the LlamaDeployment is gone. Raises ApiError, NotLeader, StepsFailed."""
        raw = self.senses.store.deployment(key)
        if raw is None:
            self.own.forget(key)
            self.said.forget(key)
            return None
        previous = self.said.last(key, raw.get("status") or {})
        spec, admission = await self._admit(raw, previous)
        gathered = await gather(self.senses, raw, spec.hardware.gpu_resource if spec else DEFAULT_GPU_RESOURCE)
        now = self.clock.now()
        world = replace(gathered, now=now)
        scaling = await self._scale(raw, spec, world, previous, admission, now)
        context = render_context(key, world.uid, spec, self.settings.render_options()) if spec else None
        wish = self._wish(world, context, scaling, previous)
        decided = plan(world, wish, self.settings.retry_policy(), now)
        running = wish.pinned.revision if wish else None
        status = build_status(world, decided, scaling, admission, previous, running, now)
        owner = await self._write_status(key, raw, previous, status)
        if owner is None:
            return None
        outcome = await execute(self.hands, world, owner, context, decided.actions)
        await self._tell(owner, previous, status, outcome, now)
        await self._warn(owner, previous, status, now)
        self._measure(world, decided, spec, status, scaling, raw)
        if outcome.errors:
            raise StepsFailed("; ".join(outcome.errors))
        return self._next_look(decided, scaling, wish, admission)

    async def _admit(self, raw: Mapping[str, Any], previous: Mapping[str, Any]) -> tuple[LlamaDeploymentSpec | None, Admission]:
        """The spec as it runs, or would; None where nothing new may be made of it. Before anything is gathered: a hub may take its time."""
        problems = validate(raw)
        if problems:
            return None, refuse(problems)
        metadata = raw["metadata"]
        pinned = pinned_revisions(self.senses.store, names.Key(metadata["namespace"], metadata["name"]), metadata["uid"])
        spec = LlamaDeploymentSpec.model_validate(raw["spec"])
        deleting = bool(metadata.get("deletionTimestamp"))
        return await admit_spec(spec, pinned, previous, self.models, self.senses.reader, deleting=deleting)

    async def _scale(
        self,
        raw: Mapping[str, Any],
        spec: LlamaDeploymentSpec | None,
        world: World,
        previous: Mapping[str, Any],
        admission: Admission,
        now: float,
    ) -> ScalingView:
        if spec is None or world.deleting:
            return autoscaler.keep(previous)
        stale = self.settings.metrics_stale_seconds
        view = await autoscaler.look(self.metrics, spec, world, previous, stale, now, plan=admission.plan, rooms=self.rooms.read)
        if not view.enabled:
            return view
        self.own.decisions.labels(view.reason).inc()
        if view.blind:
            self.own.holds.labels(view.metrics_reason).inc()
        foreign = foreign_writer(raw)
        if foreign is not None:  # a list more than a pass at rest takes, so only where there is somebody to name
            foreign = foreign_writer(raw, await self.scalers.read(world.key.namespace))
        return replace(view, foreign=foreign)

    def _measure(
        self,
        world: World,
        decided: Plan,
        spec: LlamaDeploymentSpec | None,
        status: Mapping[str, Any],
        scaling: ScalingView,
        raw: Mapping[str, Any],
    ) -> None:
        key = world.key
        self.own.happened(key, measures.happened(self.own.leaders(key), world, decided))
        served_name = spec.model.served_name or key.name if spec else ""
        cost = held.cost_gauges(world, hour_price(raw, self.settings.gpu_hour_prices))
        self.own.show(key, [*measures.gauges(key, spec, served_name, status, scaling), *cost])

    def _wish(self, world: World, context: RenderContext | None, scaling: ScalingView, previous: Mapping[str, Any]) -> Wish | None:
        if context is not None:
            return make_wish(world, context, scaling.desired)
        running = str(previous.get("revision") or "")
        return keep_running(world, running, scaling.desired) if running else None

    async def tell_fault(self, key: names.Key, error: Exception) -> None:
        """A pass ended by a mistake in the operator: an Event where the user looks, once until a pass goes well. Raises NotLeader."""
        raw = self.senses.store.deployment(key)
        if raw is None or key in self.faulty:
            return
        self.faulty.add(key)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:FAULT_LIMIT]
        message = (
            f"a mistake in the operator ended the pass, and what runs stays as it is: {reason}; it is tried again, and its log says more"
        )
        try:
            await self.events.emit(raw, "PassFailed", message, self.clock.now(), warning=True)
        except NotLeader:
            raise
        except Exception:  # the object that ended the pass may end this too
            log.exception("the fault could not be told")

    async def _write_status(
        self, key: names.Key, raw: dict[str, Any], previous: Mapping[str, Any], status: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The LlamaDeployment as it is now; None when it is gone. Raises ApiError."""
        if not says_something_new(previous, status):
            return raw
        metadata = raw["metadata"]
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": status,
        }
        try:
            written = await self.hands.writer.apply(manifest, "status")
        except ApiError as error:
            if error.status == INVALID:
                # What cannot be remembered is not begun; said where the user looks, since no condition can say it.
                message = f"the API server refuses the status, so nothing is changed; is the CRD older than the operator? {error}"
                await self.events.emit(raw, "StatusRefused", message, self.clock.now(), warning=True)
            if error.status != NOT_FOUND:
                raise  # a conflict too: what changed it may be a status, of which no event wakes a pass
            self.hands.store.drop(names.KIND, metadata["namespace"], metadata["name"], metadata["uid"])
            return None
        self.hands.store.put(written)
        self.said.note(key, status, written.get("status") or {})
        return written

    async def _tell(
        self, owner: Mapping[str, Any], previous: Mapping[str, Any], status: Mapping[str, Any], outcome: Outcome, now: float
    ) -> None:
        for action in outcome.done:
            if action.announce:
                await self.events.emit(owner, action.announce, action.why, now, warning=action.announce in BAD_NEWS)
        if (change := newest_change(previous, status)) is not None:
            await self.events.emit(owner, change["reason"], change["message"], now)
        for kind, condition in _turned(previous.get("conditions") or [], status["conditions"]):
            bad = (condition["status"] == "False") == (kind in (ConditionType.ACCEPTED, ConditionType.METRICS_AVAILABLE))
            warning = bad and kind in WARNED
            await self.events.emit(owner, condition["reason"], f"{kind}: {condition['message']}", now, warning=warning)

    async def _warn(self, owner: Mapping[str, Any], previous: Mapping[str, Any], status: Mapping[str, Any], now: float) -> None:
        """What is accepted and should yet be looked at: once a generation of the spec; and an engine that is not as it was planned."""
        if previous.get("observedGeneration") != status["observedGeneration"]:
            for problem in warnings(owner):
                await self.events.emit(owner, "SpecWarning", problem.message, now, warning=True)
        if (message := deviation(previous, status)) is not None:
            await self.events.emit(owner, "PlanDeviation", message, now, warning=True)

    def _next_look(self, decided: Plan, scaling: ScalingView, wish: Wish | None, admission: Admission) -> float:
        if wish is None and not decided.actions:
            # Nothing runs and nothing may begin: only an edit, or the hub, changes that.
            return READ_AGAIN_SECONDS
        pause = look_again_in(decided, scaling.desired)
        if admission.verdict == "waits":
            pause = min(pause, READ_AGAIN_SECONDS)
        return min(pause, self.settings.autoscale_interval_seconds) if scaling.enabled else pause


def _turned(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[tuple[ConditionType, Mapping[str, Any]]]:
    """Conditions whose status or reason changed: what is worth an Event. A condition that begins well is not, and of Scaling only that it
    holds or goes on: each change of the number has an Event of its own.
    """
    turned = []
    for condition in after:
        kind = ConditionType(condition["type"])
        old = find(before, kind)
        if old is None and condition["reason"] in ("Healthy", "Disabled", "Fresh", "SoleWriter"):
            continue
        if kind is ConditionType.SCALING and (old or {"status": "True"}).get("status") == condition["status"]:
            continue
        if old is None or (old.get("status"), old.get("reason")) != (condition["status"], condition["reason"]):
            turned.append((kind, condition))
    return turned


async def run_worker(reconciler: Reconciler, queue: Any) -> None:
    """Take keys from the work queue for ever. Only NotLeader ends it, and with it the process."""
    while True:
        key = await queue.get()
        # In every line of the pass, also those of libraries: whose it is, and which pass.
        with structlog.contextvars.bound_contextvars(deployment=str(key), reconcile=uuid.uuid4().hex[:8]):
            await _one_pass(reconciler, queue, key)


async def _one_pass(reconciler: Reconciler, queue: Any, key: names.Key) -> None:
    begun, outcome = time.perf_counter(), "ok"
    try:
        pause = await reconciler.reconcile(key)
    except (ApiError, StepsFailed) as error:
        outcome = "error"
        wait = queue.retry(key)
        log.warning("pass failed", error=str(error), again_in=round(wait, 1))
    except NotLeader:
        outcome = "error"
        raise
    except Exception as error:  # one tenant's object that we trip over must not end the passes of all the others, after each restart anew
        outcome = "fault"
        wait = queue.retry(key, fault=True)
        log.exception("pass failed by a mistake in the operator", again_in=round(wait, 1))
        await reconciler.tell_fault(key, error)
    else:
        queue.forget(key)
        reconciler.faulty.discard(key)
        if pause is not None:
            queue.add_after(key, pause)
    finally:
        queue.done(key)
        reconciler.own.passed(outcome, time.perf_counter() - begun)
