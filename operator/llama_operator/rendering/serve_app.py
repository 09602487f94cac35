"""The body of `PUT /api/serve/applications/`.

Ray Serve compares it with what runs: any difference other than the replica count restarts replicas. So it is rendered once a revision,
pinned, and only `num_replicas` is set afterwards, which also stops a PUT from resetting a count that was scaled by the REST call.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from llama_serving import config as serving


def application(config: serving.ServingConfig) -> dict[str, Any]:
    """The pinned body, without a replica count."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": serving.HTTP_PORT},  # noqa: S104 - the pod's own address; the NetworkPolicy guards it
        "applications": [
            {
                "name": serving.APP_NAME,
                "route_prefix": "/",
                "import_path": "llama_serving.app:build",
                "args": json.loads(config.to_json()),
                "external_scaler_enabled": True,
                "deployments": [{"name": config.serve_deployment}],
            }
        ],
    }


def with_replicas(body: dict[str, Any], replicas: int) -> dict[str, Any]:
    """The body for a PUT that leaves `replicas` wanted; Serve takes at least 1 here, zero only by the scale call."""
    sent = copy.deepcopy(body)
    sent["applications"][0]["deployments"][0]["num_replicas"] = max(1, replicas)
    return sent
