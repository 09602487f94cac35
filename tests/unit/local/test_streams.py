"""Which requests hang on a pod, read from tables as the kernel prints them."""

from __future__ import annotations

from playground.streams import through

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
REST = "00000000:00000000 00:00000000 00000000  1000        0 1 1 0000000000000000 20 4 30 10 -1"
OWN, OTHER, CLIENT, LOOPBACK = "0810D50A", "0910D50A", "0711D50A", "0100007F"
"""10.213.16.8, 10.213.16.9, 10.213.17.7, 127.0.0.1."""
WIDE = "0000000000000000FFFF0000"
PROXY, ENGINE, METRICS = 8000, 30000, 8080


def line(local: str, port: int, remote: str, state: str = "01") -> str:
    return f"   0: {local}:{port:04X} {remote}:D431 {state} {REST}"


def test_a_request_hangs_on_a_pod_where_it_came_in_and_where_it_is_answered_and_counts_once() -> None:
    came_in = [line(OWN, PROXY, CLIENT), line(WIDE + OWN, PROXY, WIDE + CLIENT)]
    answered = [line(OWN, ENGINE, OTHER)]
    within = [line(OWN, ENGINE, OWN), line(LOOPBACK, PROXY, LOOPBACK)]
    others = [line(OWN, METRICS, CLIENT), line(OWN, PROXY, CLIENT, state="06"), line("00000000", PROXY, "00000000", state="0A")]
    table = "\n".join([HEAD, *came_in, *answered, *within, HEAD, *others])
    assert through(table, {"10.213.16.8"}) == 3


def test_what_two_lost_pods_do_for_each_other_counts_once() -> None:
    table = "\n".join([HEAD, line(OWN, PROXY, CLIENT), line(OWN, ENGINE, OTHER)])
    assert through(table, {"10.213.16.8", "10.213.16.9"}) == 1


def test_nothing_hangs_on_a_pod_that_nobody_calls() -> None:
    assert through(HEAD, {"10.213.16.8"}) == 0
