"""The local cluster's addresses: cut from one range without overlap, and refused when the host uses them."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster import addresses
from localcluster.errors import AddressInUse, LocalClusterError


@given(second=st.integers(0, 255))
def test_every_address_lies_in_the_range_and_no_two_parts_overlap(second: int) -> None:
    plan = addresses.plan(f"10.{second}.0.0/16")
    whole = ipaddress.ip_network(plan.whole)
    parts = [ipaddress.ip_network(plan.pods), ipaddress.ip_network(plan.services), ipaddress.ip_network(f"{plan.host}/30", strict=False)]
    assert all(part.subnet_of(whole) for part in parts)
    assert not any(one.overlaps(other) for one, other in combinations(parts, 2))
    pods = parts[0]
    ranges = [tuple(map(ipaddress.ip_address, ends)) for ends in plan.node_pods.values()]
    single = [ipaddress.ip_address(address) for address in (plan.bridge, *plan.nodes.values())]
    assert all(first in pods and last in pods and first < last for first, last in ranges)
    assert ranges[0][1] < ranges[1][0], "the nodes' pods do not share addresses"
    assert not any(first <= address <= last for address in single for first, last in ranges)
    assert len(set(single)) == 3
    assert ipaddress.ip_address(plan.kubernetes_service) in parts[1]


@pytest.mark.parametrize(
    ("given_range", "says"),
    [
        ("10.213.0.0/24", "is not a private /16"),
        ("8.8.0.0/16", "is not a private /16"),
        ("10.213.0.1/16", "is not an IPv4 range"),
        ("fd00::/16", "is not an IPv4 range"),
        ("ten", "'ten' is not an IPv4 range"),
    ],
)
def test_a_wrong_range_is_refused_with_an_example_of_a_right_one(given_range: str, says: str) -> None:
    with pytest.raises(LocalClusterError, match=f"LLAMA_LOCAL_RANGE: .*{says}.*10.213.0.0/16"):
        addresses.plan(given_range)


@pytest.mark.parametrize(
    ("sentence", "routes", "links", "says"),
    [
        ("an empty host is free", [], ["lo", "eth0"], None),
        ("the default route takes nothing", [{"dst": "default", "dev": "eth0"}], [], None),
        ("a neighbouring range is another", [{"dst": "10.212.0.0/16", "dev": "vpn"}], [], None),
        ("a route inside is in the way", [{"dst": "10.213.4.0/24", "dev": "docker0"}], [], r"10\.213\.4\.0/24 is routed through docker0"),
        ("a route around it is in the way", [{"dst": "10.0.0.0/8", "dev": "vpn"}], [], r"10\.0\.0\.0/8 is routed through vpn"),
        ("a single host inside is in the way", [{"dst": "10.213.9.9", "dev": "tun0"}], [], r"10\.213\.9\.9 is routed through tun0"),
        ("the link's name is taken", [], ["llama-local0"], "ip link del llama-local0"),
    ],
)
def test_what_the_host_uses_is_named(sentence: str, routes: list[dict[str, str]], links: list[str], says: str | None) -> None:
    if says is None:
        addresses.check_free("10.213.0.0/16", "llama-local0", routes, links)
        return
    with pytest.raises(AddressInUse, match=says):
        addresses.check_free("10.213.0.0/16", "llama-local0", routes, links)
