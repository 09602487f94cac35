"""Which requests hang on a pod, by what its kernel knows of connections (/proc/net/tcp).

A request comes in at the proxy of one replica's pod, which may hand it to the engine in another. So it hangs on a pod in one of two ways:

    from outside to port 8000                 it came in there
    from another pod to a port of an engine   it came in elsewhere and is answered there

What came in there and is answered there is counted once: between the two of them it stays within the pod.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

TABLES = ("sh", "-c", "cat /proc/net/tcp*")
"""The command that prints them."""
PROXY_PORT = 8000
ENGINE_PORTS = range(30000, 31000)
"""Where Serve puts the HTTP servers of replicas (ray.serve._private.constants, RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT)."""
ESTABLISHED = "01"


def through(tables: str, own: Collection[str]) -> int:
    """Connections of requests that others than the addresses `own` opened to the pod whose tables these are."""
    count = 0
    for line in tables.splitlines():
        words = line.split()
        if len(words) < 4 or words[3] != ESTABLISHED:
            continue
        port, (there, _) = _place(words[1])[1], _place(words[2])
        if (port == PROXY_PORT or port in ENGINE_PORTS) and there not in own and not ipaddress.ip_address(there).is_loopback:
            count += 1
    return count


def _place(text: str) -> tuple[str, int]:
    """An address as the kernel prints it: 32-bit words, each in the machine's order of bytes (ours, and the pod's, is little-endian)."""
    address, port = text.split(":")
    packed = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    found = ipaddress.ip_address(packed)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found), int(port, 16)
