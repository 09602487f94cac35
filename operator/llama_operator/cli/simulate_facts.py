"""What was simulated, in words: the same on a table and on a page."""

from __future__ import annotations

from collections.abc import Mapping

from llama_operator.api.duration import words
from llama_operator.cli.moments import stamp
from llama_operator.cli.simulate_progress import duration
from llama_operator.cli.simulate_question import Question
from llama_operator.simulate.routing import CHOICES, LEAST, ROUND_ROBIN, Routing

ROUTING: Mapping[Routing, str] = {
    LEAST: "to the replica with the fewest in hand, by a router that knows them all",
    ROUND_ROBIN: "in turns, each pod's router for itself",
    CHOICES: "by choice of three, each pod's router for itself",
}


def _down(question: Question) -> str:
    """How long ours keeps what nobody needs."""
    setup, objective = question.contest.setup, question.contest.objective
    given = objective.scale_down_seconds
    kept = "kept as long as the load time says" if given is None else f"kept for {given:g} s"
    least = setup.minimum if setup.windows is None else setup.windows.widest(setup.minimum, setup.maximum)[0]
    idle = f", none after {words(objective.idle_seconds)} without a request" if not least and objective.idle_seconds else ""
    return f"{kept} when not needed{idle}"


def facts(question: Question) -> list[tuple[str, str]]:
    """What was replayed on what, as names and sentences."""
    contest, setup = question.contest, question.contest.setup
    traffic, service = contest.traffic, setup.service
    copies = f", {traffic.copies} copies at once" if traffic.copies > 1 else ""
    rate = len(traffic) / max(traffic.seconds, 1.0)
    tokens = f"{traffic.mean_prompt:,.0f} prompt and {traffic.mean_output:,.0f} output tokens"
    came = f"{len(traffic):,} requests in {duration(traffic.seconds)}{copies}: {rate:.3g} a second, on average {tokens}"
    slower = f" + {service.itl_per_sequence * 1e3:.3g} ms a sequence" if service.itl_per_sequence else ""
    room = "no limit of KV cache" if service.kv == float("inf") else f"a KV cache of {service.kv:,.0f} tokens"
    pace = f"{service.prefill:,.0f} prompt tokens/s, {service.slots} slots, {service.itl * 1e3:.3g} ms a token{slower}"
    rows = [("traffic", came), ("replica", f"{pace}, {room}; {question.replica}")]
    spread = f" (spread {setup.load.spread:g})" if setup.load.spread else ""
    rows.append(
        (
            "scaling",
            f"{setup.minimum} to {setup.maximum} replicas, {setup.initial} at the beginning; {setup.load.seconds:g} s to load{spread}; "
            f"scraped every {setup.scrape:g} s" + (f", seen {setup.lag:g} s later" if setup.lag else "") + f"; {_down(question)}",
        )
    )
    if setup.windows is not None and question.begin is not None:
        names = ", ".join(schedule.name for schedule in setup.windows.schedules)
        rows.append(("windows", f"{names}, with bounds of their own; the traffic begins at {stamp(question.begin)}"))
    rows.append(("routing", ROUTING[setup.routing]))
    if question.room:
        rows.append(("room", question.room))
    rows.append(
        ("wanted", f"a first token within {contest.ttft_seconds:g} s; {contest.objective.in_flight:g} requests in flight for each replica")
    )
    return rows + [("note", note) for note in question.notes]
