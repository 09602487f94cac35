"""The local cluster itself: it starts, breaks and mends on request, and leaves the machine as it was.

These tests run a cluster of their own beside the one that the other tests use: another name, another range.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localcluster import cgroups, configs, settings
from localcluster.audit import WRITES, count
from localcluster.cluster import NODES, Cluster, process_names
from localcluster.errors import AddressInUse, LocalClusterError
from localcluster.progress import Progress
from localcluster.waiting import wait_for
from playground.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="the local cluster needs root"),
    pytest.mark.skipif("LLAMA_KUBECONFIG" in os.environ, reason="a foreign cluster is used; these tests are about the local one"),
    pytest.mark.timeout(600),
]

TRIAL = settings.Settings(cache=settings.load().cache, name="trial", range="10.214.0.0/16")
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max")


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def machine() -> dict[str, Any]:
    """What the cluster could leave behind, as far as the machine shows it."""
    v1, v2 = cgroups.hierarchies(Path("/proc/self/mounts").read_text())
    run = str(TRIAL.run)
    commands = [path.read_bytes() for entry in Path("/proc").iterdir() if (path := entry / "cmdline").exists() and entry.name.isdigit()]
    return {
        "links": [line.split()[0] for line in said("ip", "-br", "link").splitlines()],
        "routes": said("ip", "-4", "route", "show", "table", "all"),
        "mounts": Path("/proc/self/mounts").read_text(),
        "cgroups": sorted(str(mount / TRIAL.cgroup) for mount in (*v1, *v2) if (mount / TRIAL.cgroup).exists()),
        "processes": [command for command in commands if run.encode() in command],
        "sysctls": {name: (Path("/proc/sys") / name).read_text() for name in SYSCTLS if (Path("/proc/sys") / name).exists()},
        "places": {
            place: sorted(entry.name for entry in Path(place).iterdir())
            for place in ("/var/lib", "/var/log", "/etc", "/opt", "/run")
            if Path(place).exists()
        },
        "namespaces": sorted(entry.name for entry in Path("/run/netns").iterdir()) if Path("/run/netns").exists() else [],
        "run": TRIAL.run.exists(),
        "kubectl's": sorted(str(path) for path in (Path.home() / ".kube").rglob("*")),
    }


def pod(name: str, *, node: str = "", script: str = "exec sleep 100000", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": f"docker.io/{configs.PAUSE_IMAGE}",
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-c", script],
        **spec.pop("container", {}),
    }
    body: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1, "securityContext": {"runAsUser": 1000}, **spec}
    if node:
        body["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}}, "spec": body}


def phase(cluster: Cluster, name: str) -> str:
    return str(cluster.api.get(f"/api/v1/namespaces/default/pods/{name}")["status"].get("phase"))


def wait_running(cluster: Cluster, name: str) -> dict[str, Any]:
    wait_for(f"pod {name} runs", lambda: phase(cluster, name) == "Running", seconds=40)
    return dict(cluster.api.get(f"/api/v1/namespaces/default/pods/{name}"))


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    Cluster(TRIAL, progress=Progress(quiet=True)).down()
    return machine()


@pytest.fixture
def cluster(before: dict[str, Any]) -> Cluster:
    trial = Cluster(TRIAL, progress=Progress(quiet=True))
    trial.ensure_up()
    return trial


@pytest.fixture(scope="module", autouse=True)
def gone_at_the_end() -> Iterator[None]:
    yield
    Cluster(TRIAL, progress=Progress(quiet=True)).down()


def test_stopping_what_does_not_run_is_no_error(before: dict[str, Any]) -> None:
    trial = Cluster(TRIAL, progress=Progress(quiet=True))
    trial.down()
    trial.down()
    assert machine() == before
    assert not any(state["running"] for state in trial.status().values())


def test_starting_again_changes_nothing_that_runs(cluster: Cluster) -> None:
    pids = {name: state["pid"] for name, state in cluster.status().items()}
    cluster.ensure_up()
    assert {name: state["pid"] for name, state in cluster.status().items()} == pids
    assert None not in pids.values()


def test_a_pod_gets_gpus_a_volume_a_name_and_the_way_to_the_host(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.api.apply(claim)
    cluster.api.apply(service)
    web = pod(
        "web",
        node="node-a",
        script="echo hello > /data/index.html; exec /bin/busybox httpd -f -p 8080 -h /data",
        container={"resources": {"limits": {"nvidia.com/gpu": "8"}}, "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    cluster.api.apply(web)
    wait_running(cluster, "web")
    look_up = "/bin/busybox nslookup web.default.svc.cluster.local > /dev/termination-log"
    cluster.api.apply(pod("asker", node="node-b", script=look_up, restartPolicy="Never"))
    wait_for("the name was looked up", lambda: phase(cluster, "asker") == "Succeeded", seconds=30)
    status = cluster.api.get("/api/v1/namespaces/default/pods/asker")["status"]["containerStatuses"][0]
    address = cluster.api.get("/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]
    assert address in status["state"]["terminated"]["message"]
    assert said("curl", "-sS", "--max-time", "5", f"http://{address}/") == "hello\n", "the host reaches a Service"
    cluster.api.apply(pod("wants-one", node="node-a", container={"resources": {"limits": {"nvidia.com/gpu": "1"}}}))

    def refused() -> bool:
        conditions = cluster.api.get("/api/v1/namespaces/default/pods/wants-one")["status"].get("conditions", [])
        return any("Insufficient nvidia.com/gpu" in condition.get("message", "") for condition in conditions)

    wait_for("the scheduler says that node-a has no GPU left", refused, seconds=20)
    for path in ("pods/web", "pods/asker", "pods/wants-one", "persistentvolumeclaims/data", "services/web"):
        cluster.api.delete(f"/api/v1/namespaces/default/{path}")
    wait_for("the volume is deleted", lambda: not cluster.api.get("/api/v1/persistentvolumes")["items"], seconds=30)
    assert list((TRIAL.run / "volumes").iterdir()) == []


def test_a_restarted_api_server_finds_everything_as_it_was(cluster: Cluster) -> None:
    cluster.api.apply(pod("stays"))
    uid = wait_running(cluster, "stays")["metadata"]["uid"]
    cluster.restart_apiserver()
    after = wait_running(cluster, "stays")
    assert (after["metadata"]["uid"], after["status"]["containerStatuses"][0]["restartCount"]) == (uid, 0)
    cluster.api.delete("/api/v1/namespaces/default/pods/stays")


def test_a_stopped_process_stays_stopped_until_it_is_started(cluster: Cluster) -> None:
    with cluster.stopped("kube-scheduler"):
        assert not cluster.status()["kube-scheduler"]["running"]
        cluster.api.apply(pod("waits"))
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert phase(cluster, "waits") == "Pending"
            time.sleep(0.2)  # noqa: TID251 - nothing may happen in these two seconds
    wait_running(cluster, "waits")
    cluster.api.delete("/api/v1/namespaces/default/pods/waits")


def test_a_lost_node_takes_its_pods_with_it_and_comes_back_with_its_gpus(cluster: Cluster) -> None:
    # Pods of earlier tests may still end, which this one must not see as a loss.
    wait_for("earlier pods are gone", lambda: not cluster.api.get("/api/v1/namespaces/default/pods")["items"], seconds=60)
    cluster.api.apply(pod("victim", node="node-b"))
    cluster.api.apply(pod("neighbour", node="node-a"))
    wait_running(cluster, "victim")
    wait_running(cluster, "neighbour")
    neighbours = cgroups.processes(TRIAL.cgroup, "node-a")
    assert cgroups.processes(TRIAL.cgroup, "node-b")
    cluster.lose_node("node-b")
    assert not cgroups.processes(TRIAL.cgroup, "node-b")
    assert neighbours <= cgroups.processes(TRIAL.cgroup, "node-a"), "the other node's pods go on"

    def not_ready() -> bool:
        conditions = cluster.api.get("/api/v1/nodes/node-b")["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] != "True" for c in conditions)

    wait_for("Kubernetes says that node-b is not ready", not_ready, seconds=45)
    cluster.restore_node("node-b")
    assert cluster.api.get("/api/v1/nodes/node-b")["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    for name in ("victim", "neighbour"):
        cluster.api.delete(f"/api/v1/namespaces/default/pods/{name}")


def test_the_audit_log_tells_who_wrote_what(cluster: Cluster) -> None:
    mark = cluster.audit.mark()
    cluster.api.apply(pod("audited"))
    cluster.api.delete("/api/v1/namespaces/default/pods/audited")
    wait_for("both writes are logged", lambda: count(cluster.audit.since(mark), user="llama-local:harness")[("delete", "pods")], seconds=10)
    writes = {key: n for key, n in count(cluster.audit.since(mark), user="llama-local:harness").items() if key[0] in WRITES}
    assert writes == {("patch", "pods"): 1, ("delete", "pods"): 1}


@pytest.mark.parametrize("name", ["kubelet-node-a", "containerd-node-b", "kube-apiserver", "kube-proxy"])
def test_up_mends_what_was_killed(cluster: Cluster, name: str) -> None:
    cluster.signal_process(name, signal.SIGKILL)
    wait_for(f"{name} is dead", lambda: not cluster.status()[name]["running"], seconds=10)
    cluster.ensure_up()
    assert all(state["running"] for state in cluster.status().values())


def test_up_works_after_the_whole_box_was_killed(cluster: Cluster) -> None:
    pid = cluster.box.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for("the box is gone", lambda: cluster.box.pid is None, seconds=10)
    cluster.ensure_up()
    assert sorted(cluster.status()) == sorted(process_names())
    assert all(state["running"] for state in cluster.status().values())


@pytest.mark.parametrize("after_seconds", [0.3, 0.8, 1.5, 3.0])
def test_up_works_after_an_interrupted_up(before: dict[str, Any], after_seconds: float) -> None:
    """The command is killed, not asked: nothing of it may need to run to the end."""
    trial = Cluster(TRIAL, progress=Progress(quiet=True))
    trial.down()
    pid = os.fork()
    if pid == 0:  # the child is killed below, in the middle of its work
        try:
            Cluster(TRIAL, progress=Progress(quiet=True)).ensure_up()
        finally:
            os._exit(0)
    time.sleep(after_seconds)  # noqa: TID251 - the moment of the interruption is what the cases differ in
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    trial.ensure_up()
    assert all(state["running"] for state in trial.status().values())


def test_a_range_in_use_is_named(before: dict[str, Any]) -> None:
    taken = settings.Settings(cache=TRIAL.cache, name="other", range="10.215.0.0/16")
    said("ip", "route", "add", "10.215.7.0/24", "dev", "lo")
    try:
        with pytest.raises(AddressInUse, match=r"10\.215\.0\.0/16 is in use on this host: 10\.215\.7\.0/24 is routed through lo"):
            Cluster(taken, progress=Progress(quiet=True)).ensure_up()
    finally:
        said("ip", "route", "del", "10.215.7.0/24", "dev", "lo")


def test_names_that_do_not_exist_are_refused_with_those_that_do(cluster: Cluster) -> None:
    with pytest.raises(LocalClusterError, match=r"'kubelet' is not one of the cluster's: .*kubelet-node-a"):
        cluster.stop_process("kubelet")
    with pytest.raises(LocalClusterError, match=r"'node-c' is not one of the cluster's: node-a, node-b"):
        cluster.lose_node("node-c")


def test_down_leaves_nothing_even_with_pods_and_volumes_running(cluster: Cluster, before: dict[str, Any]) -> None:
    for node in NODES:
        cluster.api.apply(pod(f"left-on-{node}", node=node, volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]))
        wait_running(cluster, f"left-on-{node}")
    tools = Tools(cluster)
    subprocess.run([*tools.kubectl(), "get", "nodes"], env=tools.env(), check=True, capture_output=True)
    tools.helm("list")
    assert machine() != before
    cluster.down()
    after = machine()
    for what, value in before.items():
        assert after[what] == value, f"{what} differ"
