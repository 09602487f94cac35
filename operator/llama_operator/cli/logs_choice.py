"""Which pods' logs are meant, and how their lines are shown. Pure.

The agents and the operator log one JSON object a line; they are shown as time, level and message. Lines of others are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.api.depth import read_json
from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.texts import plain
from llama_operator.lifecycle.observed import Pod
from llama_operator.rendering import names

ENGINE_FILES = ("/tmp/ray/session_latest/logs", "serve/*.log worker-*.out worker-*.err raylet.out gcs_server.out /run/llama/ray-start.log")  # noqa: S108
"""Where Ray keeps what it and the engine's processes write (https://docs.ray.io/en/latest/ray-observability/user-guides/configure-logging.html),
under the pod's emptyDir, and what `ray start` said.
"""
READER = """
import glob, os, sys
most, root, names = int(sys.argv[1]), sys.argv[2], sys.argv[3].split()
found = {path for name in names for path in glob.glob(os.path.join(root, name))}
for path in sorted(found, key=os.path.getmtime):
    lines = open(path, errors="replace").read().splitlines()[-most:] if os.path.getsize(path) < 1 << 28 else ["larger than 256 MiB"]
    for line in lines:
        if line.strip():
            print(os.path.basename(path), line, sep=": ")
"""
"""Python that prints the end of every such file, oldest first: an image that serves has Python, and may have no shell and no tail."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One pod whose log is wanted."""

    pod: str
    label: str
    """What its lines begin with: g0-1, or head; with the revision where there are several."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a log."""

    source: str
    pod: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """As `-o json` shows it: the fields of a line that is JSON, else the text."""
        return {"source": self.source, "pod": self.pod, **(said(self.text) or {"message": self.text})}


def choose(
    pods: Sequence[Mapping[str, Any]], *, replica: int | None, rank: int | None, head: bool, engine: bool, name: str
) -> list[Source]:
    """The pods that are meant, by revision, gang and rank. Raises BadInput where there is none."""
    found = sorted((Pod.of(item) for item in pods), key=lambda pod: (pod.revision, pod.component != names.HEAD, pod.gang, pod.rank))
    revisions = {pod.revision for pod in found}
    chosen = [pod for pod in found if _meant(pod, replica=replica, rank=rank, head=head, engine=engine)]
    if not chosen:
        raise BadInput.of(_none(found, replica, rank, name))
    return [Source(pod=pod.name, label=_label(pod, several=len(revisions) > 1)) for pod in chosen]


def _meant(pod: Pod, *, replica: int | None, rank: int | None, head: bool, engine: bool) -> bool:
    if pod.component == names.HEAD:
        return head or (replica is None and rank is None and not engine)
    return not head and (replica is None or pod.gang == replica) and (rank is None or pod.rank == rank)


def _none(found: Sequence[Pod], replica: int | None, rank: int | None, name: str) -> Problem:
    gangs = sorted({pod.gang for pod in found if pod.component == names.REPLICA})
    ranks = sorted({pod.rank for pod in found if pod.component == names.REPLICA and replica in {None, pod.gang}})
    if not found:
        remedy = f"Ask kubectl llama why {name}."
        return Problem(field="NAME", given=f"{quoted(name)}, which has no pod", allowed="one with pods", remedy=remedy)
    if replica is not None and replica not in gangs:
        return Problem(field="--replica", given=f"{replica}", allowed=_of(gangs), remedy="See kubectl llama status.")
    if rank is not None:
        return Problem(field="--rank", given=f"{rank}", allowed=_of(ranks), remedy="See kubectl llama status.")
    return Problem(field="NAME", given=f"{quoted(name)}, which has no such pod", allowed="one with it", remedy="See kubectl llama status.")


def _of(numbers: Sequence[int]) -> str:
    return f"one of {', '.join(map(str, numbers))}" if numbers else "none: there is no replica"


def _label(pod: Pod, *, several: bool) -> str:
    own = "head" if pod.component == names.HEAD else f"g{pod.gang}-{pod.rank}"
    return f"{pod.revision}-{own}" if several else own


def said(text: str) -> dict[str, Any] | None:
    """A line's fields where it is a JSON object; None where it is anything else."""
    if not text.startswith("{"):
        return None
    try:
        body = read_json(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def shown(line: Line) -> Iterator[tuple[str, str]]:
    """A line as pieces of text with their styles."""
    yield f"{line.source:<7} ", "cyan"
    body = said(line.text)
    if body is None:
        yield plain(line.text), ""
        return
    when, level = str(body.pop("time", body.pop("timestamp", ""))), str(body.pop("level", ""))
    body.pop("logger", None)
    message, error = str(body.pop("message", body.pop("event", ""))), body.pop("error", body.pop("exception", None))
    yield f"{plain(when[11:23])} ", "bright_black"
    yield f"{plain(level):<7} ", {"warning": "yellow", "error": "red", "critical": "bold red"}.get(level, "bright_black")
    yield plain(message), ""
    rest = " ".join(f"{key}={value}" for key, value in body.items())
    if rest:
        yield f"  {plain(rest)}", "bright_black"
    if error is not None:
        yield f"\n{plain(str(error))}", "red"
