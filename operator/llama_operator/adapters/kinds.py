"""Where the API server keeps each kind that the operator touches."""

from __future__ import annotations

from dataclasses import dataclass

from llama_operator.rendering import names


@dataclass(frozen=True)
class Kind:
    """A kind's place in the API."""

    name: str
    prefix: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The group and version, as manifests say them."""
        return self.prefix.removeprefix("/apis/").removeprefix("/api/")

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of an object, or of the collection when `name` is None."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(names.KIND, f"/apis/{names.API_VERSION}", names.PLURAL),
        Kind("Pod", "/api/v1", "pods"),
        Kind("Secret", "/api/v1", "secrets"),
        Kind("Service", "/api/v1", "services"),
        Kind("PersistentVolumeClaim", "/api/v1", "persistentvolumeclaims"),
        Kind("Event", "/api/v1", "events"),
        Kind("Node", "/api/v1", "nodes", namespaced=False),
        Kind("ControllerRevision", "/apis/apps/v1", "controllerrevisions"),
        Kind("PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets"),
        Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies"),
        Kind("HorizontalPodAutoscaler", "/apis/autoscaling/v2", "horizontalpodautoscalers"),
        Kind("Lease", "/apis/coordination.k8s.io/v1", "leases"),
    )
}

CHILD_KINDS = ("Service", "PersistentVolumeClaim", "ControllerRevision", "PodDisruptionBudget", "NetworkPolicy")
"""Children that are not pods and may be listed. Secrets may not: the operator has no right to read any."""
