"""llama-operator: tensor-parallel Llama on Kubernetes, with Ray Serve and vLLM."""

__version__ = "0.1.0"
