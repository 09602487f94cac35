"""LlamaDeployments as the API server would give them, in the states that `kubectl llama` is asked about."""

from __future__ import annotations

from typing import Any

NOW = 1_790_000_000.0 + 3600
"""2026-09-21T15:13:20Z."""
UID = "11111111-2222-3333-4444-555555555555"
DAY = "2026-09-21T"

GOOD = {
    "Accepted": ("True", "Fits", "tensor 8 x pipeline 1, 8 GPUs: 56.73 GiB of weights on the fullest"),
    "Available": ("True", "Serving", "2 of 2 wanted replicas serve"),
    "Progressing": ("False", "Complete", "2 of 2 replicas are ready"),
    "Scaling": ("True", "Steady", "90 requests in hand, at 64 a replica that is 2"),
    "MetricsAvailable": ("True", "Fresh", "all signals are there and fresh"),
    "ScalingContested": ("False", "SoleWriter", "nobody else sets the number of replicas"),
    "Degraded": ("False", "Healthy", "nothing is known to be broken"),
}

# The newest with all that is kept of its moment, the one before as an operator wrote it that kept the words alone.
CHANGES = [
    {
        "time": f"{DAY}14:58:10Z",
        "from": 1,
        "to": 2,
        "reason": "ScaledUp",
        "message": "92 requests in hand, at 64 a replica that is 2; from 1 to 2",
        "askedReplicas": 3,
        "currentReplicas": 1,
        "loadingReplicas": 0,
        "minReplicas": 1,
        "maxReplicas": 2,
        "votes": [
            {"signal": "requests", "value": 92.0, "replicas": 1.438, "ageSeconds": 2.0},
            {"signal": "slots", "value": 92.0, "replicas": 2.3, "ageSeconds": 7.0},
            {"signal": "prompts", "ageSeconds": 6.0},
        ],
        "cappedBy": [{"by": "window", "message": "3 would do; maxReplicas of window night allows 2"}],
    },
    {
        "time": f"{DAY}13:20:00Z",
        "from": 3,
        "to": 1,
        "reason": "ScaledDown",
        "message": "12 requests in hand, at 64 a replica that is 1; from 3 to 1",
    },
]

SCALING = {
    "desiredReplicas": 2,
    "currentReplicas": 2,
    "loadingReplicas": 0,
    "askedReplicas": 2,
    "minReplicas": 1,
    "maxReplicas": 4,
    "openWindows": [],
    "scaleDownWindow": {"seconds": 600, "message": "by what being wrong costs, at loads of 400 s"},
    "reason": "Steady",
    "message": "90 requests in hand, at 64 a replica that is 2",
    "observedTime": f"{DAY}15:13:00Z",
    "signals": [{"name": "requestsInFlight", "value": 90.0, "ageSeconds": 4.0}],
    "votes": [{"signal": "requests", "value": 90.0, "replicas": 1.406, "ageSeconds": 4.0}],
    "cappedBy": [],
    "changes": CHANGES,
    "memory": {"since": 1.0},
}


def conditions(**over: tuple[str, str, str] | None) -> list[dict[str, Any]]:
    """All of them, those of `over` otherwise, or with None absent."""
    said = {kind: value for kind, value in (GOOD | over).items() if value is not None}
    return [
        {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": f"{DAY}14:13:20Z"}
        for kind, (status, reason, message) in said.items()
    ]


def llama(name: str = "llama-405b", spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """One that serves and scales by itself; `status` over its status."""
    ready = {"gang": 0, "phase": "Ready", "message": "", "pods": [f"{name}-0a-g0-0"], "since": f"{DAY}14:13:20Z"}
    autoscaling = {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 64}}
    said = {
        "observedGeneration": 3,
        "phase": "Ready",
        "ready": "2/2",
        "replicas": [ready, ready | {"gang": 1, "pods": [f"{name}-0a-g1-0"]}],
        "conditions": conditions(),
        "autoscaling": SCALING,
    }
    return {
        "apiVersion": "llama-operator.dev/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": "llm", "uid": UID, "generation": 3, "creationTimestamp": f"{DAY}08:00:00Z"},
        "spec": {"autoscaling": autoscaling, "replicas": 1} if spec is None else spec,
        "status": said | status,
    }


def event(time: str, message: str, *, reason: str = "ScaledUp", uid: str = UID, last: str | None = None) -> dict[str, Any]:
    """An Event of it."""
    involved = {"kind": "LlamaDeployment", "name": "llama-405b", "uid": uid}
    return {"reason": reason, "message": message, "firstTimestamp": time, "lastTimestamp": last or time, "involvedObject": involved}
