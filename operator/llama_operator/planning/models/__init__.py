"""What a model is: its config.json, its quantization_config, the headers of its weight files, and the catalogue of Meta's own.

    config.json ──────────▶ from_config ──┐
    + quantization_config ▶ quantization  ├─▶ facts.ModelFacts ─▶ the planner
    + safetensors headers ▶ from_tensors ─┘
    the name alone ───────▶ catalogue ────┘

Values in, values out: `adapters/model_files` brings the bytes.
"""
