"""What the resource is called in the API. Apart from its models, so that who only asks for it waits for no library."""

from __future__ import annotations

GROUP = "llama-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "LlamaDeployment"
PLURAL = "llamadeployments"
