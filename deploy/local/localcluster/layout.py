"""What the cluster's run directory holds: certificates, kubeconfigs, configuration files and, from them, each process's command line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from . import certs, configs
from .addresses import NODES, Addresses
from .box import PACKAGE_ROOT
from .debian import DebianPrograms
from .programs import Programs
from .settings import Settings

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns", "kube-proxy", "keeper")
# client certificates: file -> (user, group)
USERS = {
    "admin": ("llama-local:admin", "system:masters"),
    "harness": ("llama-local:harness", "system:masters"),  # this package itself: told apart from `admin` in the audit log
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "dns": ("llama-local:dns", ""),
    "keeper": ("llama-local:keeper", ""),
    "apiserver-kubelet": ("llama-local:apiserver", ""),
}


@dataclass(frozen=True)
class Command:
    """One process of the box."""

    argv: list[str]
    env: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """The running cluster's files and commands."""

    settings: Settings
    addresses: Addresses
    programs: Programs
    debian: DebianPrograms

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.settings.run / "pki"

    @property
    def bin(self) -> Path:
        """Wrappers that must be on the PATH of kubelets and kube-proxy."""
        return self.settings.run / "bin"

    @property
    def scrape_targets(self) -> Path:
        """The file that the keeper writes and Prometheus reads; it has a directory of its own, which the pod mounts."""
        return self.settings.run / "discovery" / "pods.json"

    def node_dir(self, node: str) -> Path:
        """State of one node: containerd's and the kubelet's roots."""
        return self.settings.run / node

    @staticmethod
    def node_state(node: str) -> str:
        """Sockets of one node, in the box's own /run (short: a UNIX socket's path holds 107 bytes)."""
        return f"/run/llama/{node}"

    def user_config(self, user: str) -> Path:
        """The kubeconfig of one user of `USERS`, or of a node."""
        return self.settings.kubeconfig if user == "admin" else self.pki / f"{user}.kubeconfig"

    def write_pki(self) -> None:
        """Make all certificates and kubeconfigs, once per cluster."""
        done = self.pki / "complete"
        if done.exists():
            return
        addresses = self.addresses
        authority = certs.Authority(self.pki)
        authority.key_pair("service-account")
        service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{configs.CLUSTER_DOMAIN}"]
        authority.issue(
            "apiserver", "kube-apiserver", names=[*service, "localhost", "127.0.0.1", addresses.bridge, addresses.kubernetes_service]
        )
        for file, (user, group) in USERS.items():
            authority.issue(file, user, organisation=group)
        for node in NODES:
            authority.issue(node, f"system:node:{node}", organisation="system:nodes", names=[node, addresses.nodes[node]])
        for user in (*USERS, *NODES):
            path = self.user_config(user)
            path.touch(mode=0o600)
            path.write_text(configs.kubeconfig(self.pki, user, addresses.api_url))
        done.touch()

    def write_configs(self, *, iptables_mode: str, snapshotter: str, cgroup_roots: dict[str, str]) -> None:
        """Write every configuration file; the same input writes the same files."""
        run, addresses = self.settings.run, self.addresses
        multi = self.debian[f"xtables-{iptables_mode}-multi"]
        files = {
            "audit-policy.json": configs.audit_policy(),
            "Corefile": configs.corefile(addresses, self.user_config("dns")),
            "kube-proxy.json": configs.kube_proxy_config(addresses, self.user_config("proxy"), NODES[0]),
            **{f"bin/{name}": text for name, text in configs.iptables_wrappers(iptables_mode, multi).items()},
        }
        for node in NODES:
            base, state = self.node_dir(node), self.node_state(node)
            files[f"{node}/kubelet.json"] = configs.kubelet_config(
                addresses, self.pki, node, base, cgroup_roots[node], f"{state}/containerd.sock"
            )
            files[f"{node}/containerd.toml"] = configs.containerd_config(
                base, state, runc=self.debian["runc"], cni_bin=self.debian.cni_bin, snapshotter=snapshotter
            )
            files[f"{node}/cni/10-llama.conflist"] = configs.cni_config(addresses, node, base / "cni-data")
        for name, text in files.items():
            path = run / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.startswith("bin/") else 0o600)

    def command(self, name: str) -> Command:
        """The command line of one process: a name of `CONTROL_PLANE`, `containerd-NODE` or `kubelet-NODE`."""
        for kind, make in (("containerd-", self._containerd), ("kubelet-", self._kubelet)):
            if name.startswith(kind):
                return make(name.removeprefix(kind))
        run, pki, addresses = self.settings.run, self.pki, self.addresses
        argv = {
            "etcd": lambda: configs.etcd(run / "etcd"),
            "kube-apiserver": lambda: configs.apiserver(addresses, pki, run / "audit-policy.json", self.settings.audit_log),
            "kube-controller-manager": lambda: configs.controller_manager(addresses, pki, self.user_config("controller-manager")),
            "kube-scheduler": lambda: configs.scheduler(self.user_config("scheduler")),
            "coredns": lambda: ["-conf", str(run / "Corefile")],
            "kube-proxy": lambda: [f"--config={run / 'kube-proxy.json'}"],
            "keeper": lambda: [
                "-m",
                "localcluster.keeper",
                str(self.user_config("keeper")),
                str(run / "volumes"),
                str(self.scrape_targets),
            ],
        }[name]()
        if name == "keeper":
            return Command([sys.executable, *argv], {"PYTHONPATH": str(PACKAGE_ROOT), "PYTHONUNBUFFERED": "1"})
        return Command([str(self.programs[name]), *argv], self._path())

    def _containerd(self, node: str) -> Command:
        return Command([str(self.debian["containerd"]), "--config", str(self.node_dir(node) / "containerd.toml")], self._path())

    def _kubelet(self, node: str) -> Command:
        base = self.node_dir(node)
        argv = [
            f"--config={base / 'kubelet.json'}",
            f"--kubeconfig={self.user_config(node)}",
            f"--root-dir={base / 'kubelet'}",
            f"--cert-dir={base / 'kubelet-pki'}",
            f"--hostname-override={node}",
            f"--node-ip={self.addresses.nodes[node]}",
        ]
        return Command([str(self.programs["kubelet"]), *argv], self._path())

    def _path(self) -> dict[str, str]:
        extra = [self.bin, self.debian["containerd-shim-runc-v2"].parent, self.debian["conntrack"].parent, self.debian["runc"].parent]
        inherited = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {"PATH": ":".join([*dict.fromkeys(str(path) for path in extra), inherited])}
