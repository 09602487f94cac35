"""The engines behind the OpenAI surface: vLLM, and a simulated one for everything that is not about the model."""
