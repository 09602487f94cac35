"""A span for each request where it comes in, and the engine's spans below it: one trace, by the W3C `traceparent` header.

    client's traceparent ──▶ proxy span (head; only while no replica runs) ──▶ ingress span (replica) ──▶ vLLM's llm_request span

Each span's parent is what the header says, and each puts itself into the header for what is behind it. The engine's spans are vLLM's own
(`otlp_traces_endpoint`); all go to the collector at `ServingConfig.traces_url`, over OTLP/HTTP. Where none is set, nothing of this is
imported and no exporter is made. Spans that the collector does not take in time are dropped: no request waits for it.

A span holds sizes, times and ids, never what users say: neither bodies, nor a URL's query, nor the text of an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from llama_serving import request_id
from llama_serving.asgi import App, Receive, Scope, Send
from llama_serving.config import ServingConfig

ROUTES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
"""Paths that are named in a span; another's text is the client's."""
OTHER_ROUTE = "/v1/..."
TRACE_HEADERS = (b"traceparent", b"tracestate")
"""https://www.w3.org/TR/trace-context/"""


class Spans:
    """The ASGI middleware: a span for each POST below /v1/, from its first byte to its last."""

    def __init__(self, app: App, part: str, start: Callable[[], Any]) -> None:
        """`part` begins the spans' names. `start` gives the tracer; it is called with the first request that needs it."""
        self._app, self._part, self._start = app, part, start
        self._tracer: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app behind, within a span."""
        if scope["type"] != "http" or scope.get("method") != "POST" or not scope.get("path", "").startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        from opentelemetry import trace  # lazy, as all of it: comes with vLLM, and is needed only where traces are wanted
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if self._tracer is None:
            self._tracer = self._start()
        route = scope["path"] if scope["path"] in ROUTES else OTHER_ROUTE
        context = TraceContextTextMapPropagator().extract(trace_headers(scope))
        span = self._tracer.start_span(f"{self._part} {route}", context=context, kind=trace.SpanKind.SERVER, attributes=said(scope, route))
        handed: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(handed, trace.set_span_in_context(span))
        others = [(name, value) for name, value in scope["headers"] if name.lower() not in TRACE_HEADERS]
        inner = {**scope, "headers": [*others, *((name.encode(), value.encode()) for name, value in handed.items())]}
        begun = False

        async def watched(message: dict[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(trace.StatusCode.ERROR)
            elif not begun and message.get("body"):
                begun = True
                span.add_event("first byte")
            await send(message)

        try:
            await self._app(inner, receive, watched)
        except BaseException as error:
            # Its kind alone: the text of an error may quote the request. A client that leaves is a CancelledError.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.end()


def trace_headers(scope: Scope) -> dict[str, str]:
    """The request's trace context; of a header that is there twice, none."""
    found: dict[str, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name.lower() in TRACE_HEADERS:
            found.setdefault(name.lower().decode(), []).append(value)
    return {name: values[0].decode("latin-1") for name, values in found.items() if len(values) == 1}


def said(scope: Scope, route: str) -> dict[str, str]:
    """A span's first attributes (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), and the request's id."""
    one = request_id.given(scope["headers"])
    return {"http.request.method": "POST", "http.route": route, **({"llama.request_id": one.decode()} if one else {})}


def configured(environment: Mapping[str, str]) -> ServingConfig | None:
    """The pod's configuration where it asks for traces, else None. Raises ConfigError where it cannot be read."""
    text = environment.get("LLAMA_CONFIG", "")
    config = ServingConfig.from_json(text) if text else None
    return config if config and config.traces_url else None


def prepare(config: ServingConfig, environment: MutableMapping[str, str]) -> None:
    """Tell OpenTelemetry's SDK, in this process and those it starts, who speaks and how; vLLM's reads the same variables.

    What else the pod template has set stays (https://opentelemetry.io/docs/languages/sdk-configuration/).
    """
    environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    environment.setdefault("OTEL_SERVICE_NAME", config.deployment)
    own = {
        "service.namespace": config.namespace,
        "k8s.namespace.name": config.namespace,
        "k8s.pod.name": environment.get("LLAMA_POD_NAME", ""),
        "llama_operator.revision": config.revision,
    }
    text = ",".join(f"{key}={value}" for key, value in own.items() if value)
    theirs = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not theirs.startswith(text):
        environment["OTEL_RESOURCE_ATTRIBUTES"] = f"{text},{theirs}" if theirs else text


def start(config: ServingConfig) -> Any:
    """A tracer that exports to `config.traces_url`. Its own provider: the process's global one is vLLM's."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    prepare(config, os.environ)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=config.traces_url)))
    return provider.get_tracer("llama_serving")
