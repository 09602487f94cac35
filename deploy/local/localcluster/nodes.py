"""Images and network of the box: what containerd and the kernel are told beside their configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import archive, configs, overlay
from .addresses import NODES, check_free, parse_routes
from .commands import need, run
from .errors import LocalClusterError, NotReady
from .waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from .box import Box
    from .layout import Layout

UPLINK = "llama-uplink"


def check_host(layout: Layout) -> None:
    """Make sure that the host uses neither our range nor our link's name; called before the box starts.

    Raises:
        AddressInUse: it does; the message names what is in the way.

    """
    ip = need("ip", "to make the cluster's network link (package iproute2)")
    links = [str(link["ifname"]) for link in parse_routes(run([ip, "-j", "link", "show"]))]
    check_free(layout.addresses.whole, layout.settings.link, parse_routes(run([ip, "-j", "-4", "route", "show", "table", "all"])), links)


def host_link_exists(link: str) -> bool:
    """Whether the host's end of the link is there."""
    return any(found["ifname"] == link for found in parse_routes(run([need("ip", "to look at links"), "-j", "link", "show"])))


def remove_host_link(link: str) -> None:
    """Remove the host's end of the link; the box's end goes with it. Nothing happens if it is not there."""
    if host_link_exists(link):
        run(["ip", "link", "del", link])


def set_up_network(layout: Layout, box: Box) -> None:
    """The pods' bridge in the box, the link to the host, and the host's one route. Doing it again changes nothing."""
    addresses, link = layout.addresses, layout.settings.link
    if configs.BRIDGE_LINK not in _links_inside(box):
        box.inside(["ip", "link", "add", configs.BRIDGE_LINK, "type", "bridge"])
    box.inside(["ip", "address", "replace", addresses.bridge_cidr, "dev", configs.BRIDGE_LINK])
    for address in addresses.nodes.values():
        box.inside(["ip", "address", "replace", f"{address}/32", "dev", configs.BRIDGE_LINK])
    box.inside(["ip", "link", "set", configs.BRIDGE_LINK, "up"])
    if UPLINK not in _links_inside(box):
        remove_host_link(link)  # an interrupted start may have left our half
        run(["ip", "link", "add", link, "type", "veth", "peer", "name", UPLINK, "netns", str(box.pid)])
    run(["ip", "address", "replace", f"{addresses.host}/30", "dev", link])
    run(["ip", "link", "set", link, "up"])
    box.inside(["ip", "address", "replace", f"{addresses.box}/30", "dev", UPLINK])
    box.inside(["ip", "link", "set", UPLINK, "up"])
    box.inside(["ip", "route", "replace", "default", "via", addresses.host])
    run(["ip", "route", "replace", addresses.whole, "via", addresses.box, "dev", link])


def _links_inside(box: Box) -> list[str]:
    return [str(link["ifname"]) for link in parse_routes(box.inside(["ip", "-j", "link", "show"]))]


def pick_iptables(layout: Layout, box: Box) -> str:
    """Which of iptables' two modes works with this kernel, tried in the box: `nft` or `legacy`.

    Raises:
        LocalClusterError: neither does; the message shows what each said.

    """
    said = []
    for mode in ("nft", "legacy"):
        program = layout.debian[f"xtables-{mode}-multi"]
        rule = ["-t", "nat", "{}", "OUTPUT", "-m", "comment", "--comment", "probe", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"]
        try:
            for action in ("-A", "-D"):
                box.inside([program, "iptables", *(action if word == "{}" else word for word in rule)])
        except LocalClusterError as error:
            said.append(f"{mode}: {error}")
            continue
        return mode
    raise LocalClusterError("iptables works in neither mode; kube-proxy needs it.\n" + "\n".join(said))


def pick_snapshotter(layout: Layout, box: Box) -> str:
    """`overlayfs` where the cache's file system can carry an overlay, else `native` (copies: slower, larger)."""
    return "overlayfs" if overlay.carried_by(layout.settings.run, box.inside) else "native"


def pause_archive(layout: Layout) -> Path:
    """The image of every pod's sandbox: busybox asleep."""
    target = layout.settings.images / "pause-1.tar"
    if not target.exists():
        binary = (layout.debian.root / "bin/busybox").read_bytes()
        content = archive.layer({"bin/busybox": (binary, 0o755)}, directories={"bin": 0o755})
        # A shell that sleeps for ever and ends at once on SIGTERM: `sleep` alone ignores it as PID 1.
        script = "trap 'exit 0' TERM INT; while :; do /bin/busybox sleep 2147483 & wait $!; done"
        archive.write(target, f"docker.io/{configs.PAUSE_IMAGE}", content, entrypoint=["/bin/busybox", "sh", "-c", script])
    return target


def ctr(layout: Layout, box: Box, node: str, *argv: str | Path, seconds: float = 600) -> str:
    """Run containerd's own client on one node, namespace `k8s.io`."""
    return box.inside(
        [layout.debian["ctr"], "--address", f"{layout.node_state(node)}/containerd.sock", "--namespace", "k8s.io", *argv], seconds=seconds
    )


def import_image(layout: Layout, box: Box, archive_path: Path, *, snapshotter: str = "overlayfs") -> None:
    """Load a docker-archive into both nodes.

    Raises:
        LocalClusterError: containerd refused it, or a node's containerd does not run.

    """
    for node in NODES:
        ctr(layout, box, node, "images", "import", "--snapshotter", snapshotter, archive_path)


def wait_for_containerd(layout: Layout, box: Box, node: str) -> None:
    """Wait until a node's containerd answers.

    Raises:
        NotReady: not within 30 s; its log says why.

    """

    def answers() -> bool:
        try:
            ctr(layout, box, node, "version", seconds=5)
        except (LocalClusterError, NotReady):
            return False
        return True

    wait_for(f"containerd of {node} answers", answers, seconds=30, hint=f"See {layout.settings.logs}/containerd-{node}.log")
