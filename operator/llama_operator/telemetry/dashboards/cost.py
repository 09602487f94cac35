"""Cost: what one deployment costs, how much of it is idle, what a million tokens cost, and what an API would take. In dollars."""

from __future__ import annotations

from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry import recorded
from llama_operator.telemetry.dashboards.panel import Board, Panel, Row, of_one, query
from llama_operator.telemetry.metric import Metric

HOURS = "$__range_s / 3600"
"""Of the time that the dashboard shows. https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/"""


def _at_api(kind: str, rate: Metric) -> str:
    """Dollars of an hour. The table of prices is the installation's: its series belong to no deployment."""
    price = f'max by (api, as_of, bound) ({cost.API_PRICE.name}{{kind="{kind}"}})'
    return f"{price} * scalar({of_one(rate)}) * 3600 / 1000000"


BILL = Row(
    title="Bill",
    panels=(
        Panel(
            title="Cost of an hour",
            description="What is held now costs this in an hour: accelerators held, ready or not, at the price of one.",
            unit="currencyUSD",
            kind="stat",
            width=6,
            height=5,
            queries=(query(f"sum({of_one(cost.PER_HOUR)})", "an hour"),),
        ),
        Panel(
            title="Cost of the time shown",
            description="The average of the cost of an hour, times the hours shown: too much where the deployment is younger than that. "
            "kubectl llama cost adds up what is known.",
            unit="currencyUSD",
            kind="stat",
            width=6,
            height=5,
            queries=(query(f"sum(avg_over_time({of_one(cost.PER_HOUR)}[$__range])) * {HOURS}", "all of it"),),
        ),
        Panel(
            title="Idle",
            description="Share of the cost of the time shown in which accelerators were held without a request in hand, loading "
            "included. Much of "
            "it: lower minReplicas, scale to zero, or put more on it.",
            unit="percentunit",
            kind="stat",
            width=6,
            height=5,
            thresholds=((None, "green"), (0.5, "orange"), (0.9, "red")),
            queries=(
                query(
                    f"sum(avg_over_time({of_one(cost.IDLE_PER_HOUR)}[$__range])) / sum(avg_over_time({of_one(cost.PER_HOUR)}[$__range]))",
                    "idle",
                ),
            ),
        ),
        Panel(
            title="Million generated tokens",
            description="Cost of the last hour, times the share of decode in the requests' time, for each million tokens generated. Idle "
            "time "
            "included: it falls with load.",
            unit="currencyUSD",
            kind="stat",
            width=6,
            height=5,
            queries=(query(f"sum({of_one(cost.PER_GENERATED_MILLION)})", "a million"),),
        ),
        Panel(
            title="Cost of an hour, and what of it is idle",
            description="The steps are replicas that came and went. Idle is what no request had in hand.",
            unit="currencyUSD",
            width=12,
            queries=(query(of_one(cost.PER_HOUR), "cost"), query(of_one(cost.IDLE_PER_HOUR), "idle")),
        ),
        Panel(
            title="Accelerators",
            description="Held and idle. A replica that loads or drains is held.",
            unit="short",
            width=12,
            queries=(query(of_one(cost.HELD), "held"), query(of_one(cost.IDLE), "idle")),
        ),
    ),
)

TOKENS = Row(
    title="Tokens",
    panels=(
        Panel(
            title="Price of a million tokens",
            description="Of prompts and generated, of the last hour, idle time included; split by the time that requests spent in "
            "prefill and in "
            "decode, as the engine measured it.",
            unit="currencyUSD",
            queries=(
                query(of_one(cost.PER_PROMPT_MILLION), "of prompts"),
                query(of_one(cost.PER_GENERATED_MILLION), "generated"),
            ),
        ),
        Panel(
            title="Share of prefill",
            description="In the time that requests spent in the engine, one hour: how the cost is split.",
            unit="percentunit",
            queries=(query(of_one(cost.PREFILL_SHARE), "prefill"),),
        ),
        Panel(
            title="Tokens",
            description="Prompt tokens computed and tokens generated a second.",
            unit="short",
            queries=(query(of_one(recorded.PROMPT_RATE), "of prompts"), query(of_one(recorded.GENERATION_RATE), "generated")),
        ),
        Panel(
            title="The same tokens at an API",
            description="What hosted APIs would take for the tokens of an hour at the pace of the last five minutes, at the chart's prices "
            "(cost.apiPrices, each with its month), beside what an hour costs here.",
            unit="currencyUSD",
            width=24,
            height=8,
            queries=(
                query(
                    f"({_at_api('prompt', recorded.PROMPT_RATE)} + {_at_api('generated', recorded.GENERATION_RATE)})",
                    "{{api}} {{as_of}}, {{bound}}",
                ),
                query(of_one(cost.PER_HOUR), "here"),
            ),
        ),
    ),
)

COST = Board(
    name="cost",
    title="Llama / Cost",
    description="What one LlamaDeployment costs in dollars, at the prices that the chart or its annotation gives.",
    variables=("namespace", "deployment"),
    many=False,
    rows=(BILL, TOKENS),
)
