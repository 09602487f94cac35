"""`kubectl llama logs NAME`: what the pods of a deployment wrote, merged, each line with the replica it is from.

--engine   the files of Ray and of the engine's processes in the pods: what vLLM says is there, not in the pods' own log
"""

from __future__ import annotations

import argparse
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

from llama_operator.adapters.kubectl import Finished, KubectlError, explain, together
from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster, problem_of
from llama_operator.cli.logs_choice import ENGINE_FILES, READER, Line, Source, choose, shown
from llama_operator.cli.numbers import seconds, whole
from llama_operator.cli.options import FITS, PROBLEMS
from llama_operator.cli.output import while_asked
from llama_operator.cli.refusals import BadInput
from llama_operator.cli.texts import json_text
from llama_operator.rendering import names

if TYPE_CHECKING:
    from rich.console import Console

CONTAINER = "llama"
MOST_PODS = 50
"""kubectl processes at once."""
QUEUED = 10_000
"""Lines that wait to be written: a pod that logs faster than the terminal takes them is held back, not kept in memory."""


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output, ("table", "json"))
        cluster = Cluster.of(arguments)
        options = _options(arguments)
        console, sources = while_asked(arguments.output, partial(_sources, cluster, arguments))
    except BadInput as refused:
        return refusals.tell(refused)
    asked = {source: _asked(cluster, source, options, engine=arguments.engine) for source in sources}
    if arguments.follow:
        return _follow({source: cluster.kubectl.command(*words) for source, words in asked.items()}, console)
    return _once(cluster, asked, console)


def _options(arguments: argparse.Namespace) -> list[str]:
    """kubectl's own flags. Raises BadInput."""
    tail = whole("--tail", "200" if arguments.tail is None else arguments.tail, 1, 1_000_000)
    if arguments.engine:
        for given, field in ((arguments.follow, "--follow"), (arguments.since is not None, "--since")):
            if given:
                problem = Problem(
                    field=field, given="it, with --engine", allowed="the pods' own log alone", remedy="Leave one of them out."
                )
                raise BadInput.of(problem)
        return [str(tail)]
    options = [f"--tail={tail}"]
    if arguments.since is not None:
        options.append(f"--since={seconds('--since', arguments.since)}s")
    return [*options, "--follow"] if arguments.follow else options


def _sources(cluster: Cluster, arguments: argparse.Namespace) -> list[Source]:
    replica = None if arguments.replica is None else whole("--replica", arguments.replica, 0, 9999)
    rank = None if arguments.rank is None else whole("--rank", arguments.rank, 0, 9999)
    with cluster.told():
        labels = f"{names.LABEL_DEPLOYMENT}={arguments.name}"
        _, pods = together(
            lambda: cluster.deployment(arguments.name), lambda: cluster.kubectl.list("Pod", cluster.namespace, labels=labels)
        )
    sources = choose(pods, replica=replica, rank=rank, head=arguments.head, engine=arguments.engine, name=arguments.name)
    if len(sources) > MOST_PODS:
        given = f"{len(sources)} pods"
        raise BadInput.of(
            Problem(field="NAME", given=given, allowed=f"at most {MOST_PODS} at once", remedy="Choose by --replica or --rank.")
        )
    return sources


def _asked(cluster: Cluster, source: Source, options: Sequence[str], *, engine: bool) -> list[str]:
    """What kubectl is told."""
    where = ["--namespace", cluster.namespace, f"--container={CONTAINER}"]
    if engine:
        return ["exec", *where, f"pod/{source.pod}", "--", "python3", "-c", READER, *options, *ENGINE_FILES]
    return ["logs", *where, *options, f"pod/{source.pod}"]


def _once(cluster: Cluster, asked: dict[Source, list[str]], console: Console | None) -> int:
    """Pod after pod, asked at once. One that does not answer is said; the others are shown."""
    status = FITS
    answers = together(*(partial(_answer, cluster, words) for words in asked.values()))
    for source, answer in zip(asked, answers, strict=True):
        if answer.status:
            status = _complain(source, answer)
        _write([Line(source=source.label, pod=source.pod, text=text) for text in answer.out.splitlines()], console)
    return status


def _answer(cluster: Cluster, words: Sequence[str]) -> Finished:
    try:
        return cluster.kubectl.finish(*words)
    except KubectlError as error:
        return Finished(status=PROBLEMS, out="", err=error.message)


def _complain(source: Source, answer: Finished) -> int:
    return refusals.tell(BadInput([f"pod {source.pod}: {problem_of(explain(answer)).message}"]))


def _follow(commands: Mapping[Source, Sequence[str]], console: Console | None) -> int:
    """Until every log ends, or Ctrl-C."""
    lines: queue.Queue[Line | None] = queue.Queue(QUEUED)
    with _started(commands) as running:
        for source, process in running.items():
            threading.Thread(target=_pump, args=(source, process.stdout, lines), daemon=True).start()
        left = len(running)
        while left:
            line = lines.get()
            if line is None:
                left -= 1
            else:
                _write([line], console)
                sys.stdout.flush()
        status = FITS
        for source, process in running.items():
            if process.wait():
                said = process.stderr.read() if process.stderr else ""
                status = _complain(source, Finished(status=PROBLEMS, out="", err=said))
    return status


@contextmanager
def _started(commands: Mapping[Source, Sequence[str]]) -> Iterator[dict[Source, subprocess.Popen[str]]]:
    """A kubectl for each, ended with the block."""
    with ExitStack() as stack:
        running = {}
        for source, command in commands.items():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
            )
            running[source] = stack.enter_context(process)
            stack.callback(process.terminate)
        yield running


def _pump(source: Source, stream: IO[str] | None, lines: queue.Queue[Line | None]) -> None:
    for text in stream or ():
        lines.put(Line(source=source.label, pod=source.pod, text=text.rstrip("\n")))
    lines.put(None)


def _write(lines: Sequence[Line], console: Console | None) -> None:
    if console is None:
        sys.stdout.writelines(json_text(line.to_json()) + "\n" for line in lines)
        return
    from rich.text import Text  # needs rich

    for line in lines:
        console.print(Text.assemble(*shown(line)), soft_wrap=True)
