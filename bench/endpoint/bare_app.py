"""The simulated engine's own app under uvicorn, and nothing else: what the other paths are measured against.

`python -m bench.endpoint.bare_app PORT`
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from llama_serving.engines.openai_surface import build_surface
from llama_serving.engines.simulated import SimulatedArgs, SimulatedEngine

MODEL = "bench"


async def main(port: int) -> None:
    """Serve until killed."""
    engine = SimulatedEngine(SimulatedArgs(load_seconds=0))
    await engine.load(lambda _: None)
    app = build_surface(engine, MODEL)
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
