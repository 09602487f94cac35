"""Fleet: every deployment of the chosen namespaces, and the operator itself."""

from __future__ import annotations

from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry import recorded
from llama_operator.telemetry.catalogue import PROMETHEUS
from llama_operator.telemetry.dashboards.panel import RATE, Board, Panel, Row, by_deployment, of_many, query

(ALERTS,) = PROMETHEUS
NO_PRICE = "only where a price of an accelerator is given (the chart's cost.gpuHourPrices, or the annotation)"

NOW = Row(
    title="Now",
    panels=(
        Panel(
            title="Deployments",
            description="LlamaDeployments that the operator looks after. Fewer than you applied: the operator does not see their "
            "namespaces.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(query(f"count({of_many(recorded.INFO)})", "deployments"),),
        ),
        Panel(
            title="Replicas that serve",
            description="Ready replicas of all deployments. Red at none: nobody is served.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            thresholds=((None, "red"), (1, "green")),
            queries=(query(f"sum({of_many(recorded.READY)})", "ready"),),
        ),
        Panel(
            title="Replicas missing",
            description="Replicas wanted and not ready: they load, wait for GPUs, or fail. The dashboard Deployment says which.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            thresholds=((None, "green"), (1, "orange")),
            queries=(query(f"sum({of_many(recorded.DESIRED)}) - sum({of_many(recorded.READY)})", "missing"),),
        ),
        Panel(
            title="Accelerators held",
            description="GPUs that replicas hold, ready or not; a replica on a CPU counts as one for each pod.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(query(f"sum({of_many(cost.HELD)})", "held"),),
        ),
        Panel(
            title="Accelerators idle",
            description="Held without a request in hand, loading ones included. Much of it for long: lower minReplicas, or let it scale "
            "to zero.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            thresholds=((None, "green"), (8, "orange"), (16, "red")),
            queries=(query(f"sum({of_many(cost.IDLE)})", "idle"),),
        ),
        Panel(
            title="Cost",
            description="What all that is held costs in an hour, at the prices given.",
            unit="currencyUSD",
            kind="stat",
            width=4,
            height=4,
            queries=(query(f"sum({of_many(cost.PER_HOUR)})", "an hour"),),
            empty=NO_PRICE,
        ),
        Panel(
            title="State",
            description="The phase of each deployment and the reason of each of its conditions, as kubectl describe has them.",
            unit="short",
            kind="table",
            width=16,
            height=8,
            queries=(query(of_many(recorded.STATE), "{{phase}}"),),
        ),
        Panel(
            title="Alerts",
            description="What is pending or fires now. Every alert has a page in docs/runbooks.",
            unit="short",
            kind="table",
            width=8,
            height=8,
            thresholds=((None, "green"), (1, "red")),
            queries=(query(f'{of_many(ALERTS)} or {ALERTS.name}{{alertname="LlamaOperatorDown"}}', "{{alertname}} {{alertstate}}"),),
            empty="no alert is pending or fires in a healthy run",
        ),
    ),
)

SERVICE = Row(
    title="Service",
    panels=(
        Panel(
            title="Ready replicas",
            description="Ready replicas of each deployment. A dip that no scale-down explains is a lost or restarted replica.",
            unit="short",
            thresholds=((None, "red"), (1, "green")),
            queries=by_deployment(of_many(recorded.READY)),
        ),
        Panel(
            title="Requests in flight",
            description="Requests in all replicas, running and queued. What the autoscaler counts.",
            unit="short",
            queries=by_deployment(of_many(recorded.IN_FLIGHT)),
        ),
        Panel(
            title="Tokens generated",
            description="Tokens a second, five minutes. Nothing while requests are in flight: the engine stands still (alert "
            "EngineStalled).",
            unit="short",
            queries=by_deployment(of_many(recorded.GENERATION_RATE)),
        ),
        Panel(
            title="Time to first token, 95th percentile",
            description="Of five minutes, as the engine measures it. Each deployment has an objective of its own: see the dashboard "
            "Deployment.",
            unit="s",
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            queries=by_deployment(of_many(recorded.TTFT_QUANTILES["p95"])),
        ),
        Panel(
            title="Failed requests",
            description="Share of requests that ended with a 5xx status, one hour.",
            unit="percentunit",
            thresholds=((None, "green"), (0.001, "orange"), (0.01, "red")),
            queries=by_deployment(of_many(recorded.SUCCESS_ERRORS["1h"])),
        ),
        Panel(
            title="KV cache in use",
            description="Of the fullest replica. Near 1 the engine throws requests out of its batch and computes them again.",
            unit="percentunit",
            thresholds=((None, "green"), (0.8, "orange"), (0.95, "red")),
            queries=by_deployment(of_many(recorded.KV_USE_MAX)),
        ),
    ),
)

OPERATOR = Row(
    title="The operator itself",
    panels=(
        Panel(
            title="Time of a pass",
            description="Median and 99th percentile of a pass over one deployment. Seconds: the API server, the agents or Prometheus are "
            "slow.",
            unit="s",
            width=6,
            thresholds=((None, "green"), (1, "orange"), (5, "red")),
            queries=tuple(
                query(f"histogram_quantile({share}, sum by (le) (rate({own.RECONCILE_DURATION.name}_bucket[{RATE}])))", name)
                for share, name in ((0.5, "median"), (0.99, "99th percentile"))
            ),
        ),
        Panel(
            title="Queue",
            description="Deployments that wait for a pass, and how long the oldest has waited. A queue that only grows: too few workers.",
            unit="short",
            width=6,
            thresholds=((None, "green"), (20, "orange"), (100, "red")),
            queries=(
                query(f"max({own.QUEUE_DEPTH.name})", "deployments"),
                query(f"max({own.QUEUE_OLDEST.name})", "oldest (s)"),
            ),
        ),
        Panel(
            title="Writes",
            description="Requests a second that change something. At rest there are none.",
            unit="reqps",
            width=6,
            thresholds=((None, "green"), (10, "orange")),
            queries=(query(f"sum by (verb, kind) (rate({own.WRITES.name}[{RATE}]))", "{{verb}} {{kind}}"),),
        ),
        Panel(
            title="Errors",
            description="Passes that failed and are tried again, and requests that the API server refused, a second.",
            unit="short",
            width=6,
            thresholds=((None, "green"), (0.01, "orange"), (0.1, "red")),
            queries=(
                query(f'sum by (outcome) (rate({own.PASSES.name}{{outcome!="ok"}}[{RATE}]))', "passes: {{outcome}}"),
                query(f"sum by (code) (rate({own.API_ERRORS.name}[{RATE}]))", "API server {{code}}"),
            ),
            empty="a counter of errors appears with the first of them",
        ),
    ),
)

FLEET = Board(
    name="fleet",
    title="Llama / Fleet",
    description="Every LlamaDeployment: what serves, what it takes, what is wrong; and the operator itself.",
    variables=("namespace", "deployment"),
    many=True,
    rows=(NOW, SERVICE, OPERATOR),
)
