"""How many replicas: signals in, a decision with its reason out. Pure; the operator and the simulator run the same functions."""
