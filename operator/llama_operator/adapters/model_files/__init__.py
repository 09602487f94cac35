"""Reads what a model's files say of it, from a folder or from the hub: config files whole, weight files' headers alone."""
