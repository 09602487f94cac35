"""The span of a request, made with OpenTelemetry's own SDK and sent to a collector: no Ray, no engine. With both: test_vllm.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.serving.collector import CANARY, PARENT, PARENT_SPAN, TRACE, Collector, attributes, collector
from tests.contract.serving.conftest import config

from llama_serving import tracing

pytestmark = pytest.mark.serving


class Stage:
    """An app within a span."""

    def __init__(self, to: Collector) -> None:
        made = replace(config(), tracing_endpoint=to.endpoint)
        self.tracer = tracing.start(made)
        self.handed: list[dict[str, str]] = []

    async def ask(
        self, *headers: tuple[str, str], path: str = "/v1/completions", status: int = 200, error: BaseException | None = None
    ) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.handed.append({name.decode(): value.decode() for name, value in scope["headers"]})
            if error:
                raise error
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": CANARY.encode()})

        async def send(message: dict[str, Any]) -> None:
            """Nowhere."""

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": CANARY.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }
        await tracing.Spans(app, "ingress", lambda: self.tracer)(scope, None, send)  # type: ignore[arg-type]

    def flush(self) -> None:
        assert self.tracer.span_processor.force_flush()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    with collector() as made:
        yield made


async def test_a_span_s_parent_is_the_client_s_and_it_is_handed_on_in_its_place(seen: Collector) -> None:
    stage = Stage(seen)
    await stage.ask(("traceparent", PARENT), ("x-request-id", "mine"))
    stage.flush()
    span = seen.of_trace(TRACE)["ingress /v1/completions"]
    assert span.parent_span_id.hex() == PARENT_SPAN
    assert stage.handed == [{"x-request-id": "mine", "traceparent": f"00-{TRACE}-{span.span_id.hex()}-01"}]
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "llama.request_id": "mine",
        "http.response.status_code": 200,
    }
    assert [event.name for event in span.events] == ["first byte"]
    assert seen.paths == {"/v1/traces"}
    assert seen.spans[0][1]["service.name"] == "d"


@pytest.mark.parametrize("given", [[], [("traceparent", "nonsense")], [("traceparent", PARENT), ("traceparent", PARENT)]])
async def test_without_a_context_that_can_be_read_a_trace_begins_here(seen: Collector, given: list[tuple[str, str]]) -> None:
    stage = Stage(seen)
    await stage.ask(*given)
    stage.flush()
    ((span, _),) = seen.spans
    assert span.trace_id.hex() != TRACE
    # The last part are flags, of which the SDK may set more than "sampled".
    assert stage.handed[0]["traceparent"].startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-")


async def test_a_client_that_wants_no_trace_gets_none(seen: Collector) -> None:
    stage = Stage(seen)
    await stage.ask(("traceparent", PARENT[:-2] + "00"))
    stage.flush()
    assert seen.spans == []
    assert stage.handed[0]["traceparent"].endswith("-00")


async def test_no_span_holds_what_users_say_nor_the_words_of_an_error(seen: Collector) -> None:
    stage = Stage(seen)
    await stage.ask(path=f"/v1/{CANARY}")
    await stage.ask(status=503)
    with pytest.raises(ValueError, match=CANARY):
        await stage.ask(error=ValueError(CANARY))
    stage.flush()
    assert [span.name for span, _ in seen.spans] == ["ingress /v1/...", "ingress /v1/completions", "ingress /v1/completions"]
    assert [span.status.code for span, _ in seen.spans] == [0, 2, 2]
    assert attributes(seen.spans[2][0])["error.type"] == "ValueError"
    assert CANARY.encode() not in seen.raw


async def test_what_is_no_request_of_a_user_has_no_span(seen: Collector) -> None:
    stage = Stage(seen)
    await stage.ask(path="/internal/route")
    stage.flush()
    assert seen.spans == []


async def test_a_header_with_a_secret_and_the_share_that_is_traced_come_from_opentelemetry_s_own_variables(
    seen: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a-secret")
    stage = Stage(seen)
    await stage.ask()
    stage.flush()
    assert (len(seen.spans), seen.headers["authorization"]) == (1, "Bearer a-secret")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    never = Stage(seen)
    await never.ask()
    never.flush()
    assert len(seen.spans) == 1


async def test_a_collector_that_is_away_costs_spans_and_no_request(seen: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")  # seconds, which the SDK's last try may take when this process ends
    away = Collector(1)  # a port that nothing listens on
    stage = Stage(away)
    await stage.ask(("traceparent", PARENT))
    assert stage.handed[0]["traceparent"].startswith(f"00-{TRACE}-")
    assert (away.spans, seen.spans) == ([], [])
