"""Replica and engine: each pod of one deployment beside the others, from the engine's own metrics."""

from __future__ import annotations

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry.dashboards.panel import POD_LEGEND, RATE, Board, Panel, Query, Row, of_one, of_revision, query

PHASES = of_one(recorded.REPLICA_PHASE, 'revision=~"$revision"')
VLLM_ONLY = "the simulated engine has no such metric; vLLM has"


def _each(family: str, how: str = "sum") -> tuple[Query, ...]:
    return (query(f"{how} by ({names.LABEL_POD}) ({of_revision(family)})", POD_LEGEND),)


def _rate(family: str) -> tuple[Query, ...]:
    return (query(f"sum by ({names.LABEL_POD}) (rate({of_revision(family)}[{RATE}]))", POD_LEGEND),)


def _quantile(share: float, family: str) -> tuple[Query, ...]:
    buckets = f"sum by (le, {names.LABEL_POD}) (rate({of_revision(f'{family}_bucket')}[{RATE}]))"
    return (query(f"histogram_quantile({share}, {buckets})", POD_LEGEND),)


def _mean(family: str) -> tuple[Query, ...]:
    parts = [f"sum by ({names.LABEL_POD}) (rate({of_revision(f'{family}_{part}')}[{RATE}]))" for part in ("sum", "count")]
    return (query(" / ".join(parts), POD_LEGEND),)


WORK = Row(
    title="Work",
    panels=(
        Panel(
            title="Requests in flight",
            description="In each replica, running and queued, counted at its HTTP surface. Uneven: the proxies' view of it is old.",
            unit="short",
            queries=_each(names.REQUESTS_IN_FLIGHT),
        ),
        Panel(
            title="Requests in the batch",
            description="What the engine computes together. It ends at max_num_seqs, or where the KV cache is full.",
            unit="short",
            queries=_each(names.VLLM_RUNNING),
        ),
        Panel(
            title="Requests in the engine's queue",
            description="They wait for a place in the batch. Always some: the replica is full.",
            unit="short",
            thresholds=((None, "green"), (1, "orange"), (32, "red")),
            queries=_each(names.VLLM_WAITING),
        ),
        Panel(
            title="Tokens generated",
            description="A second, of each replica.",
            unit="short",
            queries=_rate(names.VLLM_OUTPUT_TOKENS),
        ),
        Panel(
            title="Prompt tokens",
            description="Computed a second, of each replica.",
            unit="short",
            queries=_rate(names.VLLM_PROMPT_TOKENS),
        ),
        Panel(
            title="KV cache in use",
            description="Of each replica. Near 1 requests are thrown out of the batch.",
            unit="percentunit",
            thresholds=((None, "green"), (0.8, "orange"), (0.95, "red")),
            queries=_each(names.VLLM_KV_USE, "max"),
        ),
    ),
)

TIMES = Row(
    title="Times",
    panels=(
        Panel(
            title="Time to first token, 95th percentile",
            description="In each engine, its queue included.",
            unit="s",
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            queries=_quantile(0.95, names.VLLM_TTFT),
        ),
        Panel(
            title="Time between tokens, 95th percentile",
            description="In each engine. One replica slower than the others: look at its GPUs (clocks, heat, a link).",
            unit="s",
            thresholds=((None, "green"), (0.1, "orange"), (0.5, "red")),
            queries=_quantile(0.95, names.VLLM_ITL),
        ),
        Panel(
            title="Whole request, 95th percentile",
            description="From its arrival in the engine to its last token.",
            unit="s",
            queries=_quantile(0.95, names.VLLM_E2E),
        ),
        Panel(
            title="In the queue",
            description="Seconds of an average request before it entered the batch.",
            unit="s",
            thresholds=((None, "green"), (1, "orange"), (10, "red")),
            queries=_mean(names.VLLM_QUEUE_TIME),
        ),
        Panel(
            title="In prefill",
            description="Seconds of an average request until its first token, without the queue.",
            unit="s",
            queries=_mean(names.VLLM_PREFILL_TIME),
        ),
        Panel(
            title="In decode",
            description="Seconds of an average request from its first token to its last.",
            unit="s",
            queries=_mean(names.VLLM_DECODE_TIME),
        ),
    ),
)

ENGINE_ROW = Row(
    title="Engine",
    panels=(
        Panel(
            title="Why requests ended",
            description="A second, by reason: stop and length are whole answers, abort is a client that went away, error is the engine's.",
            unit="reqps",
            width=6,
            stacked=True,
            queries=(query(f"sum by (finished_reason) (rate({of_revision(names.VLLM_FINISHED)}[{RATE}]))", "{{finished_reason}}"),),
        ),
        Panel(
            title="Length of prompts, median",
            description="Tokens. Long prompts make long times to the first token.",
            unit="short",
            width=6,
            queries=_quantile(0.5, names.VLLM_PROMPT_LENGTH),
            empty=VLLM_ONLY,
        ),
        Panel(
            title="Prefix cache hits",
            description="Share of prompt tokens that were found in the cache and not computed.",
            unit="percentunit",
            width=6,
            queries=(
                query(
                    " / ".join(
                        f"sum by ({names.LABEL_POD}) (rate({of_revision(family)}[{RATE}]))"
                        for family in (names.VLLM_PREFIX_HITS, names.VLLM_PREFIX_QUERIES)
                    ),
                    POD_LEGEND,
                ),
            ),
            empty=VLLM_ONLY,
        ),
        Panel(
            title="Preemptions",
            description="Requests a second that were thrown out of the batch for want of KV cache. More than none for long: alert "
            "KvCacheSaturated.",
            unit="reqps",
            width=6,
            thresholds=((None, "green"), (0.01, "orange"), (1, "red")),
            queries=_rate(names.VLLM_PREEMPTIONS),
            empty="vLLM's counter appears with the first of them; the simulated engine has none",
        ),
        Panel(
            title="Phases",
            description="Each replica's present phase, and how long it has been in it. Minutes in Pending: no node has room; in "
            "LoadingWeights: see "
            "the dashboard Deployment.",
            unit="s",
            kind="table",
            width=24,
            queries=(query(f"time() - {PHASES}", "{{revision}} gang {{gang}} {{phase}}"),),
        ),
    ),
)

ENGINE = Board(
    name="engine",
    title="Llama / Replica and engine",
    description="Each replica of one LlamaDeployment beside the others, from the engine's own metrics.",
    variables=("namespace", "deployment", "revision"),
    many=False,
    rows=(WORK, TIMES, ENGINE_ROW),
)
