"""Scalers to compare: ours, the peers at their published defaults, and one that knows the future. Each file names its source."""
