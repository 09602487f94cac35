"""What the nodes offer: a catalogue of accelerators, what a file says of others, and what Kubernetes says of its nodes. Pure."""
