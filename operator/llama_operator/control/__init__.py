"""The conductors: they fetch, let the pure rooms decide, and have it done. Each is short."""
