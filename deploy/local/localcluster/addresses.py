"""The cluster's addresses, all cut from one IPv4 /16, and the check that the host does not use them.

    x.y.0.0/18     pods and nodes, on the box's bridge
      x.y.0.1        the bridge: API server, DNS, the pods' gateway
      x.y.0.2, .3    node-a, node-b
      x.y.16.0/20    pods of node-a
      x.y.32.0/20    pods of node-b
    x.y.128.0/18   Services
    x.y.255.0/30   the link between host (.1) and box (.2)

The host reaches pods and Services through the link. Pods reach the host at the link's host end, and nothing beyond it.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import Any

from .errors import AddressInUse, LocalClusterError

NODES = ("node-a", "node-b")
API_PORT = 6443


@dataclass(frozen=True)
class Addresses:
    """Every address of the cluster; the strings are IPv4 addresses or CIDR ranges."""

    whole: str
    pods: str
    services: str
    bridge: str
    nodes: dict[str, str]
    node_pods: dict[str, tuple[str, str]]
    kubernetes_service: str
    host: str
    box: str

    @property
    def api_url(self) -> str:
        """The API server, reachable from the host and from pods."""
        return f"https://{self.bridge}:{API_PORT}"

    @property
    def bridge_cidr(self) -> str:
        """The bridge's address with the pods' prefix length."""
        return f"{self.bridge}/{ipaddress.ip_network(self.pods).prefixlen}"


def plan(whole: str) -> Addresses:
    """Cut a private IPv4 /16 into the cluster's ranges.

    Raises:
        LocalClusterError: not an IPv4 /16, or not a private one.

    """
    try:
        net = ipaddress.IPv4Network(whole)
    except ValueError as error:
        raise LocalClusterError(
            f"LLAMA_LOCAL_RANGE: {whole!r} is not an IPv4 range ({error}). Give a private /16, for example 10.213.0.0/16"
        ) from error
    if net.prefixlen != 16 or not net.is_private:
        raise LocalClusterError(f"LLAMA_LOCAL_RANGE: {whole} is not a private /16. Give one, for example 10.213.0.0/16")

    def at(third: int, fourth: int) -> str:
        return str(net.network_address + third * 256 + fourth)

    return Addresses(
        whole=str(net),
        pods=f"{at(0, 0)}/18",
        services=f"{at(128, 0)}/18",
        bridge=at(0, 1),
        nodes={name: at(0, 2 + i) for i, name in enumerate(NODES)},
        node_pods={name: (at(16 + 16 * i, 1), at(31 + 16 * i, 254)) for i, name in enumerate(NODES)},
        kubernetes_service=at(128, 1),
        host=at(255, 1),
        box=at(255, 2),
    )


def check_free(whole: str, link: str, routes: list[dict[str, Any]], links: list[str]) -> None:
    """Compare with the host's IPv4 routes (`ip -j -4 route show table all`) and link names.

    Raises:
        AddressInUse: a route overlaps the range, or a link of the wanted name exists. The message names it.

    """
    if link in links:
        raise AddressInUse(f"the host has a link {link} already, and no cluster of ours runs. Remove it: ip link del {link}")
    net = ipaddress.ip_network(whole)
    for route in routes:
        dst = str(route.get("dst", "default"))
        if dst == "default":
            continue
        if ipaddress.ip_network(dst, strict=False).overlaps(net):
            raise AddressInUse(
                f"the range {whole} is in use on this host: {dst} is routed through {route.get('dev', '?')}. "
                "Choose a free private /16 with LLAMA_LOCAL_RANGE, for example LLAMA_LOCAL_RANGE=10.214.0.0/16"
            )


def parse_routes(text: str) -> list[dict[str, Any]]:
    """The JSON that `ip -j route` prints; nothing printed means no routes."""
    return list(json.loads(text)) if text.strip() else []
