"""The one query of the autoscaler."""

from __future__ import annotations

import re

import pytest

from llama_operator.telemetry import names as metric

QUERY = metric.selector("llm", "demo", 60)


def test_the_query_is_a_range_over_one_deployment_of_one_namespace() -> None:
    assert re.fullmatch(r"\{[^{}]*\}\[60s\]", QUERY)
    assert f'{metric.LABEL_NAMESPACE}="llm"' in QUERY
    assert f'{metric.LABEL_DEPLOYMENT}="demo"' in QUERY


@pytest.mark.parametrize("family", metric.AUTOSCALING_FAMILIES)
def test_every_family_that_counts_is_asked_for(family: str) -> None:
    found = re.search(r'__name__=~"([^"]*)"', QUERY)
    assert found is not None
    assert re.fullmatch(found.group(1), family)


@pytest.mark.parametrize(
    ("deployment", "asked"),
    [("LLMServer:demo", True), ("LLMServer:meta-llama--Llama-3.1-8B", True), ("", True), ("LLMRouter", False), ("OpenAiIngress", False)],
)
def test_the_routers_view_of_a_request_does_not_count_it_twice(deployment: str, asked: bool) -> None:
    """PromQL's =~ is anchored, and an absent label is the empty text."""
    found = re.search(r'[,{]deployment=~"([^"]*)"', QUERY)
    assert found is not None
    assert (re.fullmatch(found.group(1), deployment) is not None) is asked
