"""`python3 -m llama_serving.agent.ray_main start …`: Ray's own command line, which starts no more than a serving pod uses."""

from __future__ import annotations

import sys

from llama_serving import ray_internals

if __name__ == "__main__":
    ray_internals.command_line()(sys.argv[1:])
