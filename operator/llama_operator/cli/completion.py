"""`kubectl llama completion SHELL`: the script that makes a shell complete commands, options and names of LlamaDeployments.

    kubectl llama <TAB>     kubectl runs a program kubectl_complete-llama of the PATH, where there is one: `completion kubectl` prints it
                            (https://github.com/kubernetes/kubectl/blob/master/pkg/cmd/plugin/plugin_completion.go)
    kubectl-llama <TAB>     bash

Both ask `kubectl-llama complete -- WORDS…`, the last of which is the one that is being typed. Where kubectl completes in zsh or fish, it
does so for its plugins too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise

from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.options import FITS
from llama_operator.cli.refusals import BadInput, quoted

SCRIPTS = {
    "kubectl": "#!/bin/sh\n# Save it as kubectl_complete-llama on the PATH, and make it executable.\n"
    'kubectl-llama complete -- "$@"\n# No completion of files: https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective\necho :4\n',
    "bash": "_kubectl_llama() {\n"
    '  mapfile -t COMPREPLY < <(kubectl-llama complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)\n'
    "}\ncomplete -o default -F _kubectl_llama kubectl-llama\n",
}


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    if arguments.shell not in SCRIPTS:
        problem = Problem(field="completion", given=quoted(arguments.shell), allowed=f"one of {', '.join(SCRIPTS)}", remedy="Choose one.")
        return refusals.tell(BadInput.of(problem))
    sys.stdout.write(SCRIPTS[arguments.shell])
    return FITS


def candidates(words: Sequence[str], commands: dict[str, list[str]], named: frozenset[str]) -> list[str] | None:
    """What the last word could become; None: the name of a LlamaDeployment. `commands` are the options of each command, and `named` those
    that begin with such a name.
    """
    *before, last = words or [""]
    command = next((word for word in before if not word.startswith("-")), None)
    if command is None:
        return sorted(name for name in commands if name.startswith(last))
    if last.startswith("-"):
        return sorted(option for option in commands.get(command, []) if option.startswith(last))
    return None if command in named and before[-1] == command else []


def complete(words: Sequence[str]) -> int:
    """Writes a candidate a line. A cluster that does not answer has no names: nobody may be bothered while typing."""
    from llama_operator.cli.options import parsers

    known = parsers()
    named = frozenset(name for name, (_, takes_name) in known.items() if takes_name)
    found = candidates(words, {name: options for name, (options, _) in known.items()}, named)
    if found is None:
        found = _names(words)
    sys.stdout.writelines(f"{text}\n" for text in found)
    return FITS


def _names(words: Sequence[str]) -> list[str]:
    from llama_operator.cli.cluster import Cluster  # only where a name is completed

    given = dict(pairwise(words))
    flags = argparse.Namespace(kubeconfig=given.get("--kubeconfig"), context=given.get("--context"), namespace=given.get("-n"))
    try:
        here = Cluster.of(flags).deployments()
    except BadInput:
        return []
    return sorted(name for item in here if (name := str(item["metadata"]["name"])).startswith(words[-1]))
