"""Values files of installations that differ in every respect the chart knows; each has a golden rendering."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {}

HIGHLY_AVAILABLE: dict[str, Any] = {
    "image": {
        "repository": "registry.example.com/llama-operator",
        "digest": f"sha256:{'0123456789abcdef' * 4}",
        "pullSecrets": [{"name": "pull"}],
    },
    "replicas": 2,
    "prometheus": {"url": "http://prometheus-operated.monitoring.svc:9090", "staleSeconds": 30},
    "monitoring": {
        "podMonitors": {
            "enabled": True,
            "intervalSeconds": 15,
            "labels": {"release": "kube-prometheus-stack"},
            "servingLimits": {"samples": 50000, "labels": 0, "bodySize": "64MB"},
        },
        "dashboards": {"label": {"name": "dashboard", "value": "llama"}, "annotations": {"grafana_folder": "Llama"}},
    },
    "cost": {
        "gpuHourPrices": {"nvidia-h100-80gb": 2.5, "cpu": 0.04},
        "apiPrices": [{"name": 'An "API"', "asOf": "2026-11", "prompt": [1, 2.5], "generated": [3, 4]}],
    },
    "networkPolicy": {"enabled": True},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
    "podAnnotations": {"example.com/owner": "platform"},
    "serviceAccount": {"annotations": {"example.com/role": "llama"}},
}

TWO_NAMESPACES: dict[str, Any] = {
    "watchNamespaces": ["llm-a", "llm-b"],
    "rbac": {"readNodesAndPods": False, "aggregatedRoles": False},
    "head": {"storage": {"type": "emptyDir"}},
    "monitoring": {"dashboards": {"enabled": False}},
    "cost": {"apiPrices": []},
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/company/ca.crt"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "company-ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/company", "readOnly": True}],
}

CASES = {"defaults": DEFAULTS, "highly-available": HIGHLY_AVAILABLE, "two-namespaces": TWO_NAMESPACES}

MONITORED: dict[str, Any] = {
    "monitoring": {
        "podMonitors": {"enabled": True},
        "rules": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
        "dashboards": {"grafanaOperator": {"enabled": True}},
    },
}
SCRAPED_BY_ANNOTATION: dict[str, Any] = {"monitoring": {"podMonitors": {"enabled": False}, "rules": {"enabled": False}}}
RIGHTS_OF_ONES_OWN: dict[str, Any] = {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "somebody"}}
SECOND_RELEASE: dict[str, Any] = {
    "fullnameOverride": "second",
    "watchNamespaces": ["llm-c"],
    "leaderElection": {"leaseName": "second", "leaseSeconds": 30},
    "rbac": {"aggregatedRoles": False},
}
PINNED_TO_NODES: dict[str, Any] = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["system"]}]}]
            }
        }
    },
    "resources": {"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
    "podLabels": {"team": "platform"},
}
MIRRORED: dict[str, Any] = {
    "hub": {"endpoint": "https://hub.example.com"},
    "serving": {"defaultImage": "registry.example.com/ray-llm@sha256:" + "0" * 64},
    "extraEnv": [{"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}],
    "canary": {"intervalSeconds": 60},
}
QUIET: dict[str, Any] = {
    "log": {"level": "warning", "format": "console"},
    "reconcile": {"resyncSeconds": 300, "workers": 2},
    "head": {"storage": {"type": "pvc", "className": "fast", "size": "5Gi"}},
    "ports": {"health": 9081, "metrics": 9082},
    "networkPolicy": {"enabled": True},
}

INSTALLATIONS = {
    **CASES,
    "monitored": MONITORED,
    "scraped-by-annotation": SCRAPED_BY_ANNOTATION,
    "rights-of-ones-own": RIGHTS_OF_ONES_OWN,
    "second-release": SECOND_RELEASE,
    "pinned-to-nodes": PINNED_TO_NODES,
    "mirrored": MIRRORED,
    "quiet": QUIET,
}
"""All of them, those without a golden rendering too: each is held against the schemas of Kubernetes."""
