"""How long loads take is learned from orders and arrivals; what takes far longer is no capacity to come."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.scaling.loads import DEFAULT_SECONDS, MOST_SECONDS, Loads

START = 1_790_000_000


def seen(*looks: tuple[float, int, int]) -> Loads:
    """What is known after looks of (seconds, wanted, ready); a wanted number that differs from the last was decided at that last look."""
    loads = Loads()
    for (time, wanted, ready), (_, then, _) in zip(looks, (*looks[1:], looks[-1]), strict=True):
        loads = loads.see(wanted, ready, START + time).ordered(then - wanted, then, START + time)
    return loads


LEARNED: dict[str, tuple[tuple[tuple[float, int, int], ...], list[float], int]] = {
    # sentence: looks, samples, orders on their way
    "nothing is on its way": (((0, 2, 2), (60, 2, 2)), [], 0),
    "an order that arrived is a sample": (((0, 1, 1), (10, 2, 1), (95, 2, 2)), [95], 0),
    "orders arrive in turn": (((0, 1, 1), (10, 3, 1), (80, 3, 2), (90, 3, 3)), [80, 90], 0),
    "one is still on its way": (((0, 1, 1), (10, 3, 1), (80, 3, 2)), [80], 1),
    "an order that was given up is no sample": (((0, 1, 1), (10, 3, 1), (20, 1, 1)), [], 0),
    "the newest is given up first": (((0, 1, 1), (30, 2, 1), (60, 3, 1), (70, 2, 1), (100, 2, 2)), [100], 0),
    "a replica that was lost loads anew": (((0, 2, 2), (50, 2, 1), (110, 2, 2)), [60], 0),
}


@pytest.mark.parametrize("sentence", LEARNED)
def test_load_times(sentence: str) -> None:
    looks, samples, orders = LEARNED[sentence]
    loads = seen(*looks)
    assert (list(loads.samples), len(loads.orders)) == (samples, orders)


def test_a_number_that_somebody_else_lowered_did_not_arrive() -> None:
    loads = seen((0, 1, 1), (10, 3, 1)).see(1, 1, START + 20)
    assert (loads.samples, loads.orders) == ((), ())


@pytest.mark.parametrize(
    ("newest", "want"),
    [
        (START + 300, 290),  # it became ready while nobody looked, or saw
        (None, 7190),
        (START - 50, 7190),  # that is another one
        (START + 9000, 7190),  # a clock that runs ahead
    ],
)
def test_what_came_while_nobody_looked_came_when_it_became_ready(newest: float | None, want: float) -> None:
    assert Loads(wanted=2, orders=(START + 10,)).see(2, 2, START + 7200, newest).samples == (want,)


def test_no_sample_is_longer_than_any_load() -> None:
    assert Loads(orders=(START - 1e6,)).see(2, 2, START).samples == (MOST_SECONDS,)
    assert Loads.of({"samples": [1e9, 30]}).samples == (MOST_SECONDS, 30)


def test_before_the_first_load_what_was_told_counts_and_then_one_of_the_slow_ones() -> None:
    assert (Loads().seconds(None), Loads().seconds(40)) == (DEFAULT_SECONDS, 40)
    assert Loads(samples=(100, 110, 90, 400, 105)).seconds(40) == 110


@pytest.mark.parametrize(
    ("samples", "ages", "want"),
    [((), (9999,), 0), ((100,), (299, 301, 10), 1), ((5,), (59,), 0), ((5,), (61,), 1), ((100, 300), (800,), 0)],
)
def test_a_load_is_stalled_when_it_takes_far_longer_than_any_before(samples: tuple[float, ...], ages: tuple[float, ...], want: int) -> None:
    assert Loads(samples=samples, orders=tuple(START - age for age in ages)).stalled(START) == want


@pytest.mark.parametrize(
    ("orders", "work", "rate", "ready", "want"),
    [
        ((), 500, 2, 2, 500),  # what serves keeps up with what comes: the queue stays
        ((), 500, 3, 2, 600),  # it grows by a replica's worth for the 100 s of a load
        ((), 500, 0, 2, 300),
        ((), 100, 0, 2, 0),  # it is gone long before
        ((-50,), 500, 3, 2, 550),  # half-way one more arrives
        ((-100, -90), 500, 3, 2, 410),  # one arrives now, one in 10 s
    ],
)
def test_a_queue_is_worked_off_by_what_serves_and_by_what_arrives_when_it_arrives(
    orders: tuple[float, ...], work: float, rate: float, ready: int, want: float
) -> None:
    loads = Loads(samples=(100,), orders=tuple(START + order for order in orders))
    assert loads.backlog(work, rate, ready, None, START) == pytest.approx(want)


def test_a_stalled_load_works_nothing_off() -> None:
    stalled = Loads(samples=(100,), orders=(START - 1000,))
    assert stalled.backlog(500, 3, 2, None, START) == Loads(samples=(100,)).backlog(500, 3, 2, None, START)


def test_what_is_known_is_read_back_as_it_was_and_nothing_is_nothing() -> None:
    loads = seen((0, 1, 1), (10, 3, 1), (80, 3, 2))
    assert Loads.of(loads.memory()["loads"]) == loads
    assert Loads().memory() == {}


@pytest.mark.parametrize(
    "memory", [None, 3, {"orders": "x"}, {"orders": [None]}, {"samples": [-1]}, {"samples": [float("nan")]}, {"orders": 7}]
)
def test_a_memory_that_cannot_be_read_counts_as_none(memory: Any) -> None:
    assert Loads.of(memory) == Loads()


def test_the_memory_is_bounded() -> None:
    loads = Loads()
    for step in range(200):
        loads = loads.see(1000, step, START + step)
    assert (len(loads.orders), len(loads.samples)) <= (32, 16)
