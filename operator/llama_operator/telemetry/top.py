"""The queries of `kubectl llama top`: each gives one number for each deployment, so that an answer is as long as the list of deployments.

A deployment that had no request within the window has no time to first token, which is not 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_operator.telemetry import names as metric

OWNERS = f"{metric.LABEL_NAMESPACE}, {metric.LABEL_DEPLOYMENT}"


def queries(window_seconds: int, namespace: str | None) -> Mapping[str, str]:
    """PromQL by column. A namespace's name holds no character that PromQL would have to escape; the command refuses others."""
    where = f'{metric.LABEL_DEPLOYMENT}!=""' + (f',{metric.LABEL_NAMESPACE}="{namespace}"' if namespace is not None else "")
    servers = f'{where},deployment=~"{metric.SERVER_DEPLOYMENTS}"'
    span = f"[{window_seconds}s]"

    def late(share: float) -> str:
        return f"histogram_quantile({share}, sum by (le, {OWNERS}) (rate({metric.VLLM_TTFT}_bucket{{{where}}}{span})))"

    return {
        "inFlight": f"sum by ({OWNERS}) ({metric.REQUESTS_IN_FLIGHT}{{{where}}})",
        "held": f"sum by ({OWNERS}) ({metric.SERVE_QUEUED}{{{servers}}})",
        "promptTokensPerSecond": f"sum by ({OWNERS}) (rate({metric.VLLM_PROMPT_TOKENS}{{{where}}}{span}))",
        "outputTokensPerSecond": f"sum by ({OWNERS}) (rate({metric.VLLM_OUTPUT_TOKENS}{{{where}}}{span}))",
        "firstTokenSecondsP50": late(0.5),
        "firstTokenSecondsP95": late(0.95),
        "kvCacheUse": f"avg by ({OWNERS}) ({metric.VLLM_KV_USE}{{{where}}})",
    }
