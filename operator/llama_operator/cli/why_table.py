"""The answer of `kubectl llama why` as a person reads it: sentences first, and then the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.cli.moments import ago, seconds_at, told

UNITS = {"requests": "in hand", "slots": "sequences", "prompts": "tokens/s", "cache": "caches", "firstToken": "s"}
"""Of what was measured for each signal."""
PHASES = {"Ready": "bold green", "Idle": "bold", "Failed": "bold red", "Invalid": "bold red", "Degraded": "bold yellow"}
UNMOVED_SECONDS = 120.0
"""Twice the time after which numbers that move are written (`lifecycle.scaling_view.REFRESH_SECONDS`)."""
NOT_KEPT = (
    "What was there, and what each signal asked for, was not kept with this change: "
    "an older operator wrote it, or one under an older CRD, or an Event is all that is left of it."
)
CAPS = {"bounds": "a bound", "window": "a time window", "stabilization": "stabilisation", "placement": "no place"}


def tables(answer: Mapping[str, Any], now: float) -> Iterator[RenderableType]:
    """All of it. `now`: seconds since 1970."""
    phase, when = str(answer.get("phase") or "Unknown"), ", now" if "at" in answer else ""
    head = Text.assemble((f"{answer['namespace']}/{answer['name']}{when}: ", "bold"), (phase, PHASES.get(phase, "bold")))
    yield Group(head, _indent(Text(str(answer["summary"]))))
    if "at" in answer:
        # All that follows is of that moment.
        yield _at(answer["at"], now)
        if "scaling" in answer["at"]:
            yield from _as_of(answer["at"]["scaling"], now)
        return
    if answer["problems"]:
        yield _titled("What is not as it should be, the first thing first", _problems(answer["problems"], now))
    coming = [item for item in answer["replicas"] if item.get("phase") != "Ready"]
    if coming:
        yield _titled("Replicas that do not serve yet, or no more", _replicas(coming, now))
    yield from _scaling(answer["scaling"], now)


def _at(at: Mapping[str, Any], now: float) -> RenderableType:
    said: list[RenderableType] = [Text(_sentence(at["message"]))]
    if at.get("source") == "event":
        said.append(Text("From an Event: the status does not go back so far.", style="dim"))
    if at.get("note"):
        said.append(Text(str(at["note"]), style="yellow"))
    said.append(Text("Changes of the number are kept, not each look: what the signals were in between is in Prometheus.", style="dim"))
    said.append(Text("What is so now is told without --at.", style="dim"))
    return _titled(f"At {told(seconds_at(at['time']) or now, now)}", Group(*said))


def _as_of(scaling: Mapping[str, Any], now: float) -> Iterator[RenderableType]:
    """The tables of now, as they would have been then: from what is kept with the change that was in force."""
    wanted, moment = scaling.get("desiredReplicas"), told(seconds_at(scaling["observedTime"]) or now, now)
    title = f"As of that change, {moment}: why {wanted} {'was' if wanted == 1 else 'were'} wanted"
    yield _titled(title, _numbers(scaling) if scaling["kept"] else Text(NOT_KEPT, style="yellow"))
    if scaling["votes"]:
        yield _titled("As of that change: what each signal asked for; the highest counted", _votes(scaling["votes"]))
    yield _titled("The last changes until then", _changes(scaling["changes"], now))


def _problems(problems: Sequence[Mapping[str, Any]], now: float) -> Table:
    table = _table("condition", "since", "reason and message")
    for item in problems:
        table.add_row(str(item["condition"]), _age(item.get("since"), now), f"{item.get('reason')}: {item.get('message')}")
    return table


def _replicas(replicas: Sequence[Mapping[str, Any]], now: float) -> Table:
    table = _table("gang", "phase", "since", "what it does")
    for item in replicas:
        percent = item.get("percent")
        phase = f"{item.get('phase')}" + ("" if percent is None else f" {percent:.0f} %")
        table.add_row(str(item.get("gang")), phase, _age(item.get("since"), now), str(item.get("message") or "-"))
    return table


def _scaling(scaling: Mapping[str, Any], now: float) -> Iterator[RenderableType]:
    wanted = scaling.get("desiredReplicas")
    title = f"Why {wanted} {'is' if wanted == 1 else 'are'} wanted" if wanted is not None else "How many are wanted"
    if not scaling["enabled"] or "reason" not in scaling:
        yield _titled(title, Text(_sentence(scaling.get("message") or "no reason is told")))
        return
    observed = seconds_at(scaling.get("observedTime"))
    when = "" if observed is None else f" Read at {told(observed, now)}."
    if observed is not None and now - observed > UNMOVED_SECONDS:
        # A pass at rest writes nothing.
        when = f" Written at {told(observed, now)}: nothing moved since, or the operator does not run."
    yield _titled(title, Group(Text(f"{scaling['reason']}: {_sentence(scaling.get('message') or '-')}{when}"), _numbers(scaling)))
    if scaling.get("votes"):
        yield _titled("What each signal asks for; the highest counts", _votes(scaling["votes"]))
    changes = scaling.get("changes") or []
    yield _titled("The last changes", _changes(changes, now) if changes else Text("None is kept."))


def _numbers(scaling: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("wanted", f"{scaling.get('desiredReplicas')}{_bounds(scaling)}")
    grid.add_row("there", f"{scaling.get('currentReplicas')}, of which {scaling.get('loadingReplicas', 0)} do not serve yet")
    asked = scaling.get("askedReplicas")
    grid.add_row("asked for", "not known: nothing could be seen" if asked is None else f"{asked} by the demand")
    window = scaling.get("scaleDownWindow") or {}
    if window.get("seconds") is not None:
        why = window.get("message") or "for a reason that is not told"
        grid.add_row("kept for", f"{window['seconds']:.0f} s after they were last needed, {why}")
    for cap in scaling.get("cappedBy") or []:
        grid.add_row("capped by", f"{CAPS.get(cap.get('by'), cap.get('by'))}: {cap.get('message')}")
    return grid


def _bounds(scaling: Mapping[str, Any]) -> str:
    if scaling.get("minReplicas") is None:
        return ""
    windows = ", ".join(scaling.get("openWindows") or [])
    return f"; allowed are {scaling['minReplicas']} to {scaling.get('maxReplicas')}" + (f" (open: {windows})" if windows else "")


def _votes(votes: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("signal", "measured", "replicas", "age when read")
    for vote in votes:
        value, replicas, age = vote.get("value"), vote.get("replicas"), vote.get("ageSeconds")
        measured = "-" if value is None else f"{value:,.4g} {UNITS.get(str(vote.get('signal')), '')}".rstrip()
        asked = "not seen" if replicas is None else f"{replicas:.2f}"
        table.add_row(str(vote.get("signal")), measured, asked, "-" if age is None else f"{age:.0f} s")
    return table


def _changes(changes: Sequence[Mapping[str, Any]], now: float) -> Table:
    table = _table("when", "replicas", "why")
    for item in changes:
        moment = seconds_at(item.get("time"))
        table.add_row(
            "-" if moment is None else told(moment, now), f"{item.get('from')} to {item.get('to')}", str(item.get("message") or "")
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, title in enumerate(columns):
        table.add_column(title, no_wrap=index < len(columns) - 1, overflow="fold")
    return table


def _titled(title: str, body: RenderableType) -> Group:
    return Group(Text(title, style="bold"), _indent(body))


def _indent(body: RenderableType) -> Padding:
    return Padding(body, (0, 0, 0, 2))


def _sentence(text: object) -> str:
    said = str(text).strip()
    return said if said.endswith((".", "?", "!")) else f"{said}."


def _age(time: object, now: float) -> str:
    moment = seconds_at(time)
    return "-" if moment is None else ago(now - moment)
