"""The command and the environment with which Ray is started in a pod. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from llama_serving import hold, ray_internals, request_id
from llama_serving.agent.settings import Settings
from llama_serving.deployment import pod_resources, ray_cpus

# How long a stream may run after the set of replicas changed: HAProxy takes a new configuration in a new process and ends the old
# one, with the streams it still carries, after this time. Ray's own 120 s would cut a 30 minute stream at the next scaling.
LONGEST_STREAM_SECONDS = 4 * 3600
# Ray's own 10 s is older than an autoscaler should act on.
METRICS_REPORT_MILLISECONDS = 2000
# 405B in BF16 from a slow volume takes most of an hour; the engine must not be given up before.
ENGINE_START_SECONDS = 4 * 3600

# How long HAProxy waits for the pod's router to name a replica. Ray's 5 s end in a 503 where a lost head or a busy machine holds the
# router up for a moment; a router that is gone refuses the connection at once, whatever this says.
ROUTER_ANSWER_SECONDS = 30

# Object store: nothing large passes through it here (streams go over HTTP, weights come from files), and Ray's default of 30 % of
# memory would be reserved in /dev/shm, which NCCL and vLLM's own queues need. 100 MB is above Ray's minimum of 75 MiB.
OBJECT_STORE_BYTES = 100_000_000

POD_LABEL = "llama-operator.dev/pod"
# Different at each `ray start`: a pod that takes the name of a lost one may join before the GCS has found the lost one's node dead.
START_LABEL = "llama-operator.dev/start"


def ray_command(settings: Settings, start: str) -> list[str]:
    """The arguments of `ray start` for this pod; `start` is a label value that no other start bears."""
    command = [
        "start",
        "--block",
        "--disable-usage-stats",
        # It sends the workers' logs to the drivers. There are none, and the agent reads what it needs from the files.
        "--include-log-monitor=false",
        f"--node-ip-address={settings.pod_ip}",
        # Not --node-name: Serve writes a node's name into HAProxy's configuration as the address of the proxy to fall back to, a pod's
        # name does not resolve, and HAProxy then refuses the whole configuration. Without one Ray takes the IP address. The agent
        # finds its own node by the second label.
        f"--labels={POD_LABEL}={settings.pod_name},{START_LABEL}={start}",
        f"--metrics-export-port={settings.metrics_port}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={settings.ray_temp_dir}",
    ]
    if settings.role == "head":
        command += [
            "--head",
            # Ray's own autoscaler, which would order nodes from a cloud.
            "--no-monitor",
            "--num-cpus=0",
            "--num-gpus=0",
            f"--port={settings.gcs_port}",
            "--dashboard-host=0.0.0.0",
            f"--dashboard-port={settings.dashboard_port}",
        ]
    else:
        command += [
            f"--address={settings.head}",
            f"--num-cpus={ray_cpus(settings.config)}",
            f"--num-gpus={settings.config.gpus_per_pod}",
            f"--resources={json.dumps(pod_resources(settings.config, settings.gang, settings.rank))}",
        ]
    return [*command, *settings.ray_args]


def ray_environment(settings: Settings, environment: Mapping[str, str], *, fast_path: bool, store: bool) -> dict[str, str]:
    """The environment of Ray and of everything that it starts. What is already set by the pod template stays.

    `fast_path`: an HAProxy program is there. `store`: the directory of the head's RocksDB store can be written.
    """
    wanted = {
        # A head may be away for ten minutes: raylets wait for it instead of ending themselves, and with them every engine, after 60 s.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        "RAY_metrics_report_interval_ms": str(METRICS_REPORT_MILLISECONDS),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Prompts are the users' own: neither Ray's LLM layer nor vLLM may write them to a log.
        "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
        "RAYLLM_ENGINE_START_TIMEOUT_S": str(ENGINE_START_SECONDS),
        "VLLM_ENGINE_READY_TIMEOUT_S": str(ENGINE_START_SECONDS),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the agent has fetched the model; an engine that reaches for the hub would hang or get another revision
        "LLAMA_RUN_DIR": str(settings.run_dir),
        # The agent drains before it stops Ray; a second drain inside `ray start` would only hold the pod for another 30 s.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # Each engine in a gang finds its own raylet; a pod without a writable home has no other place for caches.
        "HOME": "/tmp",  # noqa: S108 -- an emptyDir in a pod
        # torch asks for the user's name, which a UID without an entry in /etc/passwd has only from here.
        "USER": "llama",
        "LOGNAME": "llama",
    }
    if settings.config.engine == "vllm" and settings.config.gpus_per_pod == 0:
        # GiB of KV cache a rank, and no pinning: vLLM would otherwise take half the node's memory, and the same cores in every pod.
        wanted |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if fast_path:
        wanted |= {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(LONGEST_STREAM_SECONDS),
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(LONGEST_STREAM_SECONDS),
            # Every proxy learns of a change within a second; Ray's own 30 s only holds a gang that could be gone.
            "RAY_SERVE_HAPROXY_INGRESS_REQUEST_ROUTER_TIMEOUT_S": str(ROUTER_ANSWER_SECONDS),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
            # A replica's line for a request, with its id, is written when the request ends: RAY_SERVE_THROUGHPUT_OPTIMIZED would keep the
            # last 1000 in memory, and lose them with the process.
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        }
    # Serve's proxy on the head holds the requests that come while no replica runs: not for ever, and not without number. Everywhere a
    # request has one id, which may stand in a log.
    wanted["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = hold.IMPORT_PATH if settings.role == "head" else request_id.IMPORT_PATH
    if settings.role == "head" and fast_path:
        wanted["RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH"] = ray_internals.KEEP_ROUTERS_PATH
    if settings.role == "head" and store:
        wanted |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": settings.gcs_dir}
    return {**wanted, **environment} | ({"HOME": wanted["HOME"]} if environment.get("HOME", "/") == "/" else {})
