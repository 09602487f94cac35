"""Pieces of PromQL. Every aggregation keeps namespace and name, so that two LlamaDeployments of one name never mix.

No value of a label is ever written into a rule, but for those that this project itself gives: what users write (a model's name, an
accelerator) can hold quotes or any letters, and no query is built of it.
"""

from __future__ import annotations

from llama_operator.telemetry import names
from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.operator_metrics import LABEL_NAMESPACE
from llama_operator.telemetry.recorded import GROUPED

ANY = f'{names.LABEL_DEPLOYMENT}!=""'
SERVERS = f'deployment=~"{names.SERVER_DEPLOYMENTS}"'
"""Serve's series of the deployments that hold engines."""


def by(*labels: str) -> str:
    """Labels of a LlamaDeployment and more, as in `by (…)` and `on (…)`."""
    return f"({', '.join((*GROUPED, *labels))})"


def ours(family: str, *matchers: str) -> str:
    """Series of the serving pods, and of no other Ray Serve or Ray LLM that the same Prometheus scrapes: those have no LlamaDeployment."""
    return f"{family}{{{','.join((ANY, *matchers))}}}"


def summed(expr: str, *labels: str) -> str:
    """Summed over a LlamaDeployment's pods."""
    return f"sum by {by(*labels)} ({expr})"


def operator(metric: Metric, *labels: str, matchers: str = "") -> str:
    """One of the operator's metrics, under the LlamaDeployment's namespace instead of the operator's own; and once."""
    moved = f'label_replace({metric.name}{matchers}, "namespace", "$1", "{LABEL_NAMESPACE}", "(.+)")'
    return f"max by {by(*labels)} ({moved})"
