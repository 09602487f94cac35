"""Replays traffic against a scaler, ours or a peer's, on modelled replicas: events, not wall-clock time; the same seed, the same answer."""
