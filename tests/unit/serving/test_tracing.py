"""When spans are made, and what they are told; the spans themselves are seen in tests/contract/serving/test_tracing.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from llama_serving.config import ConfigError, ServingConfig
from llama_serving.tracing import configured, prepare, said, trace_headers

OFF = ServingConfig(deployment="demo", namespace="llm", revision="0123456789", source="file:///m", served_name="m")
ON = replace(OFF, tracing_endpoint="http://collector:4318")
PARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert configured({}) is None
    assert configured({"LLAMA_CONFIG": OFF.to_json()}) is None
    assert configured({"LLAMA_CONFIG": ON.to_json()}) == ON


def test_a_configuration_that_cannot_be_read_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="LLAMA_CONFIG is not JSON"):
        configured({"LLAMA_CONFIG": "{"})


def test_nothing_of_opentelemetry_is_imported_where_nothing_is_traced() -> None:
    code = (
        "import sys; from llama_serving import hold, request_id, server, tracing; assert not [m for m in sys.modules if 'opentelem' in m]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_sdk_is_told_who_speaks_and_what_the_pod_template_says_stays() -> None:
    environment = {"LLAMA_POD_NAME": "demo-0123456789-g0-0", "OTEL_RESOURCE_ATTRIBUTES": "team=a", "OTEL_SERVICE_NAME": "mine"}
    prepare(ON, environment)
    once = dict(environment)
    prepare(ON, environment)
    assert environment == once
    assert environment["OTEL_SERVICE_NAME"] == "mine"
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
    assert environment["OTEL_RESOURCE_ATTRIBUTES"].split(",") == [
        "service.namespace=llm",
        "k8s.namespace.name=llm",
        "k8s.pod.name=demo-0123456789-g0-0",
        "llama_operator.revision=0123456789",
        "team=a",
    ]


def test_a_trace_context_that_is_given_twice_is_none() -> None:
    assert trace_headers({"headers": [PARENT, (b"tracestate", b"a=1")]}) == {"traceparent": PARENT[1].decode(), "tracestate": "a=1"}
    assert trace_headers({"headers": [PARENT, PARENT]}) == {}


def test_a_span_has_the_id_only_where_it_may_stand_in_a_log() -> None:
    assert said({"headers": [(b"x-request-id", b"mine")]}, "/v1/completions")["llama.request_id"] == "mine"
    assert "llama.request_id" not in said({"headers": [(b"x-request-id", b"a b")]}, "/v1/completions")
