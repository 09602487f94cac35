"""What the local cluster writes for others to read: configuration, images, wrappers."""

from __future__ import annotations

import json
import tarfile
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

from localcluster import addresses, api, archive, audit, certs, cgroups, configs, debian, images, pod_template, prometheus, serving_env
from localcluster.box import init_argv, is_first_process
from localcluster.cluster import MANIFESTS
from localcluster.errors import ForeignCluster

PLAN = addresses.plan("10.213.0.0/16")


def test_the_two_nodes_share_nothing_that_one_of_them_may_own() -> None:
    rendered = []
    for node in addresses.NODES:
        base, state = Path("/run-dir") / node, f"/run/llama/{node}"
        kubelet = json.loads(configs.kubelet_config(PLAN, Path("/pki"), node, base, f"/top/{node}", f"{state}/containerd.sock"))
        containerd = tomllib.loads(
            configs.containerd_config(base, state, runc=Path("/runc"), cni_bin=Path("/cni"), snapshotter="overlayfs")
        )
        cni = json.loads(configs.cni_config(PLAN, node, base / "cni-data"))
        ipam = cni["plugins"][0]["ipam"]
        rendered.append(
            {
                "address": kubelet["address"],
                "cgroup": kubelet["cgroupRoot"],
                "socket": kubelet["containerRuntimeEndpoint"],
                "logs": kubelet["podLogsDir"],
                "root": containerd["root"],
                "state": containerd["state"],
                "range": (ipam["ranges"][0][0]["rangeStart"], ipam["ranges"][0][0]["rangeEnd"]),
                "leases": ipam["dataDir"],
            }
        )
        assert kubelet["containerRuntimeEndpoint"] == f"unix://{containerd['grpc']['address']}"
    for one, other in combinations(rendered, 2):
        assert all(one[key] != other[key] for key in one)


def test_containerd_works_without_the_right_to_lower_a_score() -> None:
    text = configs.containerd_config(Path("/b"), "/s", runc=Path("/runc"), cni_bin=Path("/cni"), snapshotter="native")
    plugin = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert plugin["restrict_oom_score_adj"] is True
    assert plugin["containerd"]["snapshotter"] == "native"


def test_sockets_fit_the_kernels_limit() -> None:
    from localcluster.layout import Layout

    assert all(len(f"{Layout.node_state(node)}/containerd.sock") <= 107 for node in addresses.NODES)


def test_a_kubeconfig_is_whole_and_names_our_context(tmp_path: Path) -> None:
    authority = certs.Authority(tmp_path)
    authority.issue("admin", "llama-local:admin", organisation="system:masters")
    file = tmp_path / "kubeconfig"
    file.write_text(configs.kubeconfig(tmp_path, "admin", PLAN.api_url))
    assert api.Api(file, "llama-local").server == "https://10.213.0.1:6443"
    with pytest.raises(ForeignCluster, match="no context 'other'; it has llama-local"):
        api.Api(file, "other")
    assert (tmp_path / "admin.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}, "/api/v1/namespaces/n/pods/p"),
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, "/api/v1/namespaces/n"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}},
            "/apis/apps/v1/namespaces/n/deployments/d",
        ),
        (
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "s"}},
            "/apis/storage.k8s.io/v1/storageclasses/s",
        ),
        (
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}},
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p",
        ),
    ],
)
def test_an_object_has_its_place_in_the_api(manifest: dict[str, object], path: str) -> None:
    assert api.object_path(manifest) == path


@pytest.mark.parametrize(
    ("sentence", "mounts", "v1", "v2"),
    [
        ("v2 alone", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", [], ["/sys/fs/cgroup"]),
        (
            "v1 with v2 beside it",
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
            ["/sys/fs/cgroup/cpu"],
            ["/sys/fs/cgroup/unified"],
        ),
        ("none", "proc /proc proc rw 0 0\n", [], []),
    ],
)
def test_cgroup_hierarchies_are_found_in_the_mounts(sentence: str, mounts: str, v1: list[str], v2: list[str]) -> None:
    assert cgroups.hierarchies(mounts) == ([Path(p) for p in v1], [Path(p) for p in v2]), sentence


@pytest.mark.parametrize(
    ("sentence", "argv", "status", "want"),
    [
        ("our first process", init_argv(Path("/run-dir")), "NSpid:\t4711\t1\n", True),
        ("the one of another run directory", init_argv(Path("/other")), "NSpid:\t4711\t1\n", False),
        ("unshare, which waits for it", ["unshare", "--", *init_argv(Path("/run-dir"))], "NSpid:\t4710\n", False),
        ("a fork of it that has not yet become another program", init_argv(Path("/run-dir")), "NSpid:\t4712\t2\n", False),
        ("an editor that has the words in its arguments", ["vi", "-m", "localcluster.boxinit", "/run-dir"], "NSpid:\t4713\n", False),
    ],
)
def test_only_the_first_process_of_our_box_is_taken_for_it(tmp_path: Path, sentence: str, argv: list[str], status: str, want: bool) -> None:
    (tmp_path / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    (tmp_path / "status").write_text(status)
    assert is_first_process(tmp_path, Path("/run-dir")) is want, sentence


def test_a_process_that_is_gone_is_not_ours(tmp_path: Path) -> None:
    assert not is_first_process(tmp_path / "4711", Path("/run-dir"))


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    content = archive.layer({"bin/x": (b"x", 0o755)}, directories={"bin": 0o755}, links={"lib": "usr/lib"})
    assert content == archive.layer({"bin/x": (b"x", 0o755)}, directories={"bin": 0o755}, links={"lib": "usr/lib"})
    target = tmp_path / "a.tar"
    archive.write(target, "docker.io/llama-local/a:1", content, entrypoint=["/bin/x"], user="1000")
    assert archive.image_tags(target) == ["docker.io/llama-local/a:1"]
    with tarfile.open(target) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        (image,) = json.loads(member.read())
        config = tar.extractfile(image["Config"])
        assert config is not None
        assert json.loads(config.read())["config"] == {"Entrypoint": ["/bin/x"], "Env": [], "User": "1000"}
        assert tar.getmember(image["Layers"][0]).size == len(content)


def test_a_wrapper_puts_its_libraries_before_those_it_was_given(tmp_path: Path) -> None:
    import os
    import subprocess

    library = tmp_path / f"usr/lib/{os.uname().machine}-linux-gnu"
    library.mkdir(parents=True)
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH|$HINT|$1"\n')
    program.chmod(0o755)
    script = tmp_path / "wrapper"
    script.write_text(debian.wrapper(program, tmp_path, extra={"HINT": "h"}))
    script.chmod(0o755)
    done = subprocess.run([script, "a b"], env={"LD_LIBRARY_PATH": "/mine"}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{library}:/mine|h|a b\n"


def test_missing_and_found_libraries_are_read_from_ldd() -> None:
    said = "\tlinux-vdso.so.1 (0x0007f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x0007f)\n\tlibgpgme.so.11 => not found\n\t/lib64/ld-linux.so.2 (0x0007f)\n"
    assert debian.missing_libraries(said) == ["libgpgme.so.11"]
    assert prometheus.libraries(said) == [Path("/lib/x/libc.so.6"), Path("/lib64/ld-linux.so.2")]


def test_the_machines_mirror_is_used_for_the_base_if_it_has_the_suite() -> None:
    assert images.debian_mirror("http://mirror.example/debian bookworm\nhttp://x/ubuntu noble\n") == "http://mirror.example/debian"
    assert images.debian_mirror("http://x/ubuntu noble\n") == "", "debootstrap's own default"


def test_pip_in_a_build_finds_the_machines_index_and_authorities() -> None:
    text = images.pip_config(
        {"PIP_INDEX_URL": "https://index.example/simple", "HOME": "/root"}, bundle=Path("/etc/ssl/certs/ca-certificates.crt")
    )
    assert "index-url = https://index.example/simple" in text
    assert "cert = /etc/ssl/certs/ca-certificates.crt" in text
    assert "HOME" not in text


def test_the_pod_template_mounts_every_volume_read_only_and_declares_each() -> None:
    template = pod_template.make(serving_env=Path("/cache/serving-env"), models=Path("/cache/models"))
    (container,) = template["spec"]["containers"]
    assert container["name"] == "llama"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in template["spec"]["volumes"]}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert {"name": "PATH", "value": "/cache/serving-env/bin:/usr/local/bin:/usr/bin:/bin"} in container["env"]


def test_the_environments_stamp_changes_with_the_lock_and_with_the_python() -> None:
    assert (
        len(
            {
                serving_env.stamp("a", "/usr/bin/python3.11"),
                serving_env.stamp("b", "/usr/bin/python3.11"),
                serving_env.stamp("a", "/usr/bin/python3.12"),
            }
        )
        == 3
    )


def test_prometheus_gives_the_labels_that_the_operator_asks_for() -> None:
    text = (MANIFESTS / "prometheus.yaml").read_text()
    assert "llama_operator_dev_(?:deployment|revision|component)" in text
    assert all(f"target_label: {label}" in text for label in ("namespace", "pod"))


def event(**changes: object) -> str:
    base = {
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": "u"},
        "objectRef": {"resource": "pods"},
        "responseStatus": {"code": 200},
    }
    return json.dumps({**base, **changes})


def test_a_watch_counts_once_and_a_subresource_is_told_apart() -> None:
    watch = [event(verb="watch", stage="ResponseStarted"), event(verb="watch")]
    status = event(verb="patch", objectRef={"resource": "llamadeployments", "subresource": "status"})
    requests = [request for line in [*watch, status] if (request := audit.parse(line))]
    assert audit.count(requests, user="u") == {("watch", "pods"): 1, ("patch", "llamadeployments/status"): 1}
    assert audit.count(requests, user="other") == {}


def test_the_log_is_read_from_a_mark_and_a_half_line_is_left(tmp_path: Path) -> None:
    log = audit.AuditLog(tmp_path / "audit.log")
    assert log.mark() == 0
    log.path.write_text(event() + "\n")
    mark = log.mark()
    with log.path.open("a") as stream:
        stream.write(event(verb="create") + "\n" + event(verb="delete")[:20])
    assert [request.verb for request in log.since(mark)] == ["create"]
