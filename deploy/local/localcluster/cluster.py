"""The local cluster as tests, the demo and the commands use it: start, stop, break and mend it.

    cluster = Cluster()
    cluster.ensure_up()
    with cluster.stopped("kube-apiserver"): ...

With LLAMA_KUBECONFIG and LLAMA_CONTEXT set, the same object stands for that cluster: nothing is started, and what only the local one
offers raises `ForeignCluster`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import addresses, audit, cgroups, debian, nodes, programs, prometheus
from . import settings as settings_module
from .api import Api
from .box import Box
from .commands import need
from .errors import ForeignCluster, LocalClusterError, MissingTool
from .layout import CONTROL_PLANE, Layout
from .progress import Progress
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Settings

MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"
NODES = addresses.NODES


class Cluster:
    """The local cluster, or the one that the environment names."""

    def __init__(self, settings: Settings | None = None, *, progress: Progress | None = None) -> None:
        """Nothing is started or looked at."""
        self.settings = settings or settings_module.load()
        self.foreign = settings_module.foreign(os.environ)
        self.progress = progress or Progress()
        self.box = Box(self.settings.run)

    # --- what every cluster has -----------------------------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig to use."""
        return self.foreign.kubeconfig if self.foreign else self.settings.kubeconfig

    @property
    def context(self) -> str:
        """The context in it to use."""
        return self.foreign.context if self.foreign else settings_module.CONTEXT

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl, Helm and `kubectl llama` are told: this cluster's kubeconfig, and a place of ours for what they note of its API
        server, which else is the user's ~/.kube/cache (getDefaultCacheDir, of Helm too, in
        https://github.com/kubernetes/cli-runtime/blob/v0.34.4/pkg/genericclioptions/config_flags.go). The local cluster's goes with `down`.
        """
        place = self.settings.cache if self.foreign else self.settings.run
        return {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(place / "kube-cache")}

    @property
    def api(self) -> Api:
        """A client of the API server. On the local cluster its user is `llama-local:harness`, so that audits can leave it out."""
        if self.foreign:
            return Api(self.foreign.kubeconfig, self.foreign.context)
        return Api(self.layout.user_config("harness"), settings_module.CONTEXT)

    def ensure_up(self) -> None:
        """Start whatever of the cluster does not run; on a foreign cluster, only check that it answers.

        Raises:
            LocalClusterError: it cannot be started; the message says what is missing, in use or broken.

        """
        if self.foreign:
            if not self.api.ready():
                raise LocalClusterError(f"the cluster of context {self.context} in {self.kubeconfig} does not say that it is ready")
            return
        _need_root("start the local cluster")
        with self._locked():
            self._up()

    # --- what only the local cluster has --------------------------------------------------------------------------------------------

    @cached_property
    def layout(self) -> Layout:
        """Files and commands of the local cluster; finds or makes the programs on first use."""
        self._only_local("the layout")
        found = programs.ensure(self.settings, self.progress)
        unpacked = debian.ensure(self.settings, self.progress)
        return Layout(self.settings, addresses.plan(self.settings.range), found, unpacked)

    @property
    def host_ip(self) -> str:
        """The host's address as pods reach it: a test's server binds to it."""
        self._only_local("host_ip")
        return addresses.plan(self.settings.range).host

    @property
    def audit(self) -> audit.AuditLog:
        """The API server's audit log."""
        self._only_local("the audit log")
        return audit.AuditLog(self.settings.audit_log)

    def down(self) -> None:
        """Stop everything and remove it; the last logs are kept in `settings.last_logs`. Safe when nothing runs."""
        self._only_local("down")
        _need_root("stop the local cluster")
        with self._locked():
            self._clear()

    def status(self) -> dict[str, dict[str, Any]]:
        """Each process that should run: `running` and `exit` (its last exit status, or None)."""
        self._only_local("status")
        known = self.box.processes()
        return {name: known.get(name, {"pid": None, "running": False, "exit": None}) for name in process_names()}

    def stop_process(self, name: str, *, grace: float = 0) -> None:
        """End one process and leave it ended: SIGKILL, or SIGTERM and `grace` seconds first. Names: `process_names()`."""
        self._check_name(name)
        self.box.end(name, grace=grace)

    def start_process(self, name: str) -> None:
        """Start one process again, and wait until it serves where that can be seen."""
        self._check_name(name)
        command = self.layout.command(name)
        self.box.spawn(name, command.argv, env=command.env)
        if name == "kube-apiserver":
            self._wait_for_api()
        if name.startswith("containerd-"):
            nodes.wait_for_containerd(self.layout, self.box, name.removeprefix("containerd-"))

    def signal_process(self, name: str, number: signal.Signals) -> None:
        """Send any signal, for example SIGSTOP and SIGCONT, to one process."""
        self._check_name(name)
        self.box.signal(name, number)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """End one process for as long as the block runs."""
        self.stop_process(name)
        try:
            yield
        finally:
            self.start_process(name)

    def restart_apiserver(self) -> None:
        """Kill the API server and wait until its successor is ready; every watch breaks."""
        self.stop_process("kube-apiserver")
        self.start_process("kube-apiserver")

    def lose_node(self, node: str) -> None:
        """What a power cut does: the node's kubelet, containerd and every process of its pods end at once.

        Kubernetes notices after 20 s (`NotReady`).
        """
        self._check_node(node)
        self.box.end(f"kubelet-{node}", grace=0)
        self.box.end(f"containerd-{node}", grace=0)
        self._kill_shims(node)
        cgroups.kill_all(self.settings.cgroup, node)

    def restore_node(self, node: str) -> None:
        """Start a lost node's containerd and kubelet again and wait until it is Ready with its GPUs."""
        self._check_node(node)
        self.start_process(f"containerd-{node}")
        self.start_process(f"kubelet-{node}")
        self._wait_for_nodes([node])

    def load_image(self, archive: Path) -> None:
        """Load a docker-archive into both nodes.

        Raises:
            ForeignCluster: its nodes cannot be reached from here; the image belongs in a registry.
            LocalClusterError: the file is not there, or containerd refused it.

        """
        self._only_local("load_image (push the image to a registry that your cluster pulls from)")
        if not archive.is_file():
            raise LocalClusterError(f"image archive {archive}: no such file. Build it first: python -m localcluster image build")
        nodes.import_image(self.layout, self.box, archive, snapshotter=self._snapshotter())

    # --- how ------------------------------------------------------------------------------------------------------------------------

    def _up(self) -> None:
        progress, layout = self.progress, self.layout
        if self.box.pid is None:
            self._clear()
            nodes.check_host(layout)
        self.settings.run.mkdir(parents=True, exist_ok=True)
        self.settings.run.chmod(0o755)
        self.settings.audit_log.parent.mkdir(exist_ok=True)
        if all(state["running"] for state in self.status().values()) and self.api.ready():
            self._wait_for_nodes(list(NODES))
            prometheus.ensure(self)  # an interrupted start may have come this far
            progress.note(f"the cluster runs already. KUBECONFIG={self.kubeconfig}")
            return
        with progress.step("start the box and its network"):
            self.box.start()
            nodes.set_up_network(layout, self.box)
        with progress.step("write certificates and configuration"):
            layout.write_pki()
            layout.write_configs(
                iptables_mode=nodes.pick_iptables(layout, self.box),
                snapshotter=self._snapshotter(),
                cgroup_roots={node: cgroups.make(self.settings.cgroup, node) for node in NODES},
            )
        with progress.step("start containerd on two nodes"):
            for node in NODES:
                self.start_process(f"containerd-{node}")
            nodes.import_image(layout, self.box, nodes.pause_archive(layout), snapshotter=self._snapshotter())
        with progress.step("start etcd and the API server"):
            self.start_process("etcd")
            self.start_process("kube-apiserver")
            self.api.apply_file(MANIFESTS / "base.yaml")
        with progress.step("start the controllers, DNS, the proxy and the kubelets"):
            for name in process_names():
                self.start_process(name)
        with progress.step("wait for two nodes with 8 GPUs each"):
            self._wait_for_nodes(list(NODES))
            wait_for("the default service account exists", self._default_account, seconds=30)
        prometheus.ensure(self)
        progress.note(f"the cluster runs. KUBECONFIG={self.kubeconfig} (context {self.context})")

    def _clear(self) -> None:
        running = self.box.pid is not None
        if running:
            with self.progress.step("end the box and everything in it"):
                self.box.kill()
        nodes.remove_host_link(self.settings.link)
        cgroups.kill_all(self.settings.cgroup)
        cgroups.remove(self.settings.cgroup)
        if self.settings.run.exists():
            with self.progress.step("remove the cluster's state"):
                if self.settings.logs.is_dir():
                    shutil.rmtree(self.settings.last_logs, ignore_errors=True)
                    shutil.move(self.settings.logs, self.settings.last_logs)
                shutil.rmtree(self.settings.run)

    def _snapshotter(self) -> str:
        record = self.settings.run / "snapshotter"
        if not record.exists():
            record.write_text(nodes.pick_snapshotter(self.layout, self.box))
        return record.read_text()

    def _wait_for_api(self) -> None:
        wait_for("the API server is ready", self.api.ready, seconds=60, hint=f"See {self.settings.logs}/kube-apiserver.log")

    def _default_account(self) -> bool:
        """A pod cannot be made in a namespace before this: the controller manager makes it a moment after its own start."""
        return any(item["metadata"]["name"] == "default" for item in self.api.get("/api/v1/namespaces/default/serviceaccounts")["items"])

    def _wait_for_nodes(self, names: list[str]) -> None:
        def all_ready() -> bool:
            found = {node["metadata"]["name"]: node for node in self.api.get("/api/v1/nodes")["items"]}
            return all(name in found and node_is_ready(found[name]) for name in names)

        wait_for(
            f"{' and '.join(names)} ready with GPUs",
            all_ready,
            seconds=90,
            every=0.3,
            hint=f"See {self.settings.logs}/kubelet-*.log and keeper.log",
        )

    def _kill_shims(self, node: str) -> None:
        """End the node's containerd-shims (they outlive containerd, on purpose); their command line names the node's socket."""
        pattern = f"{self.layout.node_state(node)}/containerd.sock".encode()
        for entry in Path("/proc").iterdir():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except (FileNotFoundError, ProcessLookupError):
                continue
            if argv and b"containerd-shim" in argv[0] and pattern in argv:
                os.kill(int(entry.name), signal.SIGKILL)

    def _only_local(self, what: str) -> None:
        if self.foreign:
            raise ForeignCluster(
                f"{what}: only the local cluster has it. Unset LLAMA_KUBECONFIG and LLAMA_CONTEXT to use the local cluster"
            )

    def _check_name(self, name: str) -> None:
        self._only_local(f"process {name}")
        if name not in process_names():
            raise LocalClusterError(f"process {name!r} is not one of the cluster's: {', '.join(process_names())}")

    def _check_node(self, node: str) -> None:
        self._only_local(f"node {node}")
        if node not in NODES:
            raise LocalClusterError(f"node {node!r} is not one of the cluster's: {', '.join(NODES)}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; the lock goes with the process that holds it."""
        path = self.settings.run.with_name(f"{self.settings.run.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def process_names() -> list[str]:
    """Every process of the cluster, in the order of starting."""
    per_node = [f"{kind}-{node}" for node in NODES for kind in ("containerd", "kubelet")]
    return [*CONTROL_PLANE, *per_node]


def node_is_ready(node: dict[str, Any]) -> bool:
    """Whether a node is Ready and has its GPUs."""
    status = node.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return ready and status.get("allocatable", {}).get("nvidia.com/gpu") == "8"


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise MissingTool(
            f"root is needed to {what} (namespaces, mounts, cgroups). "
            "Run as root, or use a cluster of your own: LLAMA_KUBECONFIG and LLAMA_CONTEXT"
        )
    for tool, package in (
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("setsid", "util-linux"),
        ("mount", "mount"),
        ("ip", "iproute2"),
    ):
        need(tool, f"to {what} (package {package})")
