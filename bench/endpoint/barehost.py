"""Serving pods without Kubernetes: a head agent and replica agents as processes of this machine, each with its own ports and directories.

For the benchmark and for the contract tests. It runs the very agent that runs in a pod; only what docs/contracts.md lets an environment
variable move is moved. Must be run with the serving environment's Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_serving.config import APP_NAME, ServingConfig
from llama_serving.install import install

STOP_SECONDS = 60
PROXIES = urllib.request.ProxyHandler({})  # loopback: never through a proxy that the environment names


FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the kernel's ephemeral ports (32768 and up), from which Ray and everybody else take theirs at random: one of those that is free now
may be another's a second later."""
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing listens on, and that was not given before. Raises RuntimeError when there is none."""
    for _ in range(1000):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("", port))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError(f"no port from {FIRST_PORT} to {LAST_PORT} is free")


def own_address() -> str:
    """The machine's own address: HAProxy and Ray must both find it, which loopback does not give on every machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1: no packet is sent, the kernel only picks the source address
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def call(method: str, url: str, body: Any = None, token: str = "", timeout: float = 30) -> tuple[int, str]:
    """One HTTP call: status and text; status 0 when nothing answered."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, method=method, headers=headers, data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.build_opener(PROXIES).open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until `condition` gives something true. Raises TimeoutError with `what` and the last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s; the last value was {value!r}")
        time.sleep(0.2)  # noqa: TID251 -- the pace of the poll; bounded by the deadline
    return value


@dataclass(kw_only=True)
class Pod:
    """One agent and its ports."""

    name: str
    process: subprocess.Popen[bytes]
    directory: Path
    ports: dict[str, int]

    def url(self, port: str, path: str) -> str:
        """A URL of this pod."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def status(self) -> dict[str, Any]:
        """The agent's status; empty while it does not answer."""
        code, text = call("GET", self.url("agent", "/status"), timeout=5)
        return dict(json.loads(text)) if code == 200 else {}

    def ready(self) -> bool:
        """Whether the kubelet would call the pod ready."""
        return call("GET", self.url("agent", "/readyz"), timeout=5)[0] == 200

    def log(self) -> str:
        """What the agent has written."""
        return (self.directory / "agent.log").read_text(encoding="utf-8", errors="replace")

    def terminate(self) -> int:
        """SIGTERM, as the kubelet sends it, and wait for the end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@dataclass(kw_only=True)
class BareHost:
    """One LlamaDeployment's pods on this machine."""

    config: ServingConfig
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    application_path: str = "llama_serving.app:build"
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    pods: list[Pod] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = own_address()
        # Ray's sockets lie below its temporary directory, and a socket's path has at most 107 bytes: pytest's directories are too long.
        self.sockets = Path(tempfile.mkdtemp(prefix="llama-"))
        # As in a pod: the package as files, with the entry point of the vLLM plugin beside it.
        install(self._made(self.directory / "code"))

    @staticmethod
    def _made(path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def head(self) -> Pod:
        """The head pod."""
        return self.pods[0]

    def start(self, replicas: int = 1) -> None:
        """Start the head and `replicas` replica pods; their agents wait for each other."""
        self._start("head", {"LLAMA_ROLE": "head", "LLAMA_GCS_DIR": str(self.directory / "gcs")})
        for gang in range(replicas):
            head = f"{self.address}:{self.head.ports['gcs']}"
            self._start(f"g{gang}-0", {"LLAMA_ROLE": "replica", "LLAMA_GANG": str(gang), "LLAMA_RANK": "0", "LLAMA_HEAD": head})

    def _start(self, name: str, own: dict[str, str]) -> Pod:
        kinds = ("agent", "http", "metrics", "gcs", "dashboard", "haproxy_metrics", "haproxy_stats", "ray_agent")
        ports = {kind: free_port() for kind in kinds}
        directory = self._made(self.directory / name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "LLAMA_"))}
        environment |= {
            "PYTHONPATH": str(self.directory / "code"),
            "LLAMA_CONFIG": self.config.to_json(),
            "LLAMA_POD_NAME": name,
            "LLAMA_POD_IP": self.address,
            "LLAMA_RUN_DIR": str(directory / "run"),
            "LLAMA_RAY_TEMP_DIR": str(self.sockets / name),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            # Several proxies share this machine's address.
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
        }
        for kind in ("agent", "http", "metrics", "gcs", "dashboard"):
            environment[f"LLAMA_{kind.upper()}_PORT"] = str(ports[kind])
        if name != "head":
            environment["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] = str(ports["http"])
        environment |= {"LLAMA_RAY_ARGS": f"--dashboard-agent-listen-port={ports['ray_agent']}", **own, **self.environment}
        with (directory / "agent.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "llama_serving.agent"], env=environment, stdout=log, stderr=log, cwd=directory
            )
        pod = Pod(name=name, process=process, directory=directory, ports=ports)
        self.pods.append(pod)
        return pod

    def deploy(self, replicas: int = 1) -> None:
        """Send the application, as the operator does, as soon as the head takes it."""
        application = {
            "name": APP_NAME,
            "route_prefix": "/",
            "import_path": self.application_path,
            "args": json.loads(self.config.to_json()),
            "external_scaler_enabled": True,
            "deployments": [{"name": self.config.serve_deployment, "num_replicas": replicas}],
        }
        body = {
            "applications": [application],
            "http_options": {"host": "0.0.0.0", "port": self.head.ports["http"]},  # noqa: S104 -- as in a pod
            "proxy_location": "EveryNode",
        }
        url = self.head.url("dashboard", "/api/serve/applications/")

        def taken() -> bool:
            if cause := self.head.status().get("rootCause"):
                raise RuntimeError(f"the head has failed: {cause['message']}")
            return call("PUT", url, body, self.token)[0] == 200

        wait_for(taken, 90, "the head takes the application")

    def application(self) -> dict[str, Any]:
        """The application as Serve shows it; empty while the head does not answer."""
        code, text = call("GET", self.head.url("dashboard", "/api/serve/applications/"), token=self.token)
        return dict(json.loads(text).get("applications", {}).get(APP_NAME, {})) if code == 200 else {}

    def scale(self, replicas: int) -> None:
        """The REST scale call."""
        path = f"/api/v1/applications/{APP_NAME}/deployments/{self.config.serve_deployment}/scale"
        code, text = call("POST", self.head.url("dashboard", path), {"target_num_replicas": replicas}, self.token)
        if code != 200:
            raise RuntimeError(f"the scale call gave {code}: {text}")

    def wait_ready(self, seconds: float = 180) -> None:
        """Wait until every pod is ready."""
        for pod in self.pods:
            wait_for(pod.ready, seconds, f"{pod.name} is ready ({pod.status().get('message')})")

    def stop(self) -> None:
        """End every pod, replicas first."""
        for pod in reversed(self.pods):
            if pod.process.poll() is None:
                pod.terminate()
        shutil.rmtree(self.sockets, ignore_errors=True)  # a socket that vanishes while it is listed is as good as removed


@contextlib.contextmanager
def bare_host(
    config: ServingConfig, directory: Path, replicas: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[BareHost]:
    """Pods that are started and sent their application; ended on the way out, whatever happened."""
    host = BareHost(config=config, directory=directory, environment=environment or {})
    try:
        host.start(replicas)
        host.deploy(replicas)
        yield host
    finally:
        host.stop()
