"""What the demo and the cluster tests share: the operator installed from its chart, LlamaDeployments to apply, and a client inside the
cluster.
"""
