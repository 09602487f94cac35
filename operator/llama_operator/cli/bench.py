"""`kubectl llama bench NAME`: put load on a deployment from inside its cluster, and write what came out; or compare two such reports."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llama_operator import __version__
from llama_operator.adapters.kubectl import together
from llama_operator.api.problems import Problem
from llama_operator.cli import bench_driver, refusals
from llama_operator.cli.bench_job import job
from llama_operator.cli.bench_log import Said
from llama_operator.cli.bench_pod import created, failure, follow
from llama_operator.cli.bench_question import SEEDS, Question, ask
from llama_operator.cli.chat import served_name
from llama_operator.cli.cluster import Cluster
from llama_operator.cli.moments import stamp
from llama_operator.cli.options import FITS, PROBLEMS
from llama_operator.cli.output import open_console, write_document, write_tables
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.simulate_progress import Progress
from llama_operator.lifecycle.observed import Pod
from llama_operator.rendering import names

REPORT, PAGE = "report.json", "report.html"


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        if arguments.compare is not None:
            return _compare(arguments)
        refusals.check_output(arguments.form, ("table", "json"), "-o")
        if arguments.name is None:
            problem = Problem(
                field="NAME", given="nothing", allowed="a LlamaDeployment, or --compare A B", remedy="See kubectl get lld -A."
            )
            raise BadInput.of(problem)
        if arguments.form == "table":
            open_console()  # rich is missed before the test, not after it
        with _ended_by_signals():
            return _measure(arguments, ask(arguments, secrets.randbelow(SEEDS)))
    except BadInput as refused:
        return refusals.tell(refused)


def _measure(arguments: argparse.Namespace, question: Question) -> int:
    cluster = Cluster.of(arguments)
    deployment, pod = _serving(cluster, arguments.name)
    _check_context(deployment, question)
    folder = _folder(arguments.output, arguments.name, time.time())
    driver = Path(bench_driver.__file__).read_text(encoding="utf-8")
    manifest = job(
        deployment,
        pod,
        question,
        name=names.bench_job(arguments.name, secrets.token_hex(4)),
        model=served_name(deployment),
        driver=driver,
        variable=bench_driver.VARIABLE,
    )
    progress, begun = Progress(1, 1), time.time()
    try:
        with created(cluster, manifest) as name:
            said = follow(cluster, name, question.longest_seconds, progress.say)
    finally:
        progress.end()
    if said.failed is not None:
        raise failure(said)
    report = _report(question, said, (deployment, cluster.deployment(arguments.name)), pod, (begun, time.time()))
    from llama_operator.cli.bench_document import to_json, to_text
    from llama_operator.cli.bench_page import page

    _write(folder, {REPORT: to_text(report), PAGE: page(report)})
    if arguments.form == "json":
        write_document(to_json(report), "json")
    else:
        from llama_operator.cli.bench_table import tables

        write_tables(open_console(), tables(report))
    sys.stderr.write(f"Written: {folder / REPORT}, {folder / PAGE}\n")
    if any(each.completed for each in report.runs):
        return FITS
    sys.stderr.write("kubectl llama: no request was answered.\n")
    return PROBLEMS


def _serving(cluster: Cluster, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The LlamaDeployment, and a ready pod of a replica of it. Raises BadInput."""
    with cluster.told():
        deployment, pods = together(
            lambda: cluster.deployment(name),
            lambda: cluster.kubectl.list("Pod", cluster.namespace, labels=f"{names.LABEL_DEPLOYMENT}={name}"),
        )
    for raw in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        pod = Pod.of(raw)
        if pod.component == names.REPLICA and pod.traffic and pod.ready and pod.running and not pod.deleting:
            return deployment, raw
    phase = (deployment.get("status") or {}).get("phase") or "without status"
    given = f"{quoted(name)}, which is {phase} and has no replica that is ready"
    raise BadInput.of(Problem(field="NAME", given=given, allowed="one that serves", remedy=f"Ask kubectl llama why {name}."))


def _check_context(deployment: Mapping[str, Any], question: Question) -> None:
    spec = deployment.get("spec") or {}
    most = (spec.get("context") or {}).get("maxTokens")
    asked = question.input_tokens + question.output_tokens
    if isinstance(most, int) and asked > most:
        problem = Problem(
            field="--input-tokens",
            given=f"{question.input_tokens:,} with {question.output_tokens:,} to answer",
            allowed=f"at most {most:,} together, which is spec.context.maxTokens",
            remedy="Lower one of them.",
        )
        raise BadInput.of(problem)


def _folder(given: str | None, name: str, now: float) -> Path:
    """Where the report goes: it must be possible before the test, not after it. Raises BadInput."""
    folder = Path(given if given is not None else f"llama-bench-{name}-{stamp(now).replace(':', '').replace('-', '')}")
    try:
        taken = any((folder / file).exists() for file in (REPORT, PAGE))
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    if taken:
        given = f"{quoted(str(folder))}, which holds a report"
        raise BadInput.of(Problem(field="--output", given=given, allowed="another folder", remedy="Name a new one."))
    return folder


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: Exception) -> BadInput:
    why = getattr(error, "strerror", None) or str(error)
    given = f"{quoted(str(folder))} ({why})"
    problem = Problem(field="--output", given=given, allowed="a folder that can be made and written", remedy="Correct the path.")
    return BadInput.of(problem)


def _report(
    question: Question,
    said: Said,
    deployments: tuple[Mapping[str, Any], Mapping[str, Any]],
    pod: Mapping[str, Any],
    when: tuple[float, float],
) -> Any:
    from llama_operator.cli.bench_build import NoResultError, objectives_of, run_report  # pydantic's models: not before they are needed
    from llama_operator.cli.bench_subject import report_of

    runs = []
    for index, load in enumerate(question.loads):
        found = said.result(index)
        try:
            objectives = objectives_of(deployments[0].get("spec") or {})
            runs.append(run_report(load, found, said.begun.get(index, when[0]), question.output_tokens, objectives))
        except NoResultError as error:
            given = f"a result of load {index + 1} that cannot be read ({error})"
            problem = Problem(field="bench", given=given, allowed="what vllm bench serve writes", remedy="Try again, or report it.")
            raise BadInput.of(problem) from None
    versions = {"kubectlLlama": __version__, "tool": said.tool}
    return report_of(question, runs, deployments, pod, (stamp(when[0]), stamp(when[1])), versions)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A terminal that is closed, or a kill, ends the command as Ctrl-C does: what it made in the cluster is deleted."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _compare(arguments: argparse.Namespace) -> int:
    refusals.check_output(arguments.form, ("table", "json", "html"), "-o")
    _refuse_others(arguments)
    console = open_console() if arguments.form == "table" else None
    from llama_operator.cli.bench_compare import compare
    from llama_operator.cli.bench_document import read_report

    first, second = arguments.compare
    found = compare(read_report(first), read_report(second), (first, second))
    if console is not None:
        from llama_operator.cli.bench_table import compared

        write_tables(console, compared(found))
    elif arguments.form == "json":
        write_document(found.model_dump(by_alias=True, mode="json"), "json")
    else:
        from llama_operator.cli.bench_page import compared_page

        sys.stdout.write(compared_page(found))
    if found.unlike:
        sys.stderr.write(f"kubectl llama: warning: {found.notes[0]}\n")
    return FITS


def _refuse_others(arguments: argparse.Namespace) -> None:
    options: Sequence[str] = (
        "name",
        "requests",
        "seconds",
        "rate",
        "concurrency",
        "input_tokens",
        "output_tokens",
        "seed",
        "longest",
        "output",
    )
    given = [option for option in options if getattr(arguments, option) is not None]
    if given:
        shown = ["NAME" if option == "name" else f"--{option.replace('_', '-')}" for option in given]
        problem = Problem(
            field="--compare",
            given=f"it and {', '.join(shown)}",
            allowed="two reports alone",
            remedy="Leave the others out: nothing is measured.",
        )
        raise BadInput.of(problem)
