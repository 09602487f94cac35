"""`python3 -m llama_serving.agent`: what a serving pod runs as PID 1."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from llama_serving.agent import logs
from llama_serving.agent.agent import Agent
from llama_serving.agent.settings import from_environment
from llama_serving.config import ConfigError


async def main() -> int:
    """Run the agent; 64 (EX_USAGE) when its environment makes no sense."""
    logs.configure()
    try:
        settings = from_environment(os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 64
    return await Agent(settings).run()


async def _run_and_exit() -> None:
    status = await main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: that waits for threads, and a call to a GCS that is gone holds one for 40 s of the pod's grace.
    os._exit(status)


if __name__ == "__main__":
    asyncio.run(_run_and_exit())
