"""A client inside the cluster: a pod of the operator's image (Python and httpx), through which users' requests are made the way users
make them.
"""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playground.kube import Namespace
from playground.tools import Tools

SCRIPT = Path(__file__).with_name("client_script.py")
POD = "client"


class Load:
    """A load that runs in the background."""

    def __init__(self, client: Client, url: str, model: str, plan: dict[str, Any]) -> None:
        """Begin at once."""
        self._result: dict[str, Any] | BaseException | None = None
        self._client, self._stop = client, f"/tmp/stop-{uuid.uuid4().hex[:8]}"
        plan = {**plan, "stop": self._stop}
        self._thread = threading.Thread(target=self._run, args=(client, url, model, plan), daemon=True)
        self._thread.start()

    def _run(self, client: Client, url: str, model: str, plan: dict[str, Any]) -> None:
        try:
            self._result = client.run(
                ["replay" if "arrivals" in plan else "load", url, model, json.dumps(plan)], seconds=plan["seconds"] + 400
            )
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that asks for the result
            self._result = error

    @property
    def running(self) -> bool:
        """The load goes on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Begin no further stream; those that run are finished."""
        self._client.touch(self._stop)

    def result(self, seconds: float = 600) -> dict[str, Any]:
        """What came of it. Raises what went wrong in the client itself."""
        self._thread.join(seconds)
        if isinstance(self._result, BaseException):
            raise self._result
        if self._result is None:
            raise TimeoutError(f"the load did not end within {seconds:g} s")
        return self._result


class Client:
    """Makes requests from inside the cluster."""

    def __init__(self, tools: Tools, namespace: Namespace, image: str) -> None:
        """`image` holds python3 and httpx."""
        self._tools, self._namespace, self._image = tools, namespace, image

    def start(self) -> Client:
        """Make the pod and wait for it."""
        self._namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": POD},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {"name": "client", "image": self._image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "86400"]}
                    ],
                },
            }
        )

        def running() -> bool:
            pod = self._namespace.get(f"/api/v1/namespaces/{self._namespace.name}/pods/{POD}") or {}
            return (pod.get("status") or {}).get("phase") == "Running"

        self._namespace.wait("the client pod runs", running, 60)
        return self

    def chat(self, url: str, model: str, prompt: str) -> dict[str, Any]:
        """One answer: `status`, `text`, `seconds`."""
        return self.run(["chat", url, model, prompt], seconds=360)

    def load(self, url: str, model: str, *, streams: int, seconds: float, tokens: int, requests: int | None = None) -> Load:
        """Begin a load in the background."""
        return Load(self, url, model, {"streams": streams, "tokens": tokens, "seconds": seconds, "requests": requests})

    def replay(self, url: str, model: str, arrivals: Sequence[float], tokens: int) -> Load:
        """Begin requests in the background, each so many seconds after the start; the result's `answers` has one for each."""
        return Load(self, url, model, {"arrivals": list(arrivals), "tokens": tokens, "seconds": max(arrivals, default=0.0)})

    def touch(self, path: str) -> None:
        """Make an empty file in the pod."""
        self._tools.execute(self._namespace.name, POD, "touch", path)

    def run(self, arguments: list[str], seconds: float) -> dict[str, Any]:
        """Run the script in the pod. Raises RuntimeError with what it printed when it fails."""
        command = ["exec", "-i", "-n", self._namespace.name, POD, "--", "python3", "-", *arguments]
        done = subprocess.run(
            [*self._tools.kubectl(), *command],
            input=SCRIPT.read_text(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=self._tools.env(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"client {arguments[0]}: exit status {done.returncode}: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer
