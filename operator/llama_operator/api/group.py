"""What the resource, and things in it, are called in the API. Apart from its models, so that who only asks for it waits for no library."""

from __future__ import annotations

GROUP = "llama-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "LlamaDeployment"
PLURAL = "llamadeployments"
NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
CPU = "cpu"
"""Among accelerators: none."""
