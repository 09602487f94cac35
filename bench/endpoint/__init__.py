"""What the way to the engine costs: tokens per second and time to the first token, bare, on the fast path and on Serve's ordinary one."""
