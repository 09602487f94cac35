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
        "podMonitors": {"enabled": True, "intervalSeconds": 15, "labels": {"release": "kube-prometheus-stack"}},
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
