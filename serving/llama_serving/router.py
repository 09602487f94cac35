"""Ray's LLM router, imported without torch.

The router takes one string function from a module that also imports torch, for downloads that no router makes: `try_import("torch")` in
ray/llm/_internal/common/utils/download_utils.py of Ray 2.60, which goes on without it. Here that was more than half of a router's start and
400 MB of its memory, for one in the head and one in every replica pod. So torch is hidden while the router is imported, unless the process
has it already. A class of our own, because Serve sends a class by its module's name: the router's process must come by here first.

Only for `ray_internals.with_router` and the processes of the router: in a process that imported this, Ray cannot download models.
"""

from __future__ import annotations

import sys

HIDDEN = "torch"

_here = HIDDEN in sys.modules
if not _here:
    sys.modules[HIDDEN] = None  # type: ignore[assignment]  # what makes `import torch` an ImportError
try:
    from ray.llm._internal.serve.core.ingress.router import LLMRouter
finally:
    if not _here:
        del sys.modules[HIDDEN]


class Router(LLMRouter):  # type: ignore[misc]  # Ray has no types
    """Ray's router, as it is."""
