"""The command line as a table. Imports nothing but argparse and the standard library: `--help` must not wait for a library.

Values stay texts here, and every one of them is looked at by the command, which then tells all problems at once. argparse itself only
knows which options there are.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from functools import cache
from typing import NoReturn

PROGRAM = "kubectl llama"

FITS, PROBLEMS, DOES_NOT_FIT = 0, 1, 2
"""Exit statuses."""

OUTPUTS = ("table", "json", "yaml")
SIMULATE_OUTPUTS = ("table", "json", "html")
COST_OUTPUTS = ("table", "json")


class UsageError(Exception):
    """A command line that argparse cannot read; the text is one line, or several, each with its remedy."""


class _Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, where argparse's own would end the process with the status that here means `does not fit`."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError. argparse calls it for whatever it cannot read."""
        raise UsageError(f"{self.prog}: {message}. See {self.prog} --help.")


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Raises UsageError; raises SystemExit(0) after `--help` and `--version`, as argparse does."""
    parser, commands = _parser()
    found, rest = parser.parse_known_args(argv)
    if not rest:
        return found
    command = commands.get(found.command, parser)
    known = [option for action in command._actions for option in action.option_strings]  # noqa: SLF001 -- argparse has no other list
    lines = []
    for given in rest:
        near = difflib.get_close_matches(given.partition("=")[0][:200], known, n=1)
        remedy = f"Did you mean {near[0]}?" if near else f"See {command.prog} --help."
        lines.append(f'{command.prog}: "{given}" is given; allowed is {" ".join(known)}. {remedy}')
    raise UsageError("\n".join(lines))


def parsers() -> dict[str, tuple[list[str], bool]]:
    """Of each command: its options, and whether it begins with the name of a LlamaDeployment."""
    return {
        name: (
            [option for action in parser._actions for option in action.option_strings],  # noqa: SLF001 -- argparse has no other list
            any(action.dest == "name" and not action.option_strings for action in parser._actions),  # noqa: SLF001 -- the same
        )
        for name, parser in _parser()[1].items()
    }


@cache
def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The whole table. Reading a line changes nothing in it, so one is enough for a process that reads several."""
    parser = _Parser(
        prog=PROGRAM,
        description="What the operator would say, without a cluster: does a model fit, is a file right; "
        "and what it did in yours, why, and what it cost.",
        epilog=f"exit status: {FITS} it fits, or all is well; {PROBLEMS} what was given is wrong; {DOES_NOT_FIT} it does not fit",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and end")
    made = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    commands: dict[str, _Parser] = {}
    for name, (add, about) in _commands().items():
        commands[name] = made.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False)
        add(commands[name])
    return parser, commands


def _commands() -> dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]]:
    """Of each command: what adds its options, and what it does."""
    from llama_operator.cli import cluster_options  # it needs this module first

    return {
        "plan": (_plan, "say how a model is split over GPUs, what it leaves for the KV cache, and what to change where it does not fit"),
        "validate": (_validate, "say every problem and warning of LlamaDeployment files at its line, and whether what they ask for fits"),
        "simulate": (_simulate, "replay traffic against scaling policies on modelled replicas, and say what each attains and costs"),
        "why": (_why, "say why a LlamaDeployment has the replicas that it has, or does not serve; now, or at a time before"),
        "cost": (_cost, "say what a deployment cost, how much of it was idle, what a million tokens cost, and what an API would take"),
        "catalog": (_catalog, "list the models and accelerators that are known by name"),
        **cluster_options.commands(),
    }


def commands() -> str:
    """All of them, for a message."""
    *others, last = _commands()
    return f"{', '.join(others)} or {last}"


def _plan(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is asked", "a file, or options; an option counts more than the file")
    what.add_argument("-f", "--file", metavar="FILE", help="a LlamaDeployment in YAML or JSON; - for the standard input")
    what.add_argument("--name", metavar="NAME", help="which one, where the file holds several LlamaDeployments")
    add_options(
        what,
        ("--model", "REPO", "a model of the catalogue, as in meta-llama/Llama-3.1-8B; with -f, what its source stands for"),
        ("--model-path", "PATH", "a folder with the model's files, or a config.json alone"),
        ("--accelerator", "NAME", "kind of GPU, as in nvidia-h100-80gb, or cpu; see catalog accelerators"),
        ("--memory-gib", "GIB", "memory of one GPU, where the catalogue does not know it or you know better"),
        ("--bandwidth-gbps", "GB/S", "memory bandwidth of one GPU, likewise"),
        ("--gpus-per-node", "N", "GPUs that a node offers to a pod (8)"),
        ("--nodes", "N", "nodes that one replica may span (1; with a given pipeline as many as it needs)"),
    )
    what.add_argument("--read-hub", action="store_true", help="ask the Hugging Face hub for a model that the catalogue does not know")
    wishes = parser.add_argument_group("what it must do")
    add_options(
        wishes,
        ("--context", "TOKENS", "longest sequence, prompt and answer (the model's own)"),
        ("--concurrency", "N", "sequences of that length at once (1)"),
        ("--kv-cache-dtype", "TYPE", "auto, float16, bfloat16, fp8, fp8_e4m3 or fp8_e5m2 (auto)"),
        ("--quantization", "METHOD", "fp8: quantise the weights while they load (as the checkpoint is)"),
        ("--utilisation|--utilization", "SHARE", "of a GPU's memory that the engine takes, vLLM's gpu_memory_utilization (0.9)"),
        ("--overhead-gib", "GIB", "of each GPU for all but weights and KV cache (3)"),
        ("--tensor", "N", "tensor parallelism (the planner chooses)"),
        ("--pipeline", "N", "pipeline parallelism (the planner chooses)"),
        ("--rank", "BY", "what is best: gpus, latency or throughput (gpus)"),
        ("--gpu-hour-price", "PRICE", "of one GPU for an hour, in any currency: adds the price of a million tokens"),
        ("--read-rate", "GB/S", "at which a node reads weights: adds the time to load"),
    )
    parser.add_argument("-o", "--output", metavar="FORMAT", default=OUTPUTS[0], help="table, json or yaml (table)")


def _validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--file", metavar="FILE", action="append", help="a file in YAML or JSON; - for the standard input; again for more"
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="more files")


def _simulate(parser: argparse.ArgumentParser) -> None:
    add_options(
        parser.add_argument_group("traffic", "one of --trace, --generate and --from-prometheus"),
        ("--trace", "FILE", "requests with their times and tokens, also gzipped; - for the standard input"),
        ("--format", "FORMAT", "of that file: azure, mooncake or csv (its first line tells)"),
        ("--generate", "KIND", "traffic from the seed: conversation, code, mooncake, week or flash"),
        ("--hours", "H", "of generated traffic (1; of week 168)"),
        ("--from-prometheus", "URL", "the history of a deployment of yours"),
        ("--deployment", "NAME", "the LlamaDeployment whose history it is"),
        ("--namespace", "NAMESPACE", "its namespace (default)"),
        ("--window", "TIME", "how far back, as in 12h or 7d (7d)"),
        ("--step", "SECONDS", "of that history; at least twice the scrape interval (60)"),
        ("--copies", "K", "as many at once, copy k later by 7.3 k seconds (1)"),
        ("--seed", "N", "of everything that is drawn (0)"),
    )
    what = parser.add_argument_group("what is compared", "a file, or options; an option counts more than the file")
    add_options(
        what,
        ("--policy", "LIST", "ours,hpa,keda,kpa,ray,aibrix,aibrix-kpa,static:N,clairvoyant (all but static:N)"),
        ("-f|--file", "FILE", "a LlamaDeployment: its objective, bounds and hardware, and what one replica more or less would change"),
        ("--name", "NAME", "which one, where the file holds several LlamaDeployments"),
        ("--model", "REPO", "the model of the catalogue that the file's source stands for"),
        ("--model-path", "PATH", "a folder with the model's files, or a config.json alone"),
    )
    what.add_argument("--read-hub", action="store_true", help="ask the Hugging Face hub for a model that the catalogue does not know")
    add_options(
        what,
        ("--service", "NUMBERS", "one replica: prefill=4900,slots=64,itl=0.1,kv=681000 (these, or the file's plan)"),
        ("--load-seconds", "T", "from ordering a replica until it is ready; must be given"),
        ("--load-spread", "S", "standard deviation of that time's logarithm (0)"),
        ("--slo-ttft", "SECONDS", "within which a request should have its first token (6)"),
        ("--target", "N", "requests in flight for each replica, for those that scale on them (70 %% of what a replica sustains)"),
        ("--min", "N", "fewest replicas (1)"),
        ("--max", "N", "most replicas (24)"),
        ("--idle", "SECONDS", "without a request after which ours lets the last replica go, where --min is 0 (1800)"),
        ("--gpus", "N", "of the whole cluster, for replicas of the file (as many as --max needs)"),
        (
            "--routing",
            "HOW",
            "choices: as this operator's clusters do; round-robin: in turns; least: to the one with the fewest in hand (choices)",
        ),
        ("--begin", "TIME", "when the traffic begins, as in 2026-11-23T06:00:00+01:00: for the file's time windows (the trace's own date)"),
        ("--initial", "N", "replicas ready at the beginning (what the first five minutes need)"),
        ("--scrape", "SECONDS", "between two looks of Prometheus (15)"),
        ("--lag", "SECONDS", "until a query sees a scrape (0)"),
    )
    answer = parser.add_argument_group("the answer")
    answer.add_argument("--changes", action="store_true", help="list when ours changed the number, and why, below a table")
    answer.add_argument("-o", metavar="FORMAT", dest="form", default=SIMULATE_OUTPUTS[0], help="table, json or html (table)")
    answer.add_argument("--output", metavar="FILE", help="write there instead of to the standard output")


def _cost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the LlamaDeployment")
    add_options(
        parser.add_argument_group("what is asked"),
        ("--window", "TIME", "how far back, as in 30m, 24h or 7d (24h)"),
        ("--prometheus", "WHERE", "http://… or NAMESPACE/SERVICE:PORT, through the API server (the one that the operator reads)"),
        ("--gpu-hour-price", "PRICE", "dollars for one accelerator and hour (what the installation says)"),
        ("--operator-namespace", "NAMESPACE", "where the operator runs, whose Prometheus is asked (it is looked for)"),
    )
    parser.add_argument("-o", "--output", metavar="FORMAT", default=COST_OUTPUTS[0], help="table or json (table)")
    add_cluster(parser)
    parser.set_defaults(window="24h")


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the LlamaDeployment")
    parser.add_argument("--at", metavar="TIME", help="a time before, as in 2026-11-21T15:02:00Z, 15:02 (UTC) or 10m (ago)")
    add_cluster(parser)
    parser.add_argument("-o", "--output", metavar="FORMAT", default=OUTPUTS[0], help="table, json or yaml (table)")


def _catalog(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="models|accelerators", help="what to list")
    parser.add_argument("-o", "--output", metavar="FORMAT", default=OUTPUTS[0], help="table, json or yaml (table)")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """The options of a command that asks a cluster, named as kubectl names them; `cluster.Cluster.of` reads them."""
    add_options(
        parser.add_argument_group("which cluster", "as kubectl has it"),
        ("-n|--namespace", "NAMESPACE", "its namespace (the context's)"),
        ("--context", "NAME", "the context of the kubeconfig (the current one)"),
        ("--kubeconfig", "FILE", "the kubeconfig ($KUBECONFIG, or ~/.kube/config)"),
    )


def add_options(group: argparse._ActionsContainer, *rows: tuple[str, str, str]) -> None:
    """Options that each take a text: `-s|--long`, what stands for the text, and what it says."""
    for name, metavar, about in rows:
        group.add_argument(*name.split("|"), metavar=metavar, help=about)
