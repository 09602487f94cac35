"""`make demo`: the main job from nothing to a closing table.

A real cluster comes up, Helm installs the operator, a LlamaDeployment is applied, a trained model answers through the Service, load is
sent, the operator goes from one replica to two on Prometheus metrics and back to one. Exit status 0 only when all of that was seen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from localcluster.errors import LocalClusterError
from playground import memory
from playground.kube import Namespace
from playground.stage import Stage, autoscaling

NAME = "smollm2"
NAMESPACE = "demo"
QUESTION = "What is the capital of France?"
PER_REPLICA = 4
STREAMS = 8
LONGEST_LOAD_SECONDS = 420
MOUNTED = "  podTemplate: the machine's Python environment, mounted (see deploy/local)"


class Demo:
    """The steps, and what each took."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self.console = Console(highlight=False)
        self.stage = Stage()
        self.took: list[tuple[str, float, str]] = []
        self.begun = time.monotonic()

    @contextmanager
    def part(self, title: str) -> Iterator[Callable[[str], None]]:
        """One row of the closing table; the block says what it saw."""
        self.console.rule(f"[bold]{title}", align="left")
        begun, said = time.monotonic(), [""]

        def note(text: str) -> None:
            said[0] = text

        yield note
        self.took.append((title, time.monotonic() - begun, said[0]))

    def run(self) -> None:
        """All parts. Raises what went wrong."""
        with memory.Peak() as peak:
            space, client = self._set_the_stage()
            answer = self._answer(client)
            self._scale(space, client)
            self._close(answer, peak)

    def _set_the_stage(self) -> tuple[Namespace, Any]:
        foreign = self.stage.cluster.foreign
        with self.part(f"cluster: {foreign.context}" if foreign else "cluster: two nodes, eight fake GPUs each"):
            self.stage.engine_ahead()
            self.stage.cluster_up()
        with self.part("images, Python environment, model"):
            self.stage.load_images()
            self.stage.engine()
        with self.part("Prometheus, and the operator with Helm") as note:
            self.stage.start_prometheus()
            self.stage.operator.install()
            note(f"{self.stage.operator.holder()} leads")
        space = self.stage.namespace(NAMESPACE)
        client = self.stage.client(space)
        if space.llama(NAME):
            space.delete_llama(NAME)
            space.wait_gone(NAME, 90)
        with self.part("from kubectl apply to Ready") as note:
            manifest = self.stage.small(NAME, autoscaling=autoscaling(2, in_flight=PER_REPLICA, down_seconds=30))
            self.console.print(_yaml(manifest) + ("" if foreign else MOUNTED))
            space.apply(manifest)
            # Another cluster pulls an image of many gigabytes first.
            self._follow(space, lambda status: status.get("ready") == "1/1", 1800 if foreign else 400)
            note("a token came out of the engine before it said so")
        return space, client

    def _answer(self, client: Any) -> str:
        with self.part("a chat completion through the Service") as note:
            reply = client.chat(f"http://{NAME}", NAME, QUESTION)
            if reply["status"] != 200:
                raise RuntimeError(f"the endpoint answered {reply['status']}: {reply['text']}")
            self.console.print(f"  you    {QUESTION}\n  {NAME}  [bold]{reply['text'].strip()}")
            note(reply["text"].strip())
        return str(reply["text"]).strip()

    def _scale(self, space: Namespace, client: Any) -> None:
        with self.part(f"load: {STREAMS} streams, {PER_REPLICA} wanted for each replica: one replica to two") as note:
            load = client.load(f"http://{NAME}", NAME, streams=STREAMS, seconds=LONGEST_LOAD_SECONDS, tokens=48)
            self._follow(space, lambda status: status.get("ready") == "2/2", LONGEST_LOAD_SECONDS)
            note(space.condition(NAME, "Scaling").get("message", ""))
        with self.part("the load ends: two replicas to one") as note:
            load.stop()
            result = load.result()
            self._follow(space, lambda status: status.get("ready") == "1/1" and status.get("replicaCount") == 1, 240)
            note(f"{result['requests']} streams, {result['failed']} broken, {result['tokensPerSecond']:.1f} tokens/s")
            if result["failed"]:
                raise RuntimeError(f"{result['failed']} of {result['requests']} streams broke: {result['errors']}")

    def _follow(self, space: Namespace, done: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Print what the status says whenever it says something new, until `done`."""
        begun, last = time.monotonic(), [""]

        def look() -> dict[str, Any] | None:
            status = space.status(NAME)
            line = _line(status)
            if line != last[0]:
                last[0] = line
                self.console.print(f"  {time.monotonic() - begun:5.0f} s  {line}")
            return status if done(status) else None

        found: dict[str, Any] = space.wait("the demo's deployment gets there", look, seconds, NAME)
        return found

    def _close(self, answer: str, peak: memory.Peak) -> None:
        table = Table(title="What happened, and how long it took", title_justify="left")
        table.add_column("part")
        table.add_column("seconds", justify="right")
        table.add_column("seen", overflow="fold")
        for title, seconds, said in self.took:
            table.add_row(title, f"{seconds:.0f}", said)
        table.add_section()
        table.add_row("all of it", f"{time.monotonic() - self.begun:.0f}", f"at most {peak.gib:.1f} GiB of memory more in use than before")
        self.console.print(table)
        self.console.print(f"[bold]{QUESTION}[/bold] {answer}")
        kubeconfig = self.stage.cluster.kubeconfig
        self.console.print(f"\nIt goes on running: KUBECONFIG={kubeconfig} kubectl -n {NAMESPACE} get lld\nStop it: make demo-down")


def _line(status: dict[str, Any]) -> str:
    progress = next((item["message"] for item in status.get("conditions") or [] if item["type"] == "Progressing"), "")
    scaling = status.get("autoscaling") or {}
    wanted = f" wanted {scaling['desiredReplicas']} ({scaling.get('reason')})" if scaling else ""
    return f"{status.get('ready', '-'):>4} {status.get('phase', 'Applied'):<9}{wanted}  {progress}"


def _yaml(manifest: dict[str, Any]) -> str:
    import yaml

    shown = {**manifest, "spec": {key: value for key, value in manifest["spec"].items() if key != "podTemplate"}}
    return str(yaml.safe_dump(shown, sort_keys=False))


def main() -> int:
    """Exit status 0 when everything was seen."""
    demo = Demo()
    try:
        demo.run()
    except (LocalClusterError, RuntimeError, TimeoutError) as error:
        demo.console.print(f"[bold red]the demo failed:[/bold red] {error}")
        for note in getattr(error, "__notes__", []):
            demo.console.print(note)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
