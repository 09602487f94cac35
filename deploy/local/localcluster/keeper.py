"""What a real cluster's add-ons do, in one process: fake GPUs on the nodes, volumes for claims, scrape targets for Prometheus.

GPUs: `nvidia.com/gpu: 8` is patched into each node's status. A kubelet that registers anew sets it to 0, so it is looked at every second.

Volumes: a pending claim of the class `local-path` gets a directory (mode 0777: pods run as any user) and a PersistentVolume bound to
it; a released volume is deleted with its directory. The controller manager's own provisioner makes directories that only root can write.

Scrape targets: Debian builds Prometheus without its Kubernetes discovery. The keeper writes the pods that ask to be scraped into a file
for `file_sd_configs`, with the meta labels that `kubernetes_sd_configs` (role pod) would give, so that the relabelling is the usual one.

Run in the box: `python -m localcluster.keeper KUBECONFIG VOLUMES_DIR TARGETS_FILE`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from .api import Api, ApiError
from .settings import CONTEXT

GPUS_PER_NODE = 8
CLASS = "local-path"
GPU = "nvidia.com/gpu"
LABEL = "llama-local.dev/provisioned"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Set by the scheduler on a claim whose pod it has found a node for."""
PROVISIONER = "llama-local.dev/host-path"
SCRAPE = "prometheus.io/scrape"
PERIOD_SECONDS = 1.0  # four list requests a second, two of them from the API server's cache


def gpu_patch(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch that gives a node its GPUs; empty when it has them."""
    status, want = node.get("status", {}), str(GPUS_PER_NODE)
    fields = ("capacity", "allocatable")
    if any(name not in status for name in fields) or all(status[name].get(GPU) == want for name in fields):
        return []
    return [{"op": "add", "path": f"/status/{name}/{GPU.replace('/', '~1')}", "value": want} for name in fields]


def volume_for(claim: dict[str, Any], root: Path) -> dict[str, Any] | None:
    """The PersistentVolume that a claim waits for, or None if it waits for none of ours."""
    spec, meta = claim["spec"], claim["metadata"]
    if spec.get("storageClassName") != CLASS or spec.get("volumeName") or meta.get("deletionTimestamp"):
        return None
    # The class waits for its first consumer: a claim without a node is not wanted yet.
    if claim.get("status", {}).get("phase") != "Pending" or SELECTED_NODE not in meta.get("annotations", {}):
        return None
    name = f"local-{meta['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        # The annotation tells the controller manager that deleting is ours: its own deleter refuses paths outside /tmp.
        "metadata": {"name": name, "labels": {LABEL: "true"}, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": "Filesystem",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "hostPath": {"path": str(root / name), "type": "Directory"},
        },
    }


def is_released(volume: dict[str, Any], claims: set[str]) -> bool:
    """Whether a volume of ours has lost its claim: the controller says Released or Failed, or the claim's uid is gone."""
    if LABEL not in volume["metadata"].get("labels", {}):
        return False
    phase, uid = volume.get("status", {}).get("phase"), volume["spec"].get("claimRef", {}).get("uid")
    return phase in {"Released", "Failed"} or (phase in {"Available", "Pending"} and uid not in claims)


def targets(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Target groups of the pods that are annotated for scraping and have an address, in order of namespace and name."""
    groups = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status", {})
        annotations, address = meta.get("annotations", {}), status.get("podIP")
        if annotations.get(SCRAPE) != "true" or not address:
            continue
        labels = {
            "__meta_kubernetes_namespace": meta["namespace"],
            "__meta_kubernetes_pod_name": meta["name"],
            "__meta_kubernetes_pod_ip": address,
            "__meta_kubernetes_pod_phase": status.get("phase", "Unknown"),
            "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
            **{f"__meta_kubernetes_pod_annotation_{label_name(k)}": v for k, v in annotations.items() if k.startswith("prometheus.io/")},
            **{f"__meta_kubernetes_pod_label_{label_name(k)}": v for k, v in meta.get("labels", {}).items()},
        }
        groups.append({"targets": [address], "labels": labels})
    return sorted(groups, key=lambda group: (group["labels"]["__meta_kubernetes_namespace"], group["labels"]["__meta_kubernetes_pod_name"]))


def label_name(key: str) -> str:
    """A Kubernetes key as Prometheus writes it: what is no letter, digit or underscore becomes an underscore."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


def write_targets(file: Path, groups: list[dict[str, Any]]) -> None:
    """Write the targets by rename, if they changed: Prometheus reads the file the moment it is replaced."""
    text = json.dumps(groups, indent=1)
    if file.exists() and file.read_text() == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(file)


def one_pass(api: Api, root: Path, targets_file: Path) -> None:
    """Look at nodes, pods, claims and volumes once, and put right what is not."""
    write_targets(targets_file, targets(api.get("/api/v1/pods?resourceVersion=0")["items"]))
    for node in api.get("/api/v1/nodes?resourceVersion=0")["items"]:
        patch = gpu_patch(node)
        if patch:
            api.request("PATCH", f"/api/v1/nodes/{node['metadata']['name']}/status", patch, content_type="application/json-patch+json")
            print(f"{node['metadata']['name']}: {GPU} set to {GPUS_PER_NODE}", flush=True)
    volumes = api.get("/api/v1/persistentvolumes")["items"]
    claims = api.get("/api/v1/persistentvolumeclaims")["items"]
    uids = {claim["metadata"]["uid"] for claim in claims}
    for claim in claims:
        volume = volume_for(claim, root)
        if volume is not None:
            _provision(api, volume)
    for volume in volumes:
        if is_released(volume, uids):
            name = volume["metadata"]["name"]
            api.delete(f"/api/v1/persistentvolumes/{name}")
            shutil.rmtree(root / name, ignore_errors=True)  # half removed is tried again: the volume's name is never used twice
            print(f"volume {name} deleted", flush=True)


def _provision(api: Api, volume: dict[str, Any]) -> None:
    directory = Path(volume["spec"]["hostPath"]["path"])
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)  # mkdir's mode is cut by the umask
    try:
        api.request("POST", "/api/v1/persistentvolumes", volume)
        print(
            f"volume {volume['metadata']['name']} for {volume['spec']['claimRef']['namespace']}/{volume['spec']['claimRef']['name']}",
            flush=True,
        )
    except ApiError as error:
        if error.code != 409:  # made a pass ago, not bound yet
            raise


def main() -> None:
    """Keep going through restarts of the API server, until killed."""
    kubeconfig, root, targets_file = (Path(word) for word in sys.argv[1:4])
    api = Api(kubeconfig, CONTEXT)
    while True:
        try:
            one_pass(api, root, targets_file)
        except ApiError as error:
            print(error, flush=True)
        time.sleep(PERIOD_SECONDS)  # noqa: TID251 - the period of the loop; there is nothing to wait for


if __name__ == "__main__":
    main()
