"""Recording and alert rules, made from the catalogue. Pure: `python -m llama_operator.telemetry.generate` writes them down."""
