"""Autoscaler: what each signal votes for, what was decided, what loads, and what is forecast. One deployment."""

from __future__ import annotations

from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry import recorded
from llama_operator.telemetry.dashboards.panel import RATE, Board, Panel, Row, of_one, query

DECISION = Row(
    title="Decision",
    panels=(
        Panel(
            title="Wanted and ready, between the bounds",
            description="Wanted at the upper bound for long: alert AtMaxReplicas. Ready below wanted: replicas load.",
            unit="short",
            width=16,
            height=8,
            queries=(
                query(of_one(recorded.DESIRED), "wanted"),
                query(of_one(recorded.READY), "ready"),
                query(of_one(recorded.MINIMUM), "minReplicas"),
                query(of_one(recorded.MAXIMUM), "maxReplicas"),
            ),
        ),
        Panel(
            title="State",
            description="The reason of the condition Scaling (why it is as it is) and of MetricsAvailable (what it can see).",
            unit="short",
            kind="table",
            width=8,
            height=8,
            queries=(query(f"max by (scaling, metrics) ({of_one(recorded.STATE)})", "{{scaling}}, {{metrics}}"),),
        ),
        Panel(
            title="Votes",
            description="Replicas that each signal asks for. The highest counts; what is then wanted is held back by the stabilisation "
            "windows.",
            unit="short",
            width=12,
            queries=(query(of_one(recorded.VOTES), "{{signal}}"),),
        ),
        Panel(
            title="Forecast",
            description="Replicas that the forecast expects to be needed one load time from now, beside what is wanted and what serves. "
            "A replica "
            "ordered now helps only then.",
            unit="short",
            width=12,
            queries=(
                query(of_one(recorded.EXPECTED), "expected in one load time"),
                query(of_one(recorded.DESIRED), "wanted"),
                query(of_one(recorded.READY), "ready"),
            ),
        ),
    ),
)

SIGNALS = Row(
    title="What it looks at",
    panels=(
        Panel(
            title="Requests in flight",
            description="In the replicas, and held because none runs: the signal that counts first.",
            unit="short",
            queries=(query(of_one(recorded.IN_FLIGHT), "in flight"), query(of_one(recorded.HELD), "held")),
        ),
        Panel(
            title="In flight for each ready replica",
            description="What the objective inFlightPerReplica is about.",
            unit="short",
            queries=(query(f"sum({of_one(recorded.IN_FLIGHT)}) / (sum({of_one(recorded.READY)}) > 0)", "in flight per replica"),),
        ),
        Panel(
            title="Tokens",
            description="Prompt tokens computed and tokens generated a second: the work that the forecast reads.",
            unit="short",
            queries=(query(of_one(recorded.PROMPT_RATE), "of prompts"), query(of_one(recorded.GENERATION_RATE), "generated")),
        ),
    ),
)

LOADING = Row(
    title="Loading, and decisions",
    panels=(
        Panel(
            title="Loading",
            description="Share of the download, or of the weights, that is in, for each replica that loads. What loads is counted as "
            "there.",
            unit="percentunit",
            queries=(query(of_one(recorded.REPLICA_PROGRESS), "{{revision}} gang {{gang}}"),),
            empty="only while a replica loads",
        ),
        Panel(
            title="Replicas by phase",
            description="How many replicas are in each phase.",
            unit="short",
            stacked=True,
            queries=(query(f"count by (phase) ({of_one(recorded.REPLICA_PHASE)})", "{{phase}}"),),
        ),
        Panel(
            title="Decisions, all deployments",
            description="Decisions a second by reason. Holding: signals are missing, and the number of replicas stays (alert "
            "AutoscalerBlind).",
            unit="short",
            stacked=True,
            thresholds=((None, "green"),),
            queries=(
                query(f"sum by (reason) (rate({own.DECISIONS.name}[{RATE}]))", "{{reason}}"),
                query(f"sum by (reason) (rate({own.HOLDS.name}[{RATE}]))", "held for {{reason}}", "a reason appears with its first hold"),
            ),
        ),
    ),
)

AUTOSCALER = Board(
    name="autoscaler",
    title="Llama / Autoscaler",
    description="The autoscaler of one LlamaDeployment: votes, decision, loading, forecast.",
    variables=("namespace", "deployment"),
    many=False,
    rows=(DECISION, SIGNALS, LOADING),
)
