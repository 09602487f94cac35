"""An API server in memory, behind the ports Reader and Writer.

It keeps what the operator relies on: names are unique and a second create is refused; uids are preconditions; every change raises the
resourceVersion and a change of the spec the generation; finalizers and a pod's grace hold a deletion up; what lost its owner is collected.
It also refuses impossible children: without an owner, without our labels, or with another name than their labels say.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.lifecycle.observed import rfc3339
from llama_operator.ports import FORBIDDEN, ApiError, Conflict
from llama_operator.rendering import names

Id = tuple[str, str, str]
MAYBE_LIVE = frozenset({"Pod"})
"""Kinds whose deletion takes time."""


def identity(manifest: Mapping[str, Any]) -> Id:
    """Kind, namespace, name."""
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


@dataclass
class FakeApi:
    """Objects, and who watches them. `clock` gives seconds since 1970."""

    clock: Callable[[], float]
    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - a simulation repeats itself by its seed
    latency: float = 0.0
    """A call takes up to so many (virtual) seconds, before and after its effect."""
    before_write: Callable[[str, Mapping[str, Any]], None] = lambda verb, target: None
    """Called with every write of the operator before its effect; may raise."""
    after_write: Callable[[str, Mapping[str, Any]], None] = lambda verb, target: None
    """The same after its effect: the answer is lost."""
    objects: dict[Id, dict[str, Any]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    down: bool = False
    forbidden: frozenset[str] = frozenset()
    """Kinds that may not be listed."""
    _version: int = 100
    _applied: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By uid: what the operator applied last."""
    _watchers: list[Callable[[str, dict[str, Any]], None]] = field(default_factory=list)

    # What the harness does.

    def watch(self, observe: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        """Call `observe(type, object)` with every change from now on; returns how to stop."""
        self._watchers.append(observe)

        def stop() -> None:
            self._watchers = [other for other in self._watchers if other is not observe]

        return stop

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The live objects of a kind, to look at."""
        return [self.objects[key] for key in sorted(key for key in self.objects if key[0] == kind)]

    def touch(self, manifest: dict[str, Any], event: str = "MODIFIED") -> None:
        """The object was changed in place: a new version, told to all watchers."""
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        for observe in list(self._watchers):
            observe(event, _copy(manifest))

    def put(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Make or overwrite an object, as a user does."""
        known = self.objects.get(identity(manifest))
        made = _wire(dict(manifest))
        metadata = made["metadata"]
        if known is None:
            metadata.setdefault("uid", str(uuid.UUID(int=self.rng.getrandbits(128))))
            metadata.update(generation=1, creationTimestamp=rfc3339(self.clock()))
        else:
            changed = known.get("spec") != made.get("spec")
            made = {**known, **made, "metadata": {**known["metadata"], **metadata}, "status": known.get("status")}
            made["metadata"]["generation"] = known["metadata"]["generation"] + (1 if changed else 0)
        self.objects[identity(made)] = made
        self.touch(made, "ADDED" if known is None else "MODIFIED")
        return made

    def remove(self, manifest: Mapping[str, Any]) -> None:
        """The object is gone, now; what it owned follows."""
        gone = self.objects.pop(identity(manifest), None)
        if gone is None:
            return
        self.touch(gone, "DELETED")
        uid = gone["metadata"]["uid"]
        for child in [item for item in self.objects.values() if _owned_by(item, uid)]:
            self._begin_deletion(child, 30)

    def _begin_deletion(self, manifest: dict[str, Any], grace: int) -> None:
        metadata = manifest["metadata"]
        until = rfc3339(self.clock() + grace)
        if manifest["kind"] in MAYBE_LIVE or metadata.get("finalizers"):
            if "deletionTimestamp" not in metadata or until < metadata["deletionTimestamp"]:
                metadata["deletionTimestamp"] = until
                self.touch(manifest)
        else:
            self.remove(manifest)

    # Reader.

    async def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        cut: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """See ports.Reader."""
        await self._wait()
        self.lists[kind] += 1
        if kind in self.forbidden:
            raise ApiError(FORBIDDEN, "Forbidden", f"{kind} is forbidden: User cannot list resource")
        wanted = dict(part.split("=", 1) for part in (labels or "").split(",") if part)
        assert fields in (None, "spec.nodeName!="), f"this server does not know the field selector {fields}"
        found = []
        for item in self.all(kind):
            metadata = item["metadata"]
            own = metadata.get("labels") or {}
            if namespace not in (None, metadata.get("namespace", "")) or any(own.get(key) != value for key, value in wanted.items()):
                continue
            if fields and not (item.get("spec") or {}).get("nodeName"):
                continue
            found.append(_copy(item))
        await self._wait()
        return [cut(item) for item in found] if cut else found

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """See ports.Reader."""
        await self._wait()
        return _copy(self.objects.get((kind, namespace, name)))

    # Writer.

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """See ports.Writer."""
        await self._begin("create", manifest)
        made = None
        if identity(manifest) not in self.objects:
            if manifest["kind"] != "Event":
                self._check_child(manifest)
            made = _copy(self.put(_merge({}, manifest)))  # what is null is not there
        await self._end("create", manifest)
        return made

    async def apply(self, manifest: Mapping[str, Any], subresource: str | None = None) -> dict[str, Any]:
        """See ports.Writer. Fields that its only manager drops go."""
        await self._begin("apply", manifest)
        known = self.objects.get(identity(manifest))
        uid = manifest["metadata"].get("uid")
        if known is None or (uid and uid != known["metadata"]["uid"]):
            if uid or subresource:
                raise Conflict(409, "Conflict", "the uid in the precondition is not that of the object")
            self._check_child(manifest)
            known = self.put(_merge({}, manifest))
            self._applied[known["metadata"]["uid"]] = _wire(manifest)
        elif subresource == "status":
            self._check_status(known, manifest["status"])
            _refuse_emptied(known.get("status"), manifest["status"], "status")
            if known.get("status") != manifest["status"]:
                known["status"] = _wire(manifest["status"])
                self.touch(known)
        else:
            applied = self._applied.get(known["metadata"]["uid"])
            merged = _merge(_without(known, applied, manifest), manifest)
            _refuse_two_budgets(merged)
            self._applied[known["metadata"]["uid"]] = _wire(manifest)
            if merged != known:
                self.put(merged)
                known = self.objects[identity(manifest)]
        answer = _copy(known)
        await self._end("apply", manifest)
        return answer

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """See ports.Writer. JSON patches are those of `execute`: test and add of the finalizers."""
        target = {"kind": kind, "metadata": {"namespace": namespace, "name": name}}
        await self._begin("patch", target)
        known = self.objects.get((kind, namespace, name))
        if known is not None and isinstance(patch, Mapping):
            uid = (patch.get("metadata") or {}).get("uid")
            if uid and uid != known["metadata"]["uid"]:
                raise Conflict(409, "Conflict", "the uid in the precondition is not that of the object")
            merged = _merge(known, patch)
            if merged != known:
                known.update(merged)
                self.touch(known)
        elif known is not None:
            self._json_patch(known, patch)  # type: ignore[arg-type]
        answer = _copy(known)
        await self._end("patch", target)
        return answer

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ports.Writer."""
        target = {"kind": kind, "metadata": {"namespace": namespace, "name": name, "uid": uid}}
        await self._begin("delete", target)
        known = self.objects.get((kind, namespace, name))
        if known is not None and uid in (None, known["metadata"]["uid"]):
            default = (known.get("spec") or {}).get("terminationGracePeriodSeconds") or 0
            self._begin_deletion(known, default if grace_seconds is None else grace_seconds)
        await self._end("delete", target)

    def _json_patch(self, known: dict[str, Any], patch: Sequence[Mapping[str, Any]]) -> None:
        metadata = known["metadata"]
        for step in patch:
            assert step["path"] == "/metadata/finalizers"
            if step["op"] == "test" and metadata.get("finalizers") != step["value"]:
                raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request: test failed")
            if step["op"] == "add":
                metadata["finalizers"] = list(step["value"])
        self.touch(known)
        if metadata.get("deletionTimestamp") and not metadata["finalizers"]:
            self.remove(known)

    def _check_child(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest["metadata"]
        labels, owners = metadata.get("labels") or {}, metadata.get("ownerReferences") or []
        living = {item["metadata"]["uid"] for item in self.all(names.KIND)}
        assert [owner["uid"] in living for owner in owners] == [True], f"{identity(manifest)} has no living owner"
        assert labels.get(names.LABEL_MANAGED_BY) == names.FIELD_MANAGER, f"{identity(manifest)} is not labelled"
        assert labels.get(names.LABEL_DEPLOYMENT) == owners[0]["name"]
        assert len(metadata["name"]) <= 63
        if labels.get(names.LABEL_COMPONENT) == names.REPLICA:
            place = labels[names.LABEL_REVISION], labels[names.LABEL_GANG], int(labels[names.LABEL_RANK])
            assert metadata["name"] == names.gang_pod(owners[0]["name"], *place), "a gang's pod is named after what it is"

    def _check_status(self, known: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        assert status["observedGeneration"] <= known["metadata"]["generation"]
        assert [item["type"] for item in status["conditions"]] == list(dict.fromkeys(item["type"] for item in status["conditions"]))

    async def _wait(self) -> None:
        if self.latency:
            await asyncio.sleep(self.rng.random() * self.latency)
        if self.down:
            raise ApiError(0, "NoAnswer", "connection refused")

    async def _begin(self, verb: str, target: Mapping[str, Any]) -> None:
        await self._wait()
        self.writes[f"{verb} {target['kind']}"] += 1
        self.before_write(verb, target)

    async def _end(self, verb: str, target: Mapping[str, Any]) -> None:
        self.after_write(verb, target)
        await self._wait()


def _wire(value: Any) -> Any:
    """What the operator or a user sends, as it arrives at the other end: JSON and nothing else."""
    return json.loads(json.dumps(value))


def _copy(value: Any) -> Any:
    """What the server keeps, as a reader gets it: JSON already, so the fastest copy that the standard library has will do."""
    return marshal.loads(marshal.dumps(value))  # noqa: S302 - read back what was just written


def _owned_by(manifest: Mapping[str, Any], uid: str) -> bool:
    return any(owner["uid"] == uid for owner in manifest["metadata"].get("ownerReferences") or [])


def _refuse_emptied(before: Any, after: Any, path: str) -> None:
    """A map that loses its last entry in a server-side apply becomes null, which a schema that wants an object refuses. Raises ApiError."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return
    if before and not after:
        raise ApiError(422, "Invalid", f'{path}: Invalid value: "null": {path} in body must be of type object: "null"')
    for key in before.keys() & after.keys():
        _refuse_emptied(before[key], after[key], f"{path}.{key}")


def _refuse_two_budgets(manifest: Mapping[str, Any]) -> None:
    """ValidatePodDisruptionBudgetSpec of Kubernetes' pkg/apis/policy/validation. Raises ApiError."""
    if manifest["kind"] == "PodDisruptionBudget" and {"minAvailable", "maxUnavailable"} <= manifest["spec"].keys():
        raise ApiError(422, "Invalid", "spec: minAvailable and maxUnavailable cannot be both set")


def _without(live: Any, before: Any, after: Any) -> Any:
    """What lives, less the fields of maps that its manager applied before and no longer does."""
    if not all(isinstance(value, Mapping) for value in (live, before, after)):
        return live
    kept = {key: value for key, value in live.items() if key in after or key not in before}
    return {key: _without(value, before.get(key), after.get(key)) for key, value in kept.items()}


def _merge(base: Any, patch: Any) -> Any:
    """Maps merge, null removes, everything else is replaced: server-side apply of one manager, and a merge patch."""
    if not isinstance(patch, Mapping):
        return _wire(patch)
    there = base if isinstance(base, Mapping) else {}
    kept = {key: value for key, value in there.items() if patch.get(key, value) is not None}
    return {**kept, **{key: _merge(there.get(key), value) for key, value in patch.items() if value is not None}}
