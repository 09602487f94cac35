"""Every private name of Ray that this package uses, in one place (but for `llama_serving.router`), held by
tests/contract/serving/test_ray_internals.py.

Ray 2.60 has no public way to do these things. A new Ray means: run the contract test, read the release, change this file only.
Imports are inside the functions: the agent needs the GCS client and none of Serve; a Serve replica the other way round.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.serve import Application

# The value of autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION: "the node goes away", as a spot machine does. The other reason
# (IDLE_TERMINATION) is refused for a node that runs anything.
DRAIN_REASON_PREEMPTION = 2

# What Ray's builder gives its replicas: their process, and those of vLLM's that inherit its environment, begin with Ray's own imports.
SETUP_HOOK = "ray.llm._internal.serve._worker_process_setup_hook"


@dataclass(frozen=True, kw_only=True)
class RayNode:
    """A node of the Ray cluster, as the GCS knows it."""

    node_id: str
    labels: dict[str, str]
    alive: bool


# Groups of Ray's commands that are not `start`. Ray's command line goes on where one cannot be imported; together they take
# twice as long as all that `start` needs, before anything of the pod has started.
OTHER_COMMANDS = ("ray.util.state.state_cli", "ray.dashboard.modules.job.cli", "ray.serve.scripts")

# What the head's HTTP server answers: applications (the operator), Ray's own health, and `ray list` for whoever looks for a fault. Not
# JobHead: who may submit a job runs what he likes beside the weights and the users' prompts, and the operator's namespace reaches it.
HEAD_MODULES = ("ReportHead", "ServeHead", "StateHead")
LEAN_HOOK = "llama_serving.ray_internals.lean"


def command_line() -> Callable[[list[str]], None]:
    """Ray's own command line in this process, for `start`: see `OTHER_COMMANDS`, `HEAD_MODULES` and `lean`."""
    os.environ.setdefault("RAY_START_HOOK", LEAN_HOOK)
    for name in OTHER_COMMANDS:
        sys.modules[name] = None  # type: ignore[assignment]  # what makes importing it an ImportError
    from ray._private import services
    from ray._private.ray_constants import PROCESS_TYPE_DASHBOARD
    from ray.scripts.scripts import main

    start_process = services.start_ray_process

    def start_lean(command: list[str], process_type: str, *rest: Any, **options: Any) -> Any:
        if process_type == PROCESS_TYPE_DASHBOARD:
            command = [*command, f"--modules-to-load={','.join(HEAD_MODULES)}"]
        return start_process(command, process_type, *rest, **options)

    services.start_ray_process = start_lean

    def run(arguments: list[str]) -> None:
        sys.argv[1:] = arguments
        main()

    return run


def lean(ray_params: Any, _head: bool) -> None:
    """As Ray's start hook: no Ray Client server, which runs what anybody sends it and which nobody here uses, unless it was asked for."""
    if not any(item.startswith("--ray-client-server-port") for item in sys.argv):
        ray_params.ray_client_server_port = None


def list_nodes(gcs_address: str, timeout: float = 5.0) -> list[RayNode]:
    """The nodes that the GCS at `host:port` knows, dead ones too. Raises any of Ray's RPC errors when it does not answer in time."""
    from ray._raylet import GcsClient

    table = GcsClient(address=gcs_address).get_all_node_info(timeout=timeout)
    # State 0 is ALIVE in GcsNodeInfo.
    return [RayNode(node_id=key.hex(), labels=dict(info.labels), alive=info.state == 0) for key, info in table.items()]


def drain_node(gcs_address: str, node_id: str, *, deadline_seconds: float, message: str) -> str | None:
    """Ask the GCS to drain a node; the call that `ray drain-node` and Ray's autoscaler make.

    Returns None when it was accepted, else why not. The node is not ended at the deadline: that is the caller's part.
    """
    from ray._raylet import GcsClient

    deadline_ms = int((time.time() + deadline_seconds) * 1000)
    accepted, reason = GcsClient(address=gcs_address).drain_node(node_id, DRAIN_REASON_PREEMPTION, message, deadline_ms)
    return None if accepted else str(reason)


def fast_path_enabled() -> bool:
    """Whether this process was started with HAProxy and direct streaming on."""
    from ray.llm._internal.serve.constants import RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING
    from ray.serve._private.constants import RAY_SERVE_ENABLE_HA_PROXY

    return bool(RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING and RAY_SERVE_ENABLE_HA_PROXY)


def with_router(server: Application) -> Application:
    """Put Ray's LLM router beside `server`: HAProxy asks it for a replica and then talks to that replica directly.

    The router needs no CPU of its own, so that it runs on the head too; it must not throttle the path it stands on.
    """
    from ray import serve

    from llama_serving.router import Router

    router = serve.deployment(
        Router,
        name="LLMRouter",
        max_ongoing_requests=100_000,
        ray_actor_options={"num_cpus": 0},
        # One line for each request of a user, which the replica's own log has, too.
        logging_config={"enable_access_log": False},
    )
    return server._with_ingress_request_router(router.bind(server=server))  # noqa: SLF001 -- the only way in; see the module's docstring


KEEP_ROUTERS_SECONDS = 120.0
"""After the start of Serve's controller. Recovering takes seconds; a router that is kept too long costs 100 MB for two minutes."""
KEEP_ROUTERS_PATH = "llama_serving.ray_internals:keep_routers"


def keep_routers() -> None:
    """In Serve's controller, before it recovers (RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH): no router is stopped in its first two minutes.

    A controller keeps a router on its own node and on those of the replicas that it knows. One that starts anew, after a lost head, knows
    none before they have answered: it stops all routers but one, and starts them again half a second later. In between, and until the
    new ones are up, HAProxy of such a pod answers 503 (router_unreachable).
    """
    from ray.serve._private.common import ReplicaState
    from ray.serve._private.deployment_state import DeploymentState

    stop_unneeded = DeploymentState._reconcile_ingress_request_router  # noqa: SLF001 -- see the module's docstring
    until = time.monotonic() + KEEP_ROUTERS_SECONDS
    known = [ReplicaState.STARTING, ReplicaState.UPDATING, ReplicaState.RUNNING]

    def patient(self: Any, proxy_nodes: set[str]) -> list[str]:
        if time.monotonic() < until:
            if self._replicas.get(states=[ReplicaState.RECOVERING]):
                # As many as there are: none goes, and none comes before it is known where one is missing.
                self._rescale_to(len(self._replicas.get(states=[*known, ReplicaState.RECOVERING])))
                return []
            proxy_nodes = proxy_nodes | {
                node for each in self._replicas.get(states=known) if (node := each.target_node_id or each.actor_node_id)
            }
        return list(stop_unneeded(self, proxy_nodes))

    DeploymentState._reconcile_ingress_request_router = patient  # noqa: SLF001 -- the same


def set_placement_group(llm_config: Any, group: dict[str, Any]) -> None:
    """Give an LLMConfig another placement group, also where Ray has cached the engine's configuration with it."""
    llm_config.placement_group_config = group
    llm_config.get_engine_config().placement_group_config = group


def skip_download(llm_config: Any) -> None:
    """Keep Ray from its own look for the model's files: the agent has fetched and checked them, and Ray's way is a worker process of its
    own that imports torch and transformers first. After `set_placement_group`, since Ray makes the group here.
    """
    llm_config.get_or_create_callback().ctx.run_init_node = False


def skip_usage_report() -> None:
    """Keep Ray's server from reporting what it serves, once the engine is there: an actor on the head that imports torch, seconds for
    which the replica waits and 400 MB for good, although usage statistics are switched off.
    """
    from ray.llm._internal.serve.core.server import llm_server

    def nothing(**_: Any) -> None:
        """As Ray calls the report."""

    llm_server.push_telemetry_report_for_all_models = nothing


def engine_client(server: Any) -> Any:
    """vLLM's engine client inside Ray's LLMServer."""
    return server.engine._engine_client  # noqa: SLF001 -- see the module's docstring
