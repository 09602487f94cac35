"""A status as a person reads it: all deployments in a table, one of them as a tree of revision, gangs and pods, a load as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

BAR = 24
"""Characters of a bar."""
MARKS = {False: ("█", "░"), True: ("#", ".")}
"""Done and not done; for terminals that know ASCII alone."""
STYLES = {
    "Ready": "green",
    "Running": "green",
    "True": "green",
    "Failed": "bold red",
    "Invalid": "bold red",
    "Degraded": "red",
    "Broken": "red",
    "Pending": "yellow",
    "Draining": "magenta",
    "Terminating": "magenta",
    "Deleting": "magenta",
    "Idle": "bright_black",
}
"""Of a phase; any other is on its way."""
ON_ITS_WAY = "cyan"
GOOD = {"Accepted": "True", "Available": "True", "Progressing": "False", "MetricsAvailable": "True", "Degraded": "False"}
"""The status of a condition that nobody has to look at. Scaling has none: it is a decision."""

View = Mapping[str, Any]


def duration(seconds: float | None) -> str:
    """A time as kubectl says ages; `-` where it is not known."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h" if seconds < 172_800 else f"{seconds / 86_400:.0f}d"


def status_table(views: Sequence[View], *, ascii_only: bool = False) -> Iterator[RenderableType]:
    """Every deployment in a row, those that load with a bar below."""
    table = Table(box=None if ascii_only else box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("namespace", "name", "ready", "phase", "reason", "GPUs", "age"):
        table.add_column(title, justify="right" if title in {"GPUs", "age"} else "left", overflow="fold")
    for view in views:
        gpus = "-" if view["gpus"] is None else f"{view['gpus']}"
        table.add_row(
            view["namespace"],
            Text(view["name"], style="bold"),
            view["ready"] or "-",
            _phase(view["phase"]),
            view["reason"] or "-",
            gpus,
            duration(view["ageSeconds"]),
        )
    yield table
    loads = [line for view in views for line in _loads(view, ascii_only=ascii_only)]
    if loads:
        yield Group(*loads)


def status_tree(view: View, nodes: Sequence[View] | None, *, ascii_only: bool = False) -> Iterator[RenderableType]:
    """One deployment, whole. `nodes` None: they may not be listed."""
    title = Text.assemble((f"{view['namespace']}/{view['name']}", "bold"), "  ", _phase(view["phase"]), f"  {view['ready'] or '-'} ready")
    facts: list[RenderableType] = [title, _facts(view)]
    if not view["seenGeneration"]:
        facts.append(Text("  the operator has not looked at the newest spec yet", style="yellow"))
    yield Group(*facts)
    trees = [_revision(revision, view, ascii_only=ascii_only) for revision in view["revisions"]]
    if trees:
        yield Group(*trees)
    if nodes:
        yield _nodes(nodes, view["gpuResource"], ascii_only=ascii_only)


def bar(percent: float, *, ascii_only: bool = False, width: int = BAR) -> str:
    """A share of a hundred as a bar and its number. What is not whole is never drawn full."""
    bounded = min(max(percent, 0.0), 100.0)
    done, left = MARKS[ascii_only]
    filled = int(bounded * width / 100)
    return f"{done * filled}{left * (width - filled)} {int(bounded):3d} %"


def _phase(phase: str | None) -> Text:
    return Text(phase or "-", style=STYLES.get(phase or "", ON_ITS_WAY))


def _facts(view: View) -> Padding:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("endpoint", view["endpoint"] or "-")
    if view["plan"]:
        plan = view["plan"]
        split = f"tensor {plan['tensorParallel']} x pipeline {plan['pipelineParallel']}"
        grid.add_row("replica", f"{split}, {_gpus(plan['gpus'])}" if plan["gpus"] else split)
    for item in view["conditions"]:
        if item["type"] not in GOOD or item["status"] != GOOD[item["type"]]:
            good = item["type"] not in GOOD
            words = Text(f"{item['reason']} for {duration(item['sinceSeconds'])}: {item['message']}", style="" if good else "yellow")
            grid.add_row(item["type"], words)
    return Padding(grid, (0, 0, 0, 2))


def _gpus(count: int | None) -> str:
    if count is None:
        return "? GPUs"
    return "no GPU" if count == 0 else f"{count} GPU{'s' if count > 1 else ''}"


def _revision(revision: View, view: View, *, ascii_only: bool) -> Tree:
    which = "" if revision["current"] else ", on its way out"
    tree = Tree(Text.assemble("revision ", (revision["revision"] or "?", "bold"), which), guide_style="bright_black")
    head = revision["head"]
    if head is not None:
        tree.add(Text.assemble("head  ", _pod(head, "")))
    for gang in revision["gangs"]:
        line = Text.assemble(f"gang {gang['gang']}  ", _phase(gang["phase"]))
        if gang["percent"] is not None:
            line.append(f"  {bar(gang['percent'], ascii_only=ascii_only)}", style=ON_ITS_WAY)
        line.append(f"  for {duration(gang['sinceSeconds'])}", style="bright_black")
        if gang["attempts"]:
            line.append(f"  {gang['attempts']} failed starts", style="red")
        branch = tree.add(line)
        if gang["message"] and gang["phase"] != "Ready":
            branch.add(Text(gang["message"], style="yellow"))
        for pod in gang["pods"]:
            branch.add(_pod(pod, view["gpuResource"]))
    return tree


def _pod(pod: View, resource: str) -> Text:
    line = Text.assemble(pod["pod"], ("  on ", "bright_black"), pod["node"] or "no node")
    if pod["phase"] is not None:
        state = "Ready" if pod["ready"] and pod["phase"] == "Running" else f"{pod['phase']}, not ready"
        line.append(f"  {state}", style="green" if state == "Ready" else ON_ITS_WAY)
    if resource and pod["gpus"]:
        line.append(f"  {_gpus(pod['gpus'])}")
    if pod["trouble"]:
        line.append(f"  {pod['trouble']}", style="yellow")
    return line


def _loads(view: View, *, ascii_only: bool) -> Iterator[RenderableType]:
    for revision in view["revisions"]:
        for gang in revision["gangs"]:
            if gang["percent"] is not None:
                name = f"{view['namespace']}/{view['name']} gang {gang['gang']}"
                yield Text(f"{name}  {gang['phase']}  {bar(gang['percent'], ascii_only=ascii_only)}", style=ON_ITS_WAY)


def _nodes(nodes: Sequence[View], resource: str, *, ascii_only: bool) -> Table:
    table = Table(box=None if ascii_only else box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("node", resource, "held here", "free", ""):
        table.add_column(title, justify="left" if title in {"node", ""} else "right")
    for node in nodes:
        words = ", ".join(word for word, so in (("not ready", not node["ready"]), ("cordoned", node["cordoned"])) if so)
        table.add_row(node["node"], f"{node['gpus']}", f"{node['heldByThis']}", f"{node['free']}", Text(words, style="yellow"))
    return table
