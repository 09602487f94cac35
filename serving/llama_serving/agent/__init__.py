"""PID 1 of every serving pod: starts Ray, tells where the pod stands, decides readiness, drains, reaps."""
