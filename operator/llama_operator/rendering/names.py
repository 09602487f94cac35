"""Every name and label of a child, in one place. Names follow from what a thing is, so that no second copy of it can be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llama_operator.api import group

GROUP = group.GROUP
API_VERSION = group.API_VERSION
KIND = group.KIND
PLURAL = group.PLURAL
FINALIZER = f"{GROUP}/children"
FIELD_MANAGER = "llama-operator"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_DEPLOYMENT = f"{GROUP}/deployment"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_COMPONENT = f"{GROUP}/component"
LABEL_GANG = f"{GROUP}/gang"
LABEL_RANK = f"{GROUP}/rank"
LABEL_TRAFFIC = f"{GROUP}/traffic"
LABEL_BENCH = f"{GROUP}/bench"
"""On the Job and pod of `kubectl llama bench`: the deployment that they measure, to which they do not belong."""
ANNOTATION_DRAIN_SINCE = f"{GROUP}/drain-since"
MANAGED_SELECTOR = f"{LABEL_MANAGED_BY}={FIELD_MANAGER}"

HEAD = "head"
REPLICA = "replica"


@dataclass(frozen=True, order=True)
class Key:
    """A LlamaDeployment's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def token_secret(name: str) -> str:
    """The Secret with Ray's authentication token."""
    return f"{name}-ray-token"


def service(name: str) -> str:
    """The Service that users call."""
    return name


def shared(name: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of the children that belong to no revision. They bear the LlamaDeployment's name, as may somebody else's object."""
    return ("Service", service(name)), ("PodDisruptionBudget", name), ("NetworkPolicy", name)


def revision_object(name: str, revision: str) -> str:
    """The ControllerRevision of one revision."""
    return f"{name}-{revision}"


def head(name: str, revision: str) -> str:
    """The head pod, and the headless Service in front of it."""
    return f"{name}-{revision}-head"


def head_store(name: str, revision: str) -> str:
    """The PersistentVolumeClaim of the head's store."""
    return f"{name}-{revision}-gcs"


def gang_pod(name: str, revision: str, gang: int | str, rank: int) -> str:
    """A pod of a gang."""
    return f"{name}-{revision}-g{gang}-{rank}"


def bench_job(name: str, suffix: str) -> str:
    """The Job of `kubectl llama bench`. A Job's name is a label of its pod: at most 63 characters."""
    return f"{name[:40]}-bench-{suffix}"


def common_labels(name: str) -> dict[str, str]:
    """Labels of every child."""
    return {
        LABEL_MANAGED_BY: FIELD_MANAGER,
        "app.kubernetes.io/name": "llama",
        "app.kubernetes.io/instance": name,
        LABEL_DEPLOYMENT: name,
    }


def revision_labels(name: str, revision: str) -> dict[str, str]:
    """Labels of a child that belongs to one revision."""
    return {**common_labels(name), LABEL_REVISION: revision}


def head_labels(name: str, revision: str) -> dict[str, str]:
    """Labels of a head pod; it takes users' traffic only while the operator says so."""
    return {**revision_labels(name, revision), LABEL_COMPONENT: HEAD, LABEL_TRAFFIC: "false"}


def gang_labels(name: str, revision: str, gang: int | str, rank: int) -> dict[str, str]:
    """Labels of a gang's pod. Traffic enters at rank 0, where the engine's server and a proxy run."""
    return {
        **revision_labels(name, revision),
        LABEL_COMPONENT: REPLICA,
        LABEL_GANG: str(gang),
        LABEL_RANK: str(rank),
        LABEL_TRAFFIC: "true" if rank == 0 else "false",
    }


def key_of(labels: Mapping[str, str], namespace: str) -> Key | None:
    """The LlamaDeployment that a child with these labels belongs to, or None."""
    name = labels.get(LABEL_DEPLOYMENT)
    return Key(namespace, name) if name else None
