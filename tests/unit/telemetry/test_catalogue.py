"""The table of every metric: complete, named as Prometheus asks, and able to tell a rename."""

from __future__ import annotations

import re

import pytest

from llama_operator.telemetry import names
from llama_operator.telemetry.catalogue import CATALOGUE, look_up, renamed, used_in
from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.operator_metrics import OPERATOR, OWNER, PER_DEPLOYMENT

EVERY = list(CATALOGUE.values())


def test_what_the_autoscaler_reads_is_in_the_table() -> None:
    assert {*names.AUTOSCALING_FAMILIES, *names.MEANINGS} <= set(CATALOGUE)


@pytest.mark.parametrize("metric", OPERATOR, ids=lambda metric: metric.name)
def test_our_own_metrics_are_named_as_prometheus_asks(metric: Metric) -> None:
    """https://prometheus.io/docs/practices/naming/: a prefix, base units, `_total` for counters."""
    assert re.fullmatch(r"llama_operator_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|percent|mb|gb|kb)(_|$)", metric.name)
    if metric.unit == "seconds":
        assert "_seconds" in metric.name or "bucket" in metric.name
    assert not {"namespace", "pod"} & set(metric.labels), "the scrape overwrites these"


def test_what_belongs_to_a_deployment_names_it_and_nothing_else_does() -> None:
    for metric in OPERATOR:
        assert (metric.labels[:2] == OWNER) == (metric in PER_DEPLOYMENT)


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    assert metric.meaning
    assert metric.unit
    assert re.search(r"\d", metric.seen)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(set(metric.labels)) == len(metric.labels)


def test_a_rename_is_told_with_the_old_and_the_new_name() -> None:
    seen = {series for metric in EVERY for series in metric.series} - {"ray_vllm_kv_cache_usage_perc"} | {"ray_vllm_kv_cache_usage_ratio"}
    (said,) = renamed([look_up("ray_vllm_kv_cache_usage_perc")], seen)
    assert "ray_vllm_kv_cache_usage_perc" in said
    assert "ray_vllm_kv_cache_usage_ratio" in said


def test_a_name_that_is_not_in_the_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean llama_operator_ready_replicas"):
        used_in('max by (namespace) (llama_operator_readyy_replicas{llama_operator_dev_deployment="x"})')


def test_the_metrics_of_an_expression_are_found() -> None:
    found = used_in('sum by (le) (rate(ray_vllm_time_to_first_token_seconds_bucket{namespace="n"}[5m])) > llama:ready_replicas')
    assert [metric.name for metric in found] == ["ray_vllm_time_to_first_token_seconds", "llama:ready_replicas"]


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0001, 0.001), (0.5, 0.5), (0.6, 0.75), (3.0, 5.0), (9999.0, 2560.0)])
def test_an_objective_is_counted_by_the_smallest_bucket_that_is_not_below_it(seconds: float, bucket: float) -> None:
    assert look_up(names.VLLM_TTFT).bucket_of(seconds) == bucket
