"""The options of the commands that ask a cluster. Like `options`, it imports nothing but the standard library."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from llama_operator.cli.options import OUTPUTS, add_cluster, add_options


def commands() -> Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], str]]:
    """Of each command: what adds its options, and what it does."""
    return {
        "status": (_status, "show deployments, or one with its revisions, gangs, pods and nodes, and how far its loads are"),
        "top": (_top, "show requests in flight and held, tokens a second, time to first token, KV cache and GPUs of each deployment"),
        "chat": (_chat, "talk to a deployment, and see the time to the first token and the tokens a second"),
        "bench": (_bench, "put load on a deployment from inside its cluster and write a report with plots, or compare two reports"),
        "logs": (_logs, "show what the pods of a deployment logged, or the engines in them"),
        "doctor": (_doctor, "look for what the cluster lacks, each finding with its remedy"),
        "support-bundle": (_bundle, "write a file for whoever helps you, without tokens, keys or prompts"),
        "completion": (_completion, "print the script that lets kubectl or bash complete these commands"),
    }


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a LlamaDeployment; all of the namespace where it is left out")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until Ctrl-C, and show every change")
    _end(parser)


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a LlamaDeployment; all of the namespace where it is left out")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until Ctrl-C")
    add_options(
        parser,
        ("--prometheus", "URL", "Prometheus as this machine reaches it (the operator's, through the API server)"),
        ("--operator-namespace", "NAMESPACE", "where the operator runs, whose Prometheus is asked (it is looked for)"),
        ("--window", "TIME", "over which rates and percentiles are taken, as in 5m (5m)"),
    )
    _end(parser)


def _chat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a LlamaDeployment")
    add_options(
        parser,
        ("-p|--prompt", "TEXT", "ask this and end; - for all of the standard input (a conversation, a line each)"),
        ("--system", "TEXT", "what the model is told first"),
        ("--max-tokens", "N", "longest answer (the model's)"),
        ("--temperature", "T", "0 is the same each time (the model's)"),
        ("--url", "URL", "of an OpenAI API that this machine reaches, as in http://llama.example/v1 (a port-forward is made)"),
        ("--api-key-env", "NAME", "environment variable with the API key that the endpoint asks for"),
    )
    _end(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a LlamaDeployment that serves")
    add_options(
        parser.add_argument_group(
            "load", "one of --concurrency and --rate; several numbers with commas between them are run one after the other"
        ),
        ("--concurrency", "N[,N…]", "requests that are under way at once (8)"),
        ("--rate", "R[,R…]", "requests that arrive a second, by chance"),
        ("--requests", "N", "of each load (100)"),
        ("--seconds", "S", "that requests arrive, with --rate and instead of --requests"),
        ("--input-tokens", "N", "of each prompt (256)"),
        ("--output-tokens", "N", "of each answer (128)"),
        ("--seed", "N", "of prompts and arrivals (drawn each time, so that no cache knows the prompts)"),
        ("--longest", "TIME", "after which the cluster ends it, as in 30m (30m)"),
    )
    answer = parser.add_argument_group("the answer")
    answer.add_argument("--compare", nargs=2, metavar=("A", "B"), help="set two reports side by side; nothing is measured")
    answer.add_argument("-o", metavar="FORMAT", dest="form", default=OUTPUTS[0], help="table or json; with --compare also html (table)")
    answer.add_argument("--output", metavar="DIR", help="folder for report.json and report.html (llama-bench-NAME-TIME)")
    add_cluster(parser)


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a LlamaDeployment")
    add_options(
        parser,
        ("--replica", "GANG", "of this replica alone, as status numbers them (all, and the head)"),
        ("--rank", "RANK", "of this pod of each replica alone (all)"),
        ("--tail", "LINES", "the last lines of each pod (200)"),
        ("--since", "TIME", "newer than this, as in 10m (all)"),
    )
    parser.add_argument("--head", action="store_true", help="of the head alone")
    parser.add_argument("--engine", action="store_true", help="the files of Ray and the engine in the pods, in place of the agents' log")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    _end(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operator-namespace", metavar="NAMESPACE", help="where the operator runs (it is looked for)")
    _end(parser)


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a LlamaDeployment; all of the namespace where it is left out")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    add_options(
        parser,
        ("--file", "FILE", "where it goes (llama-support-TIME.tar.gz)"),
        ("--operator-namespace", "NAMESPACE", "where the operator runs (it is looked for)"),
        ("--tail", "LINES", "the last log lines of each pod (2000)"),
    )
    _end(parser)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", metavar="kubectl|bash", help="for kubectl llama, in every shell that kubectl completes in; or for kubectl-llama"
    )


def _end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FORMAT", default=OUTPUTS[0], help="table, json or yaml (table)")
    add_cluster(parser)
