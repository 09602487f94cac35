"""`python3 -m llama_serving.agent`: what a serving pod runs as PID 1."""

from __future__ import annotations

import asyncio
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


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
