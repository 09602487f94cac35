"""Which splits of a model over GPUs fit, how much KV cache each leaves, how fast it can be at best, and what to change where none fits.

model x hardware x wishes ──▶ every tensor x pipeline ──▶ weights of the worst rank ──▶ KV blocks ──▶ speed floors ──▶ ranked plan
"""
