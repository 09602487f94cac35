"""The Serve deployment of vLLM: Ray's own LLMServer, with our lifecycle around it."""

from __future__ import annotations

import os
from typing import Any

from ray.serve.llm.deployment import LLMServer as RayLLMServer
from ray.serve.llm.openai_api_models import CompletionRequest

from llama_serving import metrics, ray_internals, rundir, tracing
from llama_serving.deployment import pin_to_gang, spans_pods
from llama_serving.server import Lifecycle, add_middleware

# Short, the same for every model, and no user's text.
WARM_UP_PROMPT = "Hello"


class LLMServer(RayLLMServer):  # type: ignore[misc]  # Ray is not installed where mypy runs
    """One replica. Its name is the first half of the Serve deployment's: `LLMServer:<model id>`."""

    async def __init__(self, llm_config: Any, **options: Any) -> None:  # type: ignore[misc]  # Serve awaits a constructor that is async
        self._lifecycle = Lifecycle(rundir.run_dir(), metrics.in_flight_gauge(), metrics.last_request_gauge())

        async def start() -> None:
            if spans_pods(llm_config.placement_group_config):
                group = pin_to_gang(llm_config.placement_group_config, int(os.environ["LLAMA_GANG"]))
                ray_internals.set_placement_group(llm_config, group)
            ray_internals.skip_download(llm_config)
            if config := tracing.configured(os.environ):
                tracing.prepare(config, os.environ)  # vLLM's exporter reads the environment
            # Ray's constructor imports vLLM, starts the engine and returns when the weights are in.
            await RayLLMServer.__init__(self, llm_config, **options)

        await self._lifecycle.bring_up(start, self._kv_cache_tokens, self._warm_up)

    @classmethod
    def get_deployment_options(cls, llm_config: Any) -> dict[str, Any]:
        """Ray's options; for a gang over several pods without a placement group, which Ray's engine then makes inside the replica."""
        options: dict[str, Any] = super().get_deployment_options(llm_config)
        if spans_pods(llm_config.placement_group_config):
            options.pop("placement_group_bundles")
            options.pop("placement_group_strategy")
        return options

    def _kv_cache_tokens(self) -> int | None:
        """Tokens that the KV cache holds, as vLLM's own log says it: of sequences of the longest length, each in whole blocks."""
        made = ray_internals.engine_client(self).vllm_config
        longest, block, blocks = made.model_config.max_model_len, made.cache_config.block_size, made.cache_config.num_gpu_blocks
        return None if blocks is None else int(blocks / -(-longest // block) * longest)

    async def _warm_up(self) -> None:
        """Let one token out. The first request of a fresh engine takes many seconds: no user should wait for it."""
        request = CompletionRequest(model=self._llm_config.model_id, prompt=WARM_UP_PROMPT, max_tokens=1, temperature=0.0)
        async for response in self.engine.completions(request):
            if error := getattr(response, "error", None):
                raise RuntimeError(f"the engine started, but refused a first request: {error.message}")
            return
        raise RuntimeError("the engine started and no token came out of it")

    async def __serve_build_asgi_app__(self) -> Any:
        """The hook of Serve's late-bound ingress: vLLM's own app, with its requests counted."""
        return add_middleware(await super().__serve_build_asgi_app__(), self._lifecycle)
