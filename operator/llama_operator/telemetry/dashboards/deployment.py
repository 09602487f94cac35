"""Deployment: is it serving, is it slow, why, and what did the operator do about it. One deployment."""

from __future__ import annotations

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.dashboards.panel import RATE, Board, Colour, Panel, Row, of_one, query

BURN: tuple[tuple[float | None, Colour], ...] = ((None, "green"), (1, "orange"), (6, "red"))


def _about(objective: str) -> str:
    return f'objective="{objective}"'


SERVING = Row(
    title="Is it serving",
    panels=(
        Panel(
            title="Ready",
            description="Replicas that serve. A token came out of the engine of each before it was called ready.",
            unit="short",
            kind="stat",
            width=3,
            height=5,
            thresholds=((None, "red"), (1, "green")),
            queries=(query(f"sum({of_one(recorded.READY)})", "ready"),),
        ),
        Panel(
            title="Wanted",
            description="Replicas that the spec, or the autoscaler, wants.",
            unit="short",
            kind="stat",
            width=3,
            height=5,
            queries=(query(f"sum({of_one(recorded.DESIRED)})", "wanted"),),
        ),
        Panel(
            title="State",
            description="The phase, and the reason of each condition, as kubectl describe has them with the sentence.",
            unit="short",
            kind="table",
            width=18,
            height=5,
            queries=(query(of_one(recorded.STATE), "{{phase}}"),),
        ),
        Panel(
            title="Requests by status",
            description="Requests a second that the proxies ended, by status code; 499: the client went away. 5xx count against the "
            "objective.",
            unit="reqps",
            stacked=True,
            queries=(query(of_one(recorded.REQUEST_RATE), "{{status_code}}"),),
        ),
        Panel(
            title="Requests in flight",
            description="In the replicas (running and queued), and held by the proxies because no replica runs. Held for long: it is "
            "loading, or "
            "nothing can be placed.",
            unit="short",
            queries=(
                query(of_one(recorded.IN_FLIGHT), "in flight"),
                query(of_one(recorded.WAITING), "of which in the engines' queues"),
                query(of_one(recorded.HELD), "held"),
            ),
        ),
        Panel(
            title="Tokens",
            description="Prompt tokens computed and tokens generated a second. None generated with requests in flight: alert "
            "EngineStalled.",
            unit="short",
            queries=(
                query(of_one(recorded.GENERATION_RATE), "generated"),
                query(of_one(recorded.PROMPT_RATE), "of prompts"),
            ),
        ),
    ),
)

SLOW = Row(
    title="Is it slow",
    panels=(
        Panel(
            title="Time to first token",
            description="Of five minutes, in the engine, its queue included, and the objective where one is set. All percentiles up: it "
            "queues; "
            "only the 99th: long prompts.",
            unit="s",
            width=12,
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            queries=(
                *(query(of_one(metric), short) for short, metric in recorded.TTFT_QUANTILES.items()),
                query(of_one(recorded.OBJECTIVE_SECONDS, _about(own.TTFT)), "objective"),
            ),
        ),
        Panel(
            title="Time between tokens",
            description="Of five minutes, in the engine, and the objective where one is set. It grows with the batch and with what is in "
            "the KV cache.",
            unit="s",
            width=12,
            thresholds=((None, "green"), (0.1, "orange"), (0.5, "red")),
            queries=(
                *(query(of_one(metric), short) for short, metric in recorded.ITL_QUANTILES.items()),
                query(of_one(recorded.OBJECTIVE_SECONDS, _about(own.ITL)), "objective"),
            ),
        ),
        Panel(
            title="Where a request's time goes",
            description="Seconds of an average request in the queue, in prefill and in decode. Queue: more replicas help. Prefill: "
            "shorter prompts "
            "or a faster GPU. Decode: the batch or the bandwidth.",
            unit="s",
            stacked=True,
            queries=tuple(
                query(
                    f"sum(rate({of_one(f'{family}_sum')}[{RATE}])) / sum(rate({of_one(f'{family}_count')}[{RATE}]))",
                    phase,
                )
                for family, phase in (
                    (names.VLLM_QUEUE_TIME, "queue"),
                    (names.VLLM_PREFILL_TIME, "prefill"),
                    (names.VLLM_DECODE_TIME, "decode"),
                )
            ),
        ),
        Panel(
            title="Error budget spent, one hour",
            description="How many times faster than allowed the error budget of each objective is spent: 1 spends it exactly. The alerts "
            "fire at "
            "14.4 (one hour and five minutes) and 6 (six hours and 30 minutes).",
            unit="short",
            thresholds=BURN,
            queries=tuple(
                query(
                    f"sum({of_one(errors['1h'])}) / (1 - max({of_one(recorded.OBJECTIVE_RATIO, _about(objective))}))",
                    legend,
                )
                for errors, objective, legend in (
                    (recorded.TTFT_ERRORS, own.TTFT, "first token"),
                    (recorded.ITL_ERRORS, own.ITL, "between tokens"),
                    (recorded.SUCCESS_ERRORS, own.SUCCESS, "success"),
                )
            ),
        ),
        Panel(
            title="KV cache in use",
            description="Of the fullest replica, and on average. Near 1 the engine throws requests out of its batch: lower max_num_seqs "
            "or the "
            "context, or give it more replicas.",
            unit="percentunit",
            thresholds=((None, "green"), (0.8, "orange"), (0.95, "red")),
            queries=(query(of_one(recorded.KV_USE_MAX), "fullest"), query(of_one(recorded.KV_USE_AVG), "average")),
        ),
    ),
)

DONE = Row(
    title="What the operator did, and what came of it",
    panels=(
        Panel(
            title="Replicas",
            description="Wanted and ready. The distance is what loads, or cannot be placed.",
            unit="short",
            queries=(query(of_one(recorded.DESIRED), "wanted"), query(of_one(recorded.READY), "ready")),
        ),
        Panel(
            title="Restarts",
            description="Replicas that failed, were lost, or whose engine started anew within 30 minutes, by root cause.",
            unit="short",
            kind="bars",
            thresholds=((None, "green"), (1, "orange"), (3, "red")),
            queries=(query(of_one(recorded.RESTARTS), "{{cause}}"),),
            empty="a cause appears with its first restart",
        ),
        Panel(
            title="Streams cut",
            description="Requests that were open in a replica when it ended, within 30 minutes. It must stay 0.",
            unit="short",
            kind="bars",
            thresholds=((None, "green"), (1, "red")),
            queries=(query(of_one(recorded.STREAMS_CUT), "{{cause}}"),),
        ),
        Panel(
            title="Observed, divided by planned",
            description="Of the KV cache's tokens and the weights' bytes. Far from 1: the plan was wrong, or something else takes memory.",
            unit="short",
            thresholds=((None, "red"), (0.9, "green"), (1.1, "red")),
            queries=(query(of_one(recorded.PLAN_RATIO), "{{quantity}}"),),
            empty="the simulated engine has no memory to plan",
        ),
        Panel(
            title="First token from outside",
            description="Of the canary's requests, through the Service.",
            unit="s",
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            queries=(query(of_one(recorded.CANARY_TTFT), "canary"),),
            empty="only with canary.intervalSeconds",
        ),
        Panel(
            title="Load",
            description="Share of the download, or of the weights, that is in, for each replica that loads. A line that stops: alert "
            "LoadStalled.",
            unit="percentunit",
            queries=(query(of_one(recorded.REPLICA_PROGRESS), "{{revision}} gang {{gang}}"),),
            empty="only while a replica loads",
        ),
    ),
)

DEPLOYMENT = Board(
    name="deployment",
    title="Llama / Deployment",
    description="One LlamaDeployment: is it serving, is it slow, why, and what the operator did about it.",
    variables=("namespace", "deployment"),
    many=False,
    rows=(SERVING, SLOW, DONE),
)
