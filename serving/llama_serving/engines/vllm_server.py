"""The Serve deployment of vLLM: Ray's own LLMServer, with our lifecycle around it.

Ray's server is made inside the replica, not derived from: `ray.serve.llm` imports vLLM's protocol classes and torch, which takes many
seconds, and Serve imports this module first in a process of its own, on the head, only to name the class and its options.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from llama_serving import metrics, ray_internals, rundir, tracing
from llama_serving.config import ServingConfig
from llama_serving.deployment import llm_config, pin_to_gang, spans_pods
from llama_serving.engines import model_info
from llama_serving.server import Lifecycle, add_middleware

logger = logging.getLogger(__name__)

# A replica outlives its engine by both at most, once vLLM has seen its death: until it looks, and until the errors of the requests that it
# had are on their way. New requests that come meanwhile fail.
ENGINE_LOOK_SECONDS = 0.1
LAST_ANSWERS_SECONDS = 0.1
# Short, the same for every model, and no user's text.
WARM_UP_PROMPT = "Hello"


class VllmServer:
    """One replica: Ray's server, which holds the engine and its app."""

    async def __init__(self, config_json: str) -> None:  # type: ignore[misc]  # Serve awaits a constructor that is async
        self._server: Any = None
        self._config = ServingConfig.from_json(config_json)
        self._lifecycle = Lifecycle(rundir.run_dir(), metrics.in_flight_gauge(), metrics.last_request_gauge())
        await self._lifecycle.bring_up(self._start, self._kv_cache_tokens, self._warm_up)
        self._watch = asyncio.create_task(self._end_with_the_engine())  # kept: the loop holds its tasks only weakly

    async def _end_with_the_engine(self) -> None:
        """A replica whose engine has died ends. It would answer every request with an error, and so quickly that it always has the fewest
        in hand and gets the next one, until Serve has asked three times in half a minute whether it is well.
        """
        try:
            client = ray_internals.engine_client(self._server)
            while not client.errored:  # noqa: ASYNC110 -- vLLM tells nobody: it is a property
                await asyncio.sleep(ENGINE_LOOK_SECONDS)
        except Exception:  # whatever a new vLLM raises there: without this line nobody would ever read it, since nobody awaits this task
            logger.exception("whether the engine lives cannot be seen here; Serve's own question, each 10 s, must do")
            return
        logger.error("the engine has died; this replica ends, and Serve starts another one in this pod. What the engine said is above")
        with suppress(OSError):  # a full volume must not keep it alive; the agent goes on showing what was written last
            self._lifecycle.enter("Starting")
        await asyncio.sleep(LAST_ANSWERS_SECONDS)
        os._exit(1)

    async def _start(self) -> None:
        """Import vLLM, start the engine, and return when the weights are in."""
        from ray.serve.llm import LLMConfig
        from ray.serve.llm.deployment import LLMServer
        from vllm import envs

        model_info.lay_out(Path(envs.VLLM_CACHE_ROOT))
        made = LLMConfig(**llm_config(self._config))
        if spans_pods(made.placement_group_config):
            group = pin_to_gang(made.placement_group_config, int(os.environ["LLAMA_GANG"]))
            ray_internals.set_placement_group(made, group)
        ray_internals.skip_download(made)
        ray_internals.skip_usage_report()
        if config := tracing.configured(os.environ):
            tracing.prepare(config, os.environ)  # vLLM's exporter reads the environment
        self._server = LLMServer.sync_init(made)
        await self._server.start()

    def _kv_cache_tokens(self) -> int | None:
        """Tokens that the KV cache holds, as vLLM's own log says it: of sequences of the longest length, each in whole blocks."""
        made = ray_internals.engine_client(self._server).vllm_config
        longest, block, blocks = made.model_config.max_model_len, made.cache_config.block_size, made.cache_config.num_gpu_blocks
        return None if blocks is None else int(blocks / -(-longest // block) * longest)

    async def _warm_up(self) -> None:
        """Let one token out. The first request of a fresh engine takes many seconds: no user should wait for it."""
        from ray.serve.llm.openai_api_models import CompletionRequest

        request = CompletionRequest(model=self._config.served_name, prompt=WARM_UP_PROMPT, max_tokens=1, temperature=0.0)
        async for response in self._server.engine.completions(request):
            if error := getattr(response, "error", None):
                raise RuntimeError(f"the engine started, but refused a first request: {error.message}")
            return
        raise RuntimeError("the engine started and no token came out of it")

    async def check_health(self) -> None:
        """Serve asks again and again. Raises what vLLM's own check raises when the engine has died."""
        await self._server.check_health()

    async def __del__(self) -> None:
        """Serve awaits it when the replica goes."""
        if self._server is not None and self._server.engine is not None:
            await self._server.engine.shutdown()

    async def __serve_build_asgi_app__(self) -> Any:
        """The hook of Serve's late-bound ingress: vLLM's own app, with its requests counted."""
        return add_middleware(await self._server.__serve_build_asgi_app__(), self._lifecycle)
