"""The configuration of every program of the cluster, rendered from addresses and paths: values in, text or arguments out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from .addresses import API_PORT
from .settings import CONTEXT

if TYPE_CHECKING:
    from pathlib import Path

    from .addresses import Addresses

PAUSE_IMAGE = "llama-local/pause:1"
CLUSTER_DOMAIN = "cluster.local"
BRIDGE_LINK = "llama-pods"
ETCD_URL = "http://127.0.0.1:2379"  # the box's own loopback


def kubeconfig(pki: Path, user: str, server: str) -> str:
    """A kubeconfig with everything inline, so that it can be read from anywhere. JSON, which is YAML."""

    def data(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
    credentials = {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    }
    return json.dumps(config, indent=1)


def audit_policy() -> str:
    """Who asked what, once per request, without bodies."""
    return json.dumps(
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}
    )


def etcd(data: Path) -> list[str]:
    """Arguments of etcd. It does not wait for the disk: a cluster that a crash of the machine takes away is made anew."""
    return [
        f"--data-dir={data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        "--log-level=warn",
    ]


def apiserver(addresses: Addresses, pki: Path, audit_policy_file: Path, audit_log: Path) -> list[str]:
    """Arguments of the API server."""
    return [
        f"--advertise-address={addresses.bridge}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--etcd-servers={ETCD_URL}",
        f"--service-cluster-ip-range={addresses.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--audit-policy-file={audit_policy_file}",
        f"--audit-log-path={audit_log}",
        "--audit-log-maxsize=500",
        # A test that stops the API server waits for its end; watches are cut rather than waited for.
        "--shutdown-delay-duration=0s",
        "--request-timeout=1m",
    ]


def controller_manager(addresses: Addresses, pki: Path, config: Path) -> list[str]:
    """Arguments of the controller manager. A lost node is NotReady after 20 s (Kubernetes' default is 50 s): tests wait for it."""
    return [
        f"--kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-cidr={addresses.pods}",
        f"--service-cluster-ip-range={addresses.services}",
        "--allocate-node-cidrs=false",
        "--node-monitor-grace-period=20s",
        "--node-monitor-period=2s",
    ]


def scheduler(config: Path) -> list[str]:
    """Arguments of the scheduler."""
    return [f"--kubeconfig={config}", "--bind-address=127.0.0.1", "--leader-elect=false"]


def kube_proxy_config(addresses: Addresses, config: Path, node: str) -> str:
    """kube-proxy: one for both nodes, which share the box's network. Kernel settings that belong to the whole machine are left alone."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(config)},
            "mode": "iptables",
            "clusterCIDR": addresses.pods,
            "hostnameOverride": node,
            "bindAddress": "0.0.0.0",
            "metricsBindAddress": "127.0.0.1:10249",
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            # Endpoints reach the rules within this; the default of 1 s is meant for large clusters.
            "iptables": {"minSyncPeriod": "100ms"},
        }
    )


def kubelet_config(addresses: Addresses, pki: Path, node: str, base: Path, cgroup_root: str, containerd_socket: str) -> str:
    """One node's kubelet. Its settings are what a machine with cgroup v1, swap, little disk and no CAP_SYS_RESOURCE needs."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": addresses.nodes[node],
            "healthzBindAddress": addresses.nodes[node],
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{pki}/ca.crt"}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/{node}.crt",
            "tlsPrivateKeyFile": f"{pki}/{node}.key",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup_root,
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,  # images cannot be pulled again: they are never collected
            "resolvConf": "/dev/null",
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [addresses.bridge],
            "containerRuntimeEndpoint": f"unix://{containerd_socket}",
            "podLogsDir": str(base / "pod-logs"),
            "volumePluginDir": str(base / "volume-plugins"),
            "maxPods": 110,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            # How soon a lost kubelet shows: the controller manager waits 20 s.
            "nodeStatusUpdateFrequency": "4s",
            "nodeStatusReportFrequency": "60s",
            "syncFrequency": "10s",
            "shutdownGracePeriod": "0s",
            "oomScoreAdj": 0,  # a lower score needs CAP_SYS_RESOURCE
        }
    )


def containerd_config(base: Path, state: str, *, runc: Path, cni_bin: Path, snapshotter: str) -> str:
    """One node's containerd. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every sandbox would die at its start."""
    return f"""version = 2
root = "{base}/containerd"
state = "{state}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{base}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  max_container_log_line_size = 65536
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{base}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""


def cni_config(addresses: Addresses, node: str, data: Path) -> str:
    """One node's pod network: both nodes share the bridge and its subnet, each has a range of its own."""
    first, last = addresses.node_pods[node]
    allocation = {"subnet": addresses.pods, "rangeStart": first, "rangeEnd": last, "gateway": addresses.bridge}
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": BRIDGE_LINK,
        "isGateway": True,
        "ipMasq": False,  # pods reach the host by a route; nothing beyond it
        "hairpinMode": True,
        "ipam": {"type": "host-local", "dataDir": str(data), "ranges": [[allocation]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": "llama-local", "plugins": plugins}, indent=1)


def corefile(addresses: Addresses, config: Path) -> str:
    """CoreDNS: the cluster's names, and nothing else (the box has no way out)."""
    return f""".:53 {{
    bind {addresses.bridge}
    errors
    ready {addresses.bridge}:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {config} {CONTEXT}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def iptables_wrappers(mode: str, multi: Path) -> dict[str, str]:
    """Scripts by name for `iptables`, `ip6tables` and their save and restore, in one of iptables' two modes (`legacy`, `nft`)."""
    names = [f"{family}{suffix}" for family in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore")]
    return {name: f'#!/bin/sh\n# mode: {mode}\nexec "{multi}" {name} "$@"\n' for name in names}
