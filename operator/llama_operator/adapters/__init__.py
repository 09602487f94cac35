"""The only input and output of the operator: one file for each thing outside."""
