"""The serving side of llama-operator: what runs inside the Ray pods. Pure Python; it travels there from the operator's image."""

__version__ = "0.1.0"
