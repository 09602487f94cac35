"""What we know of LlamaDeployments and their children other than pods: filled by LISTs, kept fresh by watch events and by our own writes.

Pods are not in here: each pass lists its own, since decisions on gangs must not be made on an old view. An entry is replaced only by
one with a higher resourceVersion, so that neither a late watch event nor a LIST from before it undoes what we were told since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.rendering import names

Id = tuple[str, str, str]


def _version(manifest: Mapping[str, Any]) -> int:
    """resourceVersions of one kind are comparable numbers (KEP-5504, and every released API server before it)."""
    try:
        return int(manifest["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


class Store:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[Id, dict[str, Any]] = {}
        self._put_at: dict[Id, int] = {}
        self._puts = 0
        self._heard: dict[Id, dict[str, Any]] = {}
        self._dropped: dict[Id, tuple[int, str | None]] = {}
        """When what was there last was dropped, as in `mark`, and its uid: until the next LIST of the kind."""

    def put(self, manifest: dict[str, Any]) -> None:
        """An object as the API server just gave it."""
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata["namespace"], metadata["name"])
        known = self._objects.get(key)
        # Of another uid too: what was made anew has a higher version than what bore its name before.
        if known is None or _version(manifest) >= _version(known):
            self._objects[key] = manifest
            self._puts += 1
            self._put_at[key] = self._puts

    def heard(self, manifest: Mapping[str, Any], *, gone: bool = False) -> bool:
        """An event told of this object: True where it tells anything but a status that changed since the event before.

        Asked of events alone, each against the one before: what a LIST or a write's answer told already may be what no pass has seen.
        """
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata["namespace"], metadata["name"])
        if gone:
            self._heard.pop(key, None)
            return True
        # The generation changes with the spec.
        told = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "managedFields")}
        before, self._heard[key] = self._heard.get(key), told
        return told != before

    def mark(self) -> int:
        """This moment, for `replace_kind`: take it before a LIST."""
        return self._puts

    def drop(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """An object that is gone; with a uid, only that one."""
        key = kind, namespace, name
        self._puts += 1
        self._dropped[key] = self._puts, uid
        known = self._objects.get(key)
        if known is not None and (uid is None or known["metadata"].get("uid") == uid):
            self._forget(key)

    def replace_kind(
        self, kind: str, manifests: Iterable[dict[str, Any]], namespaces: Iterable[str] = (), since: int | None = None
    ) -> None:
        """All objects of a kind, as a LIST gave them (of the given namespaces; of all, where none is given): what is not among them is
        gone, unless it was put here after the mark `since`, while the LIST was on its way; and what was dropped since then stays so.
        """
        scope = set(namespaces)
        listed = {(kind, item["metadata"]["namespace"], item["metadata"]["name"]): item for item in manifests}
        for key in [key for key in self._objects if key[0] == kind and key not in listed and (not scope or key[1] in scope)]:
            if since is None or self._put_at[key] <= since:
                self._forget(key)
        for key, item in listed.items():
            dropped, uid = self._dropped.get(key, (0, None))
            if since is not None and dropped > since and uid in (None, item["metadata"].get("uid")):
                continue
            if key in self._objects and self._another(key, item) and (since is None or self._put_at[key] <= since):
                self._forget(key)  # whatever its version: what is there after it was listed is newer
            self.put(item)
        self._dropped = {key: when for key, when in self._dropped.items() if key[0] != kind}
        self._heard = {key: told for key, told in self._heard.items() if key[0] != kind or key in self._objects}

    def _another(self, key: Id, item: Mapping[str, Any]) -> bool:
        return bool(self._objects[key]["metadata"].get("uid") != item["metadata"].get("uid"))

    def _forget(self, key: Id) -> None:
        del self._objects[key], self._put_at[key]

    def deployment(self, key: names.Key) -> dict[str, Any] | None:
        """The LlamaDeployment."""
        return self._objects.get((names.KIND, key.namespace, key.name))

    def deployments(self) -> list[names.Key]:
        """Every LlamaDeployment."""
        return [names.Key(namespace, name) for kind, namespace, name in self._objects if kind == names.KIND]

    def children(self, key: names.Key) -> dict[tuple[str, str], dict[str, Any]]:
        """Children of a LlamaDeployment, by kind and name."""
        return {
            (kind, name): manifest
            for (kind, namespace, name), manifest in self._objects.items()
            if namespace == key.namespace
            and kind != names.KIND
            and (manifest["metadata"].get("labels") or {}).get(names.LABEL_DEPLOYMENT) == key.name
        }
