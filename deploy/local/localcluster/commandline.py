"""`python -m localcluster COMMAND`: thin commands over `Cluster` and its neighbours."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

import yaml

from . import browser, models, pod_template, programs, serving_env
from .archive import image_tags
from .cluster import Cluster, process_names
from .errors import LocalClusterError
from .images import Images


def _up(cluster: Cluster, _: argparse.Namespace) -> int:
    cluster.ensure_up()
    return 0


def _down(cluster: Cluster, _: argparse.Namespace) -> int:
    cluster.down()
    return 0


def _status(cluster: Cluster, _: argparse.Namespace) -> int:
    states = cluster.status()
    for name, state in states.items():
        word = "running" if state["running"] else "not running" if state["exit"] is None else f"ended ({state['exit']})"
        print(f"{name:<26}{word}")
    up = all(state["running"] for state in states.values())
    print(f"{'API server':<26}{'ready' if up and cluster.api.ready() else 'not ready'}")
    return 0 if up else 1


def _programs(cluster: Cluster, _: argparse.Namespace) -> int:
    layout = cluster.layout
    for name, path in layout.programs.paths.items():
        print(f"{name:<26}{layout.programs.source[name]:<10}{path}")
    for name, path in layout.debian.paths.items():
        print(f"{name:<26}{'debian':<10}{path}")
    programs.verify(cluster.settings)
    return 0


def _browser(cluster: Cluster, _: argparse.Namespace) -> int:
    print(browser.ensure(cluster.settings, cluster.progress))
    return 0


def _kubectl(cluster: Cluster, arguments: argparse.Namespace) -> NoReturn:
    found = programs.ensure(cluster.settings, cluster.progress)
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    argv = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "--context", cluster.context, *words]
    os.execve(found["kubectl"], argv, {**os.environ, **cluster.environment})  # noqa: S606 - no shell is meant


def _image_build(cluster: Cluster, arguments: argparse.Namespace) -> int:
    images = Images(cluster.settings, cluster.layout.debian, cluster.progress)
    bare = [word for word in arguments.build_arg if "=" not in word]
    if bare:
        raise LocalClusterError(f"--build-arg {bare[0]!r} has no value. Write NAME=VALUE")
    pairs = dict(word.split("=", 1) for word in arguments.build_arg)
    print(images.build_image(arguments.file, arguments.context, arguments.tag, build_args=pairs))
    return 0


def _image_load(cluster: Cluster, arguments: argparse.Namespace) -> int:
    for path in arguments.archives:
        cluster.load_image(path)
        print(f"loaded {', '.join(image_tags(path))}")
    return 0


def _serve_base(cluster: Cluster, _: argparse.Namespace) -> int:
    path, name = Images(cluster.settings, cluster.layout.debian, cluster.progress).serve_base()
    cluster.load_image(path)
    print(name)
    return 0


def _serving_env(cluster: Cluster, _: argparse.Namespace) -> int:
    print(serving_env.ensure(cluster.settings, cluster.progress))
    return 0


def _model(cluster: Cluster, arguments: argparse.Namespace) -> int:
    for name in [arguments.name] if arguments.name else models.NAMES:
        print(models.ensure(cluster.settings, cluster.progress, name))
    return 0


def _pod_template(cluster: Cluster, _: argparse.Namespace) -> int:
    print(
        yaml.safe_dump(pod_template.make(serving_env=cluster.settings.serving_env, models=cluster.settings.models), sort_keys=False), end=""
    )
    return 0


def _logs(cluster: Cluster, arguments: argparse.Namespace) -> int:
    directory = cluster.settings.logs if cluster.settings.logs.is_dir() else cluster.settings.last_logs
    if arguments.name is None:
        for path in sorted(directory.glob("*.log")):
            print(f"{path.stat().st_size:>12,} {path}")
        return 0
    path = directory / f"{arguments.name}.log"
    if not path.is_file():
        raise LocalClusterError(f"no log {path}. Names: box, {', '.join(process_names())}")
    sys.stdout.write("".join(path.read_text(errors="replace").splitlines(keepends=True)[-arguments.lines :]))
    return 0


def parser() -> argparse.ArgumentParser:
    """Every command, with a line each."""
    top = argparse.ArgumentParser(prog="localcluster", description="A real Kubernetes cluster on this machine, in a box of its own.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text)

    add("up", "start the cluster, or what of it does not run").set_defaults(run=_up)
    add("down", "stop the cluster and remove everything but the cache").set_defaults(run=_down)
    add("status", "say which processes run").set_defaults(run=_status)
    add("programs", "find, download or build every program").set_defaults(run=_programs)
    add("browser", "find a browser for the tests, or unpack Debian's").set_defaults(run=_browser)
    kubectl = add("kubectl", "run kubectl on the cluster: kubectl -- get pods")
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    kubectl.set_defaults(run=_kubectl)
    logs = add("logs", "list the processes' logs, or show the end of one")
    logs.add_argument("name", nargs="?")
    logs.add_argument("--lines", type=int, default=100)
    logs.set_defaults(run=_logs)
    image = add("image", "build an image, or load one into both nodes")
    verbs = image.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="build a Dockerfile (its ARG BASE is the Debian base) into a docker-archive")
    build.add_argument("--file", type=Path, required=True)
    build.add_argument("--context", type=Path, required=True)
    build.add_argument("--tag", required=True, help="with a registry, for example docker.io/llama-local/operator:dev")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    build.set_defaults(run=_image_build)
    load = verbs.add_parser("load", help="load docker-archives into both nodes")
    load.add_argument("archives", nargs="+", type=Path)
    load.set_defaults(run=_image_load)
    verbs.add_parser("serve-base", help="load the Ray pods' image and print its name").set_defaults(run=_serve_base)
    add("serving-env", "make the serving side's Python environment").set_defaults(run=_serving_env)
    model = add("model", "make the demo's models, or one of them")
    model.add_argument("name", nargs="?", choices=models.NAMES)
    model.set_defaults(run=_model)
    add("pod-template", "print the CR's podTemplate for this machine").set_defaults(run=_pod_template)
    return top


def main(argv: list[str]) -> int:
    """Run one command; 0 when it worked, 1 when not."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(Cluster(), arguments))
    except LocalClusterError as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
